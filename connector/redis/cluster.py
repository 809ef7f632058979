"""The nodes of a cluster, and which of them has which slot.

The map is ours, an array from slots to nodes, because whole batches of keys are split by it at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from redis import exceptions

from connector.errors import StoreUnavailableError
from connector.redis.connecting import Address, elsewhere, pool
from connector.redis.options import RedisOptions
from connector.redis.slots import SLOTS, key_slots
from connector.sampling import Rows


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

    def owners(self, slots: Rows) -> dict[str, Rows]:
        """Which of some slots each node has; those that none has are left out."""
        owner = self._owner[slots]
        return {self._names[i]: slots[owner == i] for i in np.unique(owner[owner >= 0])}

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

    def confirm(self, written: set[Address]) -> None:
        """Nothing to ask: a node that was replaced says so to the next request, or breaks off."""

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
