"""Tasks that die while they write."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.testing import assertDataFrameEqual
from servers import Server
from spark_tables import load, people, save

from connector import StoreError, WriteMode, WriteOptions, read_all
from connector.redis import RedisOptions, RedisStore
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
    spark: SparkSession, server: Server, table: str, mode: str
) -> None:
    save(people(spark, 50), server.url, table)
    rows = people(spark, 4000, first=25)
    save(rows.mapInArrow(dying(1), rows.schema), server.url, table, mode)
    wanted = rows if mode == "overwrite" else people(spark, 4025)
    assertDataFrameEqual(load(spark, server.url, table), wanted)


@pytest.mark.usefixtures("small_batches")
def test_a_job_that_fails_for_good_deletes_nothing(
    spark: SparkSession, server: Server, table: str
) -> None:
    save(people(spark, 5000), server.url, table)
    rows = people(spark, 4000, first=5000)
    with pytest.raises(Py4JJavaError, match="worker exited unexpectedly"):
        save(rows.mapInArrow(dying(9), rows.schema), server.url, table, "overwrite")
    assert load(spark, server.url, table).where("id < 5000").count() == 5000
    save(rows, server.url, table, "overwrite")
    assertDataFrameEqual(load(spark, server.url, table), rows)


def test_a_commit_without_every_tasks_result_deletes_nothing(server: Server, table: str) -> None:
    rows = pa.record_batch({"id": [1, 2, 3]})
    options = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
    store_options = RedisOptions(url=server.url)
    with RedisStore(store_options) as store:
        store.write(table, [rows], options)
        writer = StoreWriter("redis", store_options, store.begin(table, rows.schema, options))
        with pytest.raises(StoreError, match="1 of 2 tasks"):
            writer.commit([writer.write(iter([rows.slice(0, 1)])), None])
        assert read_all(store.source(table)).num_rows == 3
