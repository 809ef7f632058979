"""How large a set is, from what the nodes know of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

import pyarrow as pa

from connector.aerospike.connecting import Connection, pairs
from connector.aerospike.partitions import DigestRange, digest_ranges
from connector.scan import Scan
from connector.statistics import Statistics, column_bytes, varying

_SAMPLE_ROWS = 200


def objects(connection: Connection, namespace: str, table: str) -> int:
    """How many records a set has, as the nodes count them.

    Records that have expired or were truncated a moment ago may still be among them.
    """
    held = sum(
        int(pairs(answer).get("objects", 0))
        for answer in connection.info(f"sets/{namespace}/{table}")
    )
    copies = [
        int(pairs(answer).get("effective_replication_factor", 1))
        for answer in connection.info(f"namespace/{namespace}")
    ]
    return -(-held // max(1, *copies))


def table_statistics(
    scan: Scan,
    rows: int,
    exact: bool,
    read: Callable[[Scan, DigestRange], Iterable[pa.RecordBatch]],
) -> Statistics:
    """Rows as the nodes count them, and the sizes of the values of a few rows.

    Args:
        scan: what is told about; of its columns those of ``output``.
        rows: how many there are.
        exact: whether there are exactly so many.
        read: reads a partition.
    """
    names = varying(scan.output)
    batches: list[pa.RecordBatch] = []
    if names and rows:
        few = replace(
            scan.select(*names), filter=None, sample=None, limit=None, batch_rows=_SAMPLE_ROWS
        )
        parts = digest_ranges(max(1, min(4096, rows // _SAMPLE_ROWS)))
        found = (batch for part in parts for batch in read(few, part))
        batches = list(itertools.islice(found, 2))
    return Statistics(rows, column_bytes(scan.output, batches), exact=exact)
