"""A test server that speaks Aerospike's wire protocol to the real client. It is not Aerospike.

It keeps one namespace in memory, in one process, on a loopback port. It does what the connector's tests
need, as the real server (Community Edition 8.1) was seen to do it:

- info: what the client asks while it connects and tends, sets, secondary indexes, truncate;
- one record or a batch of them: read, write, touch, delete, add, append, prepend, reads of expressions, lists
  and maps; generations, times to live, existence policies, filters, result codes;
- scans and queries by partition, with bins, filters, limits, a secondary index, and resuming after a record.

It does not know other nodes, security, transactions, UDFs, writes into lists and maps, counting with
HyperLogLog, geography and background queries. It answers these with "unsupported feature" (16), as no
real server does.

``python -m servers.aerospike --port 3000`` (with the directory of the tests on PYTHONPATH) runs one until its
standard input ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AerospikeServer:
    """A running test server, and the faults that it can be ordered to show.

    Attributes:
        host: where it listens.
        port: where it listens.
        namespace: its only namespace.
        process: its process.
    """

    host: str
    port: int
    namespace: str
    process: subprocess.Popen[str]

    def refuse_partitions(self, partitions: Iterable[int]) -> None:
        """Answer "partition unavailable" for these, and for no others."""
        self._order("refuse_partitions", list(partitions))

    def stop_writes(self, stopped: bool = True) -> None:
        """Answer writes with "server memory error" (8), as a full namespace does; or no longer."""
        self._order("stop_writes", stopped)

    def drop_connections(self) -> None:
        """Cut all connections; the server stays and takes new ones."""
        self._order("drop_connections", None)

    def kill_after(self, records: int | None) -> None:
        """Die when scans and queries have sent so many more records."""
        self._order("kill_after", records)

    def cut_after(self, records: int | None) -> None:
        """Cut one scan's connection when scans and queries have sent so many more records."""
        self._order("cut_after", records)

    def delay(self, seconds: float) -> None:
        """Wait so long before every answer."""
        self._order("delay", seconds)

    def kill(self) -> None:
        """Die now."""
        self.process.kill()
        self.process.wait()

    def _order(self, name: str, argument: Any) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, argument]) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextmanager
def serve(
    port: int = 0, namespace: str = "test", build: str = "8.1.2.0"
) -> Iterator[AerospikeServer]:
    """Run a test server in a process of its own; it ends with the context, or with its parent.

    Before build 8.1.2 a server takes the operations of a query for bins to select.
    """
    command = [sys.executable, "-m", __name__, "--port", str(port), "--namespace", namespace]
    command += ["--build", build]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            listening = process.stdout.readline()
            yield AerospikeServer("127.0.0.1", int(listening), namespace, process)
        finally:
            process.kill()
