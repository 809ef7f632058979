"""An Aerospike server for the tests: the one given by the environment, or the suite's test server."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from servers import unavailable
from servers.aerospike import serve


@dataclass(frozen=True)
class Aerospike:
    """A server for tests.

    Attributes:
        host: where it listens.
        port: where it listens.
        namespace: where the tests' tables are.
        raw: the official client, the witness of what is really stored.
        real: whether it is no test server.
    """

    host: str
    port: int
    namespace: str
    raw: Any
    real: bool

    @property
    def url(self) -> str:
        return f"aerospike://{self.host}:{self.port}/{self.namespace}"

    def clear(self, table: str) -> None:
        """Remove what a test left: all sets that name its table."""
        time.sleep(0.002)  # what was written in this very millisecond would stay
        for answer in self.raw.info_all(f"sets/{self.namespace}").values():
            for line in filter(None, (answer[1] or "").strip().split(";")):
                pairs = dict(item.split("=", 1) for item in line.split(":") if "=" in item)
                if table in pairs.get("set", "") and int(pairs["objects"]):
                    self.raw.truncate(self.namespace, pairs["set"], 0)


@contextmanager
def running() -> Iterator[Aerospike]:
    """The server named by TEST_AEROSPIKE_HOSTS (host:port), or else a test server."""
    if importlib.util.find_spec("aerospike") is None:
        unavailable("aerospike", "the package aerospike is not installed")
    given = os.environ.get("TEST_AEROSPIKE_HOSTS")
    if given:
        host, _, port = given.partition(",")[0].rpartition(":")
        namespace = os.environ.get("TEST_AEROSPIKE_NAMESPACE", "test")
        with _connected(host, int(port)) as raw:
            yield Aerospike(host, int(port), namespace, raw, real=True)
        return
    with serve() as server, _connected(server.host, server.port) as raw:
        yield Aerospike(server.host, server.port, server.namespace, raw, real=False)


@contextmanager
def _connected(host: str, port: int) -> Iterator[Any]:
    import aerospike

    patient = {"total_timeout": 20_000, "socket_timeout": 20_000}
    kinds = ("read", "write", "operate", "remove", "batch", "batch_parent_write")
    policies = dict.fromkeys(kinds, patient) | {"info": {"timeout": 20_000}}
    client = aerospike.client({"hosts": [(host, port)], "policies": policies})
    try:
        yield client
    finally:
        client.close()
