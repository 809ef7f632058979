"""Where a table's keys live: in one server, behind Sentinels, or in the nodes of a cluster.

redis-py makes the connections and finds the master that Sentinels name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import redis
from redis import exceptions

from connector.errors import StoreError
from connector.redis.cluster import Cluster
from connector.redis.connecting import (
    Address,
    connection_settings,
    hello,
    pool,
    tls_explained,
)
from connector.redis.options import DEFAULT_PORT, RedisOptions
from connector.redis.sentinel import Watch

T = TypeVar("T")
Rows = np.ndarray[Any, np.dtype[np.int64]]

_PAUSE_SECONDS = 0.05
REPLACED = ("READONLY", "MASTERDOWN", "LOADING")
"""How a node answers that is not, or not yet again, the one that should have been asked."""

MOVING = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", *REPLACED)
"""How a node answers while keys or roles move; the same request will be served soon."""


class Servers(Protocol):
    """The servers that hold the keys, by name.

    Attributes:
        patience_seconds: how long another server may take to stand in for one that failed; 0 where
            nothing can.
    """

    patience_seconds: float

    def split(self, keys: pa.Array) -> list[tuple[str, Rows | None]]:
        """The node of each key: nodes, and which of the keys are theirs; None for all of them."""
        ...

    def pool(self, node: str, replica: bool = False) -> redis.ConnectionPool:
        """Connections to a node; for reading also to a replica of it, where there is one."""
        ...

    def refresh(self, told: Iterable[str] = ()) -> None:
        """Look again who holds what; ``told`` are nodes that are said to know."""
        ...

    def confirm(self, written: set[Address]) -> None:
        """Make sure, after writing, that the servers written to are the ones to write to still.

        Raises:
            StoreUnavailableError: one was replaced meanwhile: what it acknowledged may be lost.
        """
        ...

    def close(self) -> None: ...


def connect(options: RedisOptions) -> Servers:
    """Find out what the options lead to.

    Raises:
        OptionError: the options contradict each other or the server.
        redis.RedisError, OSError: no server answers.
    """
    settings = connection_settings(options)
    with tls_explained(settings):
        return _connected(settings, options)


def _connected(settings: dict[str, Any], options: RedisOptions) -> Servers:
    if options.sentinel_master is not None:
        watch = Watch(settings, options)
        reading = watch.replica if options.read_replicas else watch.master
        return Single(watch.master, reading, options.failover_seconds, watch)
    alone = pool(settings | {"db": 0})  # for a cluster refuses another before it says what it is
    mode = hello(redis.Redis(connection_pool=alone)).get(b"mode", b"standalone")
    if mode == b"sentinel":
        raise StoreError(
            f"{options.location} is a Sentinel: name the master it watches by option "
            f"'sentinel.master'"
        )
    if mode != b"cluster":
        if settings.get("db", 0):
            alone.disconnect()
            alone = pool(settings)
        return Single(alone, alone)
    alone.disconnect()
    if settings.get("db", 0):
        raise StoreError(f"{options.location} is a cluster, which has database 0 alone")
    first = (settings.get("host", "localhost"), settings.get("port", DEFAULT_PORT))
    settings.pop("db", None)
    return Cluster([first, *options.nodes], settings, options)


class Single:
    """One server; or one at a time, as Sentinels name it."""

    def __init__(
        self,
        main: redis.ConnectionPool,
        reading: redis.ConnectionPool,
        patience_seconds: float = 0.0,
        watch: Watch | None = None,
    ) -> None:
        self._pools = {False: main, True: reading}
        self._watch = watch
        self.patience_seconds = patience_seconds

    def split(self, keys: pa.Array) -> list[tuple[str, Rows | None]]:
        return [("", None)]

    def pool(self, node: str, replica: bool = False) -> redis.ConnectionPool:
        return self._pools[replica]

    def refresh(self, told: Iterable[str] = ()) -> None:
        """Drop idle connections: a new one asks the Sentinels who is master now."""
        for each in self._pools.values():
            each.disconnect(inuse_connections=False)

    def confirm(self, written: set[Address]) -> None:
        if self._watch is not None and written:
            self._watch.confirm(written, pauses(self.patience_seconds))

    def close(self) -> None:
        for each in self._pools.values():
            each.disconnect()


def is_moving(text: str) -> bool:
    """Whether an error reply says that keys or roles are moving."""
    return text.partition(" ")[0] in MOVING


def told_by(texts: Iterable[str]) -> list[str]:
    """The nodes that MOVED replies name."""
    words = (text.split() for text in texts if text.startswith("MOVED "))
    return list(dict.fromkeys(each[2] for each in words if len(each) == 3))


def pauses(seconds: float) -> Iterator[None]:
    """Yield at short intervals until ``seconds`` are over; at once the first time."""
    deadline = time.monotonic() + seconds
    pause = 0.0
    while True:
        time.sleep(pause)
        yield
        pause = min(max(2 * pause, _PAUSE_SECONDS), 0.5)
        if time.monotonic() + pause > deadline:
            return


def single(servers: Servers, key: bytes, run: Callable[[redis.Redis], T]) -> T:
    """Run one command on one key, wherever the key lives at the moment.

    Raises:
        redis.RedisError, OSError: as redis-py raises them, once the servers' patience is over.
    """
    keys = pa.array([key], pa.binary())
    failed: Exception | None = None
    told: list[str] = []
    for _ in pauses(servers.patience_seconds):
        try:
            if failed is not None:
                servers.refresh(told)
            ((node, _rows),) = servers.split(keys)
            return run(redis.Redis(connection_pool=servers.pool(node)))
        except redis.AuthenticationError:
            raise
        except exceptions.MovedError as error:
            failed, told = error, [f"{error.host}:{error.port}"]
        except exceptions.AskError as error:
            there = servers.pool(f"{error.host}:{error.port}")
            with redis.Redis(connection_pool=there, single_connection_client=True) as client:
                client.execute_command("ASKING")
                return run(client)
        except (redis.ConnectionError, redis.TimeoutError, OSError, *_PASSING) as error:
            failed = error
    assert failed is not None
    raise failed


def has_command(servers: Servers, name: str) -> bool:
    """Whether the servers know a command, such as that of a module."""
    found = single(servers, b"", lambda client: client.execute_command("COMMAND INFO", name))  # type: ignore[no-untyped-call]
    return bool(found and found[0])


_PASSING = (exceptions.TryAgainError, exceptions.ClusterDownError, redis.ReadOnlyError)
