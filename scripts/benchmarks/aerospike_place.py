"""The Aerospike server under test, and the table that its case stores there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import aerospike
import numpy as np
import pyarrow as pa

TABLE = "kvlake_bench"
BINS = ("qty", "price", "name", "total", "late")
QTY = 100
"""How many values ``qty`` has, each in the same number of rows."""


@dataclass(frozen=True)
class Place:
    """Where the tables are.

    Attributes:
        url: aerospike://HOST:PORT/NAMESPACE.
        host: any node.
        port: its port.
        namespace: of the tables.
    """

    url: str
    host: str
    port: int
    namespace: str

    @classmethod
    def of(cls, url: str | None) -> Self:
        """The place that the command line names.

        Raises:
            SystemExit: it names none.
        """
        parts = urlsplit(url or "")
        namespace = parts.path.strip("/")
        if url is None or parts.scheme != "aerospike" or not (parts.hostname and namespace):
            raise SystemExit(
                "this case measures a server that runs already, as figures of a test server would mean "
                "nothing: give --url aerospike://HOST:PORT/NAMESPACE"
            )
        return cls(url, parts.hostname, parts.port or 3000, namespace)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client of its own, with no policy changed but that a scan may take its time."""
        policies = {"query": {"total_timeout": 0}, "batch": {"total_timeout": 60_000}}
        client = aerospike.client({"hosts": [(self.host, self.port)], "policies": policies})
        try:
            yield client
        finally:
            client.close()

    def server(self) -> str:
        """What the nodes are, and how many."""
        with self.client() as client:
            versions = [str(text).strip() for _, text in client.info_all("version").values()]
        return f"{', '.join(sorted(set(versions)))}; nodes: {len(versions)}"


def table_of(rows: int) -> pa.Table:
    """A key of integers and 5 bins, in random order."""
    number = np.random.default_rng(0).permutation(rows)
    names = pa.array([f"name-{i}" for i in range(1000)])
    return pa.table(
        {
            "id": number,
            "qty": number % QTY,
            "price": (number % 1000) * 0.25,
            "name": names.take(pa.array(number % 1000)),
            "total": number * 7,
            "late": number % 3 == 0,
        }
    )
