"""Where a table's keys live: in one server, behind Sentinels, or in the nodes of a cluster.

redis-py makes the connections and finds the master that Sentinels name. Of a cluster only the map is
ours, slot to node as an array, because whole batches of keys are split by it at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import redis
from redis import exceptions

from connector.errors import StoreError, StoreUnavailableError
from connector.redis.connecting import connection_settings, elsewhere, pool, sentinel_pool
from connector.redis.options import DEFAULT_PORT, RedisOptions
from connector.redis.slots import SLOTS, key_slots

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

    def close(self) -> None: ...


def connect(options: RedisOptions) -> Servers:
    """Find out what the options lead to.

    Raises:
        OptionError: the options contradict each other or the server.
        redis.RedisError, OSError: no server answers.
    """
    settings = connection_settings(options)
    if options.sentinel_master is not None:
        master, replicas = sentinel_pool(settings, options)
        return Single(
            master, replicas if options.read_replicas else master, options.failover_seconds
        )
    alone = pool(settings)
    mode = _mode(redis.Redis(connection_pool=alone))
    if mode == "sentinel":
        raise StoreError(
            f"{options.location} is a Sentinel: name the master it watches by option "
            f"'sentinel.master'"
        )
    if mode != "cluster":
        return Single(alone, alone, 0.0)
    alone.disconnect()
    if settings.get("db", 0):
        raise StoreError(f"{options.location} is a cluster, which has database 0 alone")
    first = (settings.get("host", "localhost"), settings.get("port", DEFAULT_PORT))
    settings.pop("db", None)
    return Cluster([first, *options.nodes], settings, options)


def _mode(client: redis.Redis) -> str:
    """standalone, cluster or sentinel. HELLO is asked, as every user may send it."""
    try:
        reply = client.execute_command("HELLO", 2)  # type: ignore[no-untyped-call]
    except redis.ResponseError:  # older than Redis 6
        return "standalone"
    pairs = dict(zip(reply[::2], reply[1::2], strict=True))
    return str(pairs.get(b"mode", b"standalone").decode())


class Single:
    """One server; or one at a time, as Sentinels name it."""

    def __init__(
        self, main: redis.ConnectionPool, reading: redis.ConnectionPool, patience_seconds: float
    ) -> None:
        self._pools = {False: main, True: reading}
        self.patience_seconds = patience_seconds

    def split(self, keys: pa.Array) -> list[tuple[str, Rows | None]]:
        return [("", None)]

    def pool(self, node: str, replica: bool = False) -> redis.ConnectionPool:
        return self._pools[replica]

    def refresh(self, told: Iterable[str] = ()) -> None:
        """Drop idle connections: a new one asks the Sentinels who is master now."""
        for each in self._pools.values():
            each.disconnect(inuse_connections=False)

    def close(self) -> None:
        for each in self._pools.values():
            each.disconnect()


class Cluster:
    """The nodes of a cluster, named ``host:port``, and which of them has which slot."""

    def __init__(
        self, seeds: list[tuple[str, int]], settings: dict[str, Any], options: RedisOptions
    ) -> None:
        self._seeds = [f"{host}:{port}" for host, port in seeds]
        self._settings = settings
        self._replicas_wanted = options.read_replicas
        self._location = options.location
        self._pools: dict[tuple[str, bool], redis.ConnectionPool] = {}
        self._names: list[str] = []
        self._replicas: dict[str, list[str]] = {}
        self._owner = np.full(SLOTS, -1, np.int32)
        self.patience_seconds = options.failover_seconds
        self.refresh()

    @property
    def nodes(self) -> list[str]:
        """The nodes that have slots."""
        return [self._names[i] for i in np.unique(self._owner[self._owner >= 0])]

    def owner_or_none(self, slot: int) -> str | None:
        """The node that has a slot; None where none has."""
        found = int(self._owner[slot])
        return None if found < 0 else self._names[found]

    def owner(self, slot: int) -> str:
        """The node that has a slot.

        Raises:
            StoreUnavailableError: none has.
        """
        found = self.owner_or_none(slot)
        if found is None:
            raise StoreUnavailableError(f"no node of the cluster {self._location} has slot {slot}")
        return found

    def split(self, keys: pa.Array) -> list[tuple[str, Rows | None]]:
        slots = key_slots(keys)
        owner = self._owner[slots]
        found = np.unique(owner)
        if len(found) and found[0] < 0:
            self.owner(int(slots[np.argmin(owner)]))
        if len(found) == 1:
            return [(self._names[found[0]], None)]
        return [(self._names[i], np.flatnonzero(owner == i)) for i in found]

    def pool(self, node: str, replica: bool = False) -> redis.ConnectionPool:
        """Connections to a node, or to the first replica of it, where they are wanted."""
        readonly = replica and self._replicas_wanted and bool(self._replicas.get(node))
        name = self._replicas[node][0] if readonly else node
        found = self._pools.get((name, readonly))
        if found is None:
            host, _, port = name.rpartition(":")
            settings = elsewhere(self._settings, host, int(port))
            if readonly:
                settings["redis_connect_func"] = _read_only
            found = self._pools[name, readonly] = pool(settings)
        return found

    def refresh(self, told: Iterable[str] = ()) -> None:
        """Ask one node after the other for the map, until one gives it.

        Raises:
            redis.RedisError, OSError: none does; the first one's error.
        """
        failed: Exception | None = None
        for name in dict.fromkeys([*told, *self._names, *self._seeds]):
            try:
                ranges = self._ask(name)
            except (redis.RedisError, OSError) as error:
                failed = failed or error
                continue
            if ranges:
                self._take(name, ranges)
                return
            failed = failed or exceptions.ClusterDownError(f"{name} knows no node that has a slot")
        assert failed is not None
        raise failed

    def close(self) -> None:
        for each in self._pools.values():
            each.disconnect()

    def _ask(self, name: str) -> Any:
        """Ranges of slots with the nodes that have them, the primary first."""
        client = redis.Redis(connection_pool=self.pool(name))
        return client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]

    def _take(self, asked: str, ranges: Any) -> None:
        """Keep the map that a node gave; a host it leaves empty is its own."""
        here = asked.rpartition(":")[0]
        names: dict[str, int] = {}
        owner = np.full(SLOTS, -1, np.int32)
        replicas: dict[str, list[str]] = {}
        for start, stop, *nodes in ranges:
            name, *others = [_name(node, here) for node in nodes]
            owner[start : stop + 1] = names.setdefault(name, len(names))
            replicas[name] = others
        self._names, self._owner, self._replicas = list(names), owner, replicas


def _name(node: Any, here: str) -> str:
    """``host:port`` from a reply to CLUSTER SLOTS."""
    host = (node[0] or b"").decode()
    return f"{host or here}:{node[1]}"


def _read_only(connection: Any) -> None:
    connection.on_connect()
    connection.send_command("READONLY")
    connection.read_response()


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
