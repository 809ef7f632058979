"""What all topologies are made of: server processes, their ports, and waiting for them."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from connector.embedded import EmbeddedServer, serve

_PORTS = range(10_000, 32_000)  # below those that the system gives to outgoing connections


@dataclass(frozen=True)
class Node:
    """One server process.

    Attributes:
        server: the handle of the process.
        raw: a redis-py client of this process alone, the witness of what it holds.
        id: its name in a cluster; empty elsewhere.
    """

    server: EmbeddedServer
    raw: redis.Redis = field(repr=False)
    id: str = ""

    @property
    def url(self) -> str:
        """Where it listens, password included."""
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def pid(self) -> int:
        return self.server.pid

    def kill(self) -> None:
        """End the process as kill -9 does, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.server.stop()


@contextmanager
def running_node(
    binary: str | Path | None, config: Sequence[str] = (), password: str | None = None
) -> Iterator[Node]:
    """One server process with these lines of configuration, for the length of a block."""
    with (
        serve(binary, port=free_port(), password=password, config=config) as server,
        redis.Redis.from_url(server.url, socket_timeout=10.0, retry=_again()) as raw,
    ):
        identity = raw.execute_command("CLUSTER MYID") if "cluster-enabled yes" in config else b""
        yield Node(server, raw, identity.decode())


def _again() -> Retry:
    """Ask again at once: Sentinels cut the connections of every node that they give a new role."""
    return Retry(NoBackoff(), 3)


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def await_copies(primary: Node, replicas: Sequence[Node]) -> None:
    """Wait until the replicas hold all that their primary holds now, whoever wrote it.

    Offsets compare within one replication history only: what still follows a deposed primary may
    be ahead by the numbers and lack the newest write.
    """

    def position(node: Node) -> tuple[str, int]:
        state = node.raw.info("replication")
        return state["master_replid"], state["master_repl_offset"]

    history, written = position(primary)

    def copied(replica: Node) -> bool:
        followed, offset = position(replica)
        return followed == history and offset >= written

    until(lambda: all(map(copied, replicas)), f"the copies of what is at port {primary.port}")


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until ``condition`` holds.

    Raises:
        AssertionError: it did not within ``seconds``; the message says ``what`` was awaited.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} seconds"
        time.sleep(0.02)
