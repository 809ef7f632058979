"""Streaming queries that append to Redis Streams: each row once, whatever is run again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import spark_tables
from pyspark import TaskContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from servers import Server
from streaming_queries import finish, forget_last_commit, put, read, sizes, write
from topology import Cluster


def stored(raw: Any, key: str) -> list[int]:
    return [int(fields[b"id"]) for _, fields in raw.xrange(key)]


def test_a_stream_gets_every_row_once(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    url, raw, out = redis_server.url, redis_server.raw, f"{table}out"
    df = read(spark, url, "id bigint, name string", table=table)
    appending = write(df, url, tmp_path, table=out, model="stream", replay_seconds=1000)
    put(raw, table, range(2500))
    finish(appending)
    assert sorted(stored(raw, out)) == list(range(2500))
    forget_last_commit(tmp_path)
    assert sizes(finish(appending)) == [2500]
    assert sorted(stored(raw, out)) == list(range(2500))
    put(raw, table, range(2500, 2600))
    finish(appending)
    assert sorted(stored(raw, out)) == list(range(2600))
    fields = [fields for _, fields in raw.xrange(out)]
    assert {b"id": b"7", b"name": b"name 7"} in fields
    (mark,) = raw.scan_iter("_kvlake:appended:*")
    assert raw.hget(mark, "batch") == b"1"
    assert 900 < raw.ttl(mark) <= 1000
    assert spark_tables.load(spark, url, out, keys_pattern=out, model="stream").count() == 2600


def dying() -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Pass batches on; in the first attempt, be killed at the fifth."""

    def passing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = TaskContext.get()
        assert task is not None
        for i, batch in enumerate(batches):
            if i == 5 and not task.attemptNumber():
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    return passing


def test_a_task_that_died_on_the_way_goes_on_where_it_was(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    url, raw = redis_server.url, redis_server.raw
    put(raw, table, range(3000))
    options = {"table": table, "batch_rows": 100, "partitions_number": 1}
    df = read(spark, url, "id bigint, name string", **options)
    wide = df.selectExpr("id", "repeat('x', 2000) as text")
    finish(
        write(
            wide.mapInArrow(dying(), wide.schema),
            url,
            tmp_path,
            streams=f"{table}out",
            model="stream",
        )
    )
    assert stored(raw, f"{table}out") == list(range(3000))


def test_rows_go_to_the_streams_of_a_table(
    spark: SparkSession, redis_cluster: Cluster, table: str, tmp_path: Path
) -> None:
    url, raw = redis_cluster.url, redis_cluster.raw
    put(raw, table, range(60))
    df = read(spark, url, "id bigint", table=table).selectExpr("id % 3 as k", "id", "id / 4 as x")
    out = write(df, url, tmp_path, table=f"{table}out", model="stream", key_column="k")
    finish(out)
    forget_last_commit(tmp_path)
    finish(out)
    for k in range(3):
        assert stored(raw, f"{table}out:{k}") == list(range(k, 60, 3))
    found = spark_tables.load(spark, url, f"{table}out")
    assert found.dtypes == [
        ("k", "bigint"),
        ("id", "bigint"),
        ("x", "double"),
        ("_entry", "string"),
    ]
    assert sorted(row.id for row in found.collect()) == list(range(60))
    query = {"table": f"{table}out", "streams": "0,2"}
    assert read(spark, url, **query).dtypes == found.dtypes
    again = read(spark, url, **query).select("id", "k")
    finish(write(again, url, tmp_path / "again", table=f"{table}back", key_column="id"))
    assert spark_tables.load(spark, url, f"{table}back").where("k <> 1").count() == 40


@pytest.mark.parametrize(
    ("options", "mode", "said"),
    [
        ({"streams": "a,b"}, "append", "option 'streams' names the one stream to append to"),
        ({"table": "t", "ttl": 5}, "append", "neither expire nor replace"),
        ({"table": "t"}, "complete", "entries of a stream are not replaced"),
        ({"table": "t", "key_column": "none"}, "append", "'none' is not among the columns"),
    ],
)
def test_what_a_stream_cannot_do_is_told(
    spark: SparkSession,
    redis_server: Server,
    table: str,
    tmp_path: Path,
    options: dict[str, object],
    mode: str,
    said: str,
) -> None:
    put(redis_server.raw, table, range(3))
    df = read(spark, redis_server.url, "id bigint", table=table)
    df = df.groupBy("id").count() if mode == "complete" else df
    with pytest.raises(PySparkException) as error:
        finish(write(df, redis_server.url, tmp_path, model="stream", **options).outputMode(mode))
    assert said in str(error.value)
