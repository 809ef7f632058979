"""What a worker process does in the Aerospike case: ours, and the official client's bare loops.

Each takes its share, ``part`` of ``parts``, and returns how many rows of the table that was. What is
written is made once in a process, before its first write.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import aerospike
import pyarrow as pa
import pyarrow.compute as pc
from aerospike_helpers.batch.records import BatchRecords, Write
from aerospike_helpers.operations import operations

from benchmarks.aerospike_place import BINS, TABLE, Place, table_of
from benchmarks.tables import BATCH_ROWS
from connector import WriteOptions, open_store
from connector.scan import even_ranges

PARTITIONS = 4096
BARE_REQUEST = 1000
"""Records in a batch of the bare loop; fewer and more cost it more time."""

_UPSERT = WriteOptions(key=("id",))


def read_ours(
    place: Place,
    part: int,
    parts: int,
    *,
    table: str = TABLE,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    **options: Any,
) -> int:
    """Our share of a read, kept as Arrow; the rows that a filter lets through count."""
    with open_store(place.url, **options) as store:
        source = store.source(table, columns=columns, filter=filter, parts=parts)
        found = [batch for one in source.partitions()[part::parts] for batch in source.read(one)]
        return sum(batch.num_rows for batch in found)


def read_bare(place: Place, part: int, parts: int, *, names: Sequence[str] = BINS) -> int:
    """One query into lists, of which Arrow columns are made in the end."""
    keys: list[int] = []
    columns: list[list[Any]] = [[] for _ in names]
    adders = [(name, column.append) for name, column in zip(names, columns, strict=True)]

    def take(_: int, record: tuple[Any, Any, dict[str, Any]]) -> None:
        keys.append(record[0][2])
        bins = record[2]
        for name, add in adders:
            add(bins[name])

    share = even_ranges(PARTITIONS, parts)[part]
    with place.client() as client:
        query = client.query(place.namespace, TABLE)
        if len(names) < len(BINS):
            query.select(*names)
        query.foreach(take, {"partition_filter": {"begin": share.start, "count": len(share)}})
    return int(pa.table([keys, *columns], ["id", *names]).num_rows)


def read_then_filter(place: Place, part: int, parts: int, *, qty: int) -> int:
    """All rows, of which those with this ``qty`` are kept afterwards."""
    with open_store(place.url) as store:
        source = store.source(TABLE, parts=parts)
        batches = (batch for one in source.partitions()[part::parts] for batch in source.read(one))
        kept = [batch.filter(pc.field("qty") == qty) for batch in batches]
        return sum(batch.num_rows for batch in kept)


def write_ours(place: Place, part: int, parts: int, *, rows: int) -> int:
    """Our share of an upsert, from Arrow."""
    batches = _share(rows, part, parts).to_batches(BATCH_ROWS)
    with open_store(place.url) as store:
        return int(store.write(TABLE, batches, _UPSERT).rows)


def write_bare(place: Place, part: int, parts: int, *, rows: int) -> int:
    """Batches of writes of all bins with the user keys, from lists; every result is looked at."""
    keys, *columns = _lists(rows, part, parts)
    policy = {"key": aerospike.POLICY_KEY_SEND}
    with place.client() as client:
        for start in range(0, len(keys), BARE_REQUEST):
            some = slice(start, start + BARE_REQUEST)
            values = zip(*(column[some] for column in columns), strict=True)
            batch = BatchRecords(
                [
                    Write(
                        (place.namespace, TABLE, key),
                        [*map(operations.write, BINS, row)],
                        policy=policy,
                    )
                    for key, row in zip(keys[some], values, strict=True)
                ]
            )
            client.batch_write(batch)
            assert not any(record.result for record in batch.batch_records)
    return len(keys)


@functools.cache
def _share(rows: int, part: int, parts: int) -> pa.Table:
    share = even_ranges(rows, parts)[part]
    return table_of(rows).slice(share.start, len(share)).combine_chunks()


@functools.cache
def _lists(rows: int, part: int, parts: int) -> list[list[Any]]:
    return [column.to_pylist() for column in _share(rows, part, parts).columns]
