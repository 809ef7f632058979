"""A store of which Spark knows nothing, by the classes that all stores have in common.

A MemoryStore lives in one process, so Spark's own tasks cannot share it: its classes are called as Spark
calls them.
"""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark.sql.datasource import InputPartition
from pyspark.sql.types import LongType, StringType, StructField, StructType

from spark_ext.datasource import StoreDataSource

COLUMNS = StructType([StructField("id", LongType()), StructField("name", StringType())])


class MemorySource(StoreDataSource):
    """All that a store needs to be a format."""

    scheme = "memory"
    texts = False


def rows(first: int, last: int) -> pa.RecordBatch:
    names = [f"n{i}" for i in range(first, last)]
    return pa.record_batch({"id": pa.array(range(first, last), pa.int64()), "name": names})


def source(table: str, **options: str) -> MemorySource:
    return MemorySource({"url": "memory://", "table": table, **options})


def read(table: str, **options: str) -> list[int]:
    opened = source(table, **options)
    reader = opened.reader(opened.schema())
    parts = reader.partitions()
    assert all(isinstance(part, InputPartition) for part in parts)
    batches = [batch for part in parts for batch in reader.read(part)]
    return sorted(i for batch in batches for i in batch["id"].to_pylist())


def write(table: str, *batches: pa.RecordBatch, overwrite: bool = False) -> None:
    writer = source(table, **{"key.column": "id"}).writer(COLUMNS, overwrite)
    writer.commit([writer.write(iter([batch])) for batch in batches])


def test_a_table_is_written_and_read(table: str) -> None:
    write(table, rows(0, 50), rows(50, 100))
    assert read(table) == list(range(100))
    assert read(table, filter="id >= 10 AND id < 13", columns="id") == [10, 11, 12]
    write(table, rows(90, 110))
    assert read(table) == list(range(110))
    write(table, rows(5, 8), overwrite=True)
    assert read(table) == [5, 6, 7]


def test_a_failed_write_deletes_nothing(table: str) -> None:
    write(table, rows(0, 10))
    writer = source(table, **{"key.column": "id"}).writer(COLUMNS, True)
    writer.write(iter([rows(3, 5)]))
    writer.abort([])
    assert read(table) == list(range(10))


def test_micro_batches_are_upserted(table: str) -> None:
    sink = source(table, **{"key.column": "id"}).streamWriter(COLUMNS, False)
    for batch in (rows(0, 10), rows(5, 15), rows(5, 15)):
        sink.commit([sink.write(iter([batch]))], 0)
    assert read(table) == list(range(15))


def test_its_options_are_checked_like_those_of_every_store() -> None:
    with pytest.raises(Exception, match="did you mean 'partitions.number'"):
        source("t", **{"partition.number": "3"})
