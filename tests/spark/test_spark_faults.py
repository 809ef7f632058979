"""Tasks that die while they write."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.testing import assertDataFrameEqual
from spark_tables import format_of, load, people, save

from connector import Store, StoreError, WriteMode, WriteOptions, read_all
from connector.registry import store_class
from spark_ext.writer import StoreWriter


@pytest.fixture
def small_batches(spark: SparkSession) -> Iterator[None]:
    """Many batches to a task, so that some are written before it dies."""
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(name)
    spark.conf.set(name, 100)
    yield
    spark.conf.set(name, before)


def dying(attempts: int):  # type: ignore[no-untyped-def]
    """Pass batches on; in the first ``attempts`` attempts, be killed at the fifth."""

    def passing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for i, batch in enumerate(batches):
            if i == 5 and TaskContext.get().attemptNumber() < attempts:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    return passing


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_task_killed_and_run_again_writes_exactly_its_rows(
    spark: SparkSession, every_url: str, table: str, mode: str
) -> None:
    save(people(spark, 50), every_url, table)
    rows = people(spark, 4000, first=25)
    save(rows.mapInArrow(dying(1), rows.schema), every_url, table, mode)
    wanted = rows if mode == "overwrite" else people(spark, 4025)
    assertDataFrameEqual(load(spark, every_url, table), wanted)


@pytest.mark.usefixtures("small_batches")
def test_a_job_that_fails_for_good_deletes_nothing(
    spark: SparkSession, every_url: str, table: str
) -> None:
    save(people(spark, 5000), every_url, table)
    rows = people(spark, 4000, first=5000)
    with pytest.raises(Py4JJavaError, match="worker exited unexpectedly"):
        save(rows.mapInArrow(dying(9), rows.schema), every_url, table, "overwrite")
    assert load(spark, every_url, table).where("id < 5000").count() == 5000
    save(rows, every_url, table, "overwrite")
    assertDataFrameEqual(load(spark, every_url, table), rows)


@pytest.fixture
def store(every_url: str) -> Iterator[Store]:
    """Each server's store, opened with the options that a data source would have."""
    kind = store_class(format_of(every_url))
    with kind(kind.options_class.parse({"url": every_url})) as opened:
        yield opened


def overwriting(store: Store, url: str, table: str, rows: pa.RecordBatch) -> StoreWriter:
    """Spark's view of an overwrite that begins now."""
    options = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
    kind = format_of(url)
    given = store_class(kind).options_class.parse({"url": url})
    return StoreWriter(kind, given, store.begin(table, rows.schema, options))


def test_a_commit_without_every_tasks_result_deletes_nothing(
    store: Store, every_url: str, table: str
) -> None:
    rows = pa.record_batch({"id": [1, 2, 3]})
    store.write(table, [rows], WriteOptions(key=("id",)))
    writer = overwriting(store, every_url, table, rows)
    with pytest.raises(StoreError, match="1 of 2 tasks"):
        writer.commit([writer.write(iter([rows.slice(0, 1)])), None])
    assert read_all(store.source(table)).num_rows == 3


def test_attempts_of_one_task_at_once_write_its_rows_once(
    store: Store, every_url: str, table: str
) -> None:
    """As with speculation: Spark takes the first result, and lets the other attempt run out."""
    old = pa.record_batch({"id": range(3000), "n": [0] * 3000})
    store.write(table, [old], WriteOptions(key=("id",)))
    rows = pa.record_batch({"id": range(2000, 5000), "n": [1] * 3000})
    writer = overwriting(store, every_url, table, rows)
    with ThreadPoolExecutor(2) as pool:
        first, late = (pool.submit(writer.write, iter([rows])) for _ in range(2))
        writer.commit([first.result()])
        late.result()
    assert read_all(store.source(table)).sort_by("id").to_batches()[0].equals(rows)
