"""Tables for the contract tests, and ways to put them in and to compare what comes out."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from connector import Source, Store, WriteMode, WriteOptions, read_all

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("size", pa.float64())])


def people(count: int, start: int = 0) -> pa.RecordBatch:
    """Rows with the ids from ``start``; every seventh name and every fifth size is null."""
    ids = range(start, start + count)
    return pa.RecordBatch.from_pydict(
        {
            "id": list(ids),
            "name": [None if i % 7 == 3 else f"näme\r\n{i}" for i in ids],
            "size": [None if i % 5 == 2 else i / 4 for i in ids],
        },
        schema=SCHEMA,
    )


def put(
    store: Store,
    table: str,
    *batches: pa.RecordBatch,
    key: Iterable[str] = ("id",),
    mode: WriteMode = WriteMode.APPEND,
) -> None:
    """Write the batches as one job."""
    written = store.write(table, batches, WriteOptions(key=tuple(key), mode=mode))
    assert written.rows == sum(batch.num_rows for batch in batches)


def get(store: Store, table: str, *order: str, **asked: object) -> pa.Table:
    """The whole table, sorted by these columns, or by ``id``."""
    return in_order(store.source(table, **asked), *order)  # type: ignore[arg-type]


def in_order(source: Source, *order: str) -> pa.Table:
    """Everything that the source yields, sorted by these columns, or by ``id``."""
    found = read_all(source)
    return found.sort_by([(name, "ascending") for name in order or ("id",)]).combine_chunks()


def as_table(*batches: pa.RecordBatch) -> pa.Table:
    """The batches as one table of one chunk."""
    return pa.Table.from_batches(batches).combine_chunks()


def ids(store: Store, table: str) -> list[int]:
    """The ids that are in the table, repeats included."""
    found: list[int] = get(store, table, columns=["id"]).column("id").to_pylist()
    return found
