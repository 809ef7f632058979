"""What a write tells of itself: its tasks' counts, checked and logged where it is committed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from servers import Server
from spark_tables import format_of, load, people, save

from connector import Store, StoreError, WriteOptions, open_store
from connector.jobs import WriteResult, WriteRows
from connector.registry import store_class
from spark_ext.writer import StoreWriter
from spark_ext.written import Passing, Written, written

ROWS = pa.table({"id": range(1000), "n": range(1000)})


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


def writer(store: Store, url: str, table: str, options: WriteOptions) -> StoreWriter:
    """Spark's view of a write that begins now."""
    given = store_class(format_of(url)).options_class.parse({"url": url})
    return StoreWriter(format_of(url), given, store.begin(table, ROWS.schema, options))


def test_a_commit_logs_all_tasks_in_a_line_and_each_for_debugging(
    store: Store, url: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "spark_ext.writer")
    writing = writer(store, url, table, WriteOptions(key=("id",)))
    tasks = [writing.write(iter(ROWS.slice(start, 500).to_batches(100))) for start in (0, 500)]
    assert [(each.result.rows, each.batches, each.bytes) for each in tasks] == [(500, 5, 8000)] * 2
    tasks[1].partition, tasks[1].attempt = 1, 2  # as in a task of Spark's
    writing.commit(tasks)
    line = (
        f"wrote 1000 rows to table '{table}': 2 tasks, 10 batches, 16000 bytes; "
        "1 tasks took more than one attempt"
    )
    assert [record.message for record in caplog.records if record.levelname == "INFO"] == [line]
    debug = [record.message for record in caplog.records if record.levelname == "DEBUG"]
    assert debug == [
        f"task 0, attempt 0: wrote 500 rows to table '{table}': 1 tasks, 5 batches, 8000 bytes",
        f"task 1, attempt 2: wrote 500 rows to table '{table}': 1 tasks, 5 batches, 8000 bytes; "
        "1 tasks took more than one attempt",
    ]


def test_rows_left_out_are_counted(
    store: Store, url: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spark_ext.writer")
    store.write(table, ROWS.slice(0, 300).to_batches(), WriteOptions(key=("id",)))
    writing = writer(store, url, table, WriteOptions(key=("id",), rows=WriteRows.INSERT))
    writing.commit([writing.write(iter(ROWS.to_batches()))])
    assert "wrote 700 rows" in caplog.text
    assert "300 rows left out, as 'write.mode' is 'insert'" in caplog.text


def test_a_store_that_loses_count_fails_the_task(store: Store, url: str, table: str) -> None:
    job = store.begin(table, ROWS.schema, WriteOptions(key=("id",)))
    passed = Passing(ROWS.to_batches(100))
    assert sum(batch.num_rows for batch in passed) == 1000
    assert isinstance(written(job, passed, WriteResult(600, skipped=300, rejected=100)), Written)
    with pytest.raises(StoreError, match="of 1000 rows of a task the store accounts for 999"):
        written(job, passed, WriteResult(699, skipped=300))


def test_rejected_rows_are_a_warning_that_names_where_they_are_told(
    redis_server: Server, table: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.raw.rpush(f"{table}:5", "no hash")
    options = WriteOptions(key=("id",), reject_path=str(tmp_path))
    with open_store(redis_server.url) as store:
        writing = writer(store, redis_server.url, table, options)
        writing.commit([writing.write(iter(ROWS.to_batches()))])
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith(f"wrote 999 rows to table '{table}': ")
    assert record.message.endswith(f"; 1 rows rejected by the server, named in {tmp_path}")
    (file,) = tmp_path.iterdir()
    assert f'"key": "{table}:5"' in file.read_text()


def test_spark_counts_what_a_read_hands_on(spark: SparkSession, url: str, table: str) -> None:
    """Rows and bytes of every scan are in the metrics that Spark's UI shows of a query."""
    save(people(spark, 500), url, table)
    assert len(load(spark, url, table).where("id >= 100").collect()) == 400
    metrics = last_scan(spark)
    assert metrics["number of output rows"] == "400"
    assert float(metrics["data returned from Python workers"].split()[0]) > 0


def last_scan(spark: SparkSession) -> dict[str, str]:
    """The metrics of the scan in the query that ran last."""
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
    status = spark._jsparkSession.sharedState().statusStore()
    execution = status.executionsList().last().executionId()
    values = status.executionMetrics(execution)
    nodes = status.planGraph(execution).allNodes()
    (scan,) = [node for node in elements(nodes) if node.name().startswith("BatchScan")]
    return {
        metric.name(): values.apply(metric.accumulatorId())
        for metric in elements(scan.metrics())
        if values.contains(metric.accumulatorId())
    }


def elements(found: Any) -> list[Any]:
    """What is in a sequence of Scala's."""
    return [found.apply(i) for i in range(found.size())]
