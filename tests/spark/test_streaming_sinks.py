"""Streaming queries that write tables of every store: upserts, complete batches, replayed batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spark_tables
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from servers import Server
from streaming_queries import finish, forget_last_commit, put, read, sizes, write

from connector import OptionError
from spark_ext.streaming.batches import upsert


def counted(spark: SparkSession, source: Server, stream: str) -> DataFrame:
    df = read(spark, source.url, "id bigint, name string", table=stream)
    return df.groupBy((df.id % 5).alias("k")).count()


def rows(spark: SparkSession, url: str, table: str) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, spark_tables.load(spark, url, table).collect()))


def test_batches_are_upserted_and_a_replayed_one_changes_nothing(
    spark: SparkSession, valkey_server: Server, url: str, table: str, tmp_path: Path
) -> None:
    df = read(spark, valkey_server.url, "id bigint, name string", table=table)
    out = write(df, url, tmp_path, table=f"{table}out", key_column="id")
    put(valkey_server.raw, table, range(300))
    finish(out)
    put(valkey_server.raw, table, range(200, 400))
    finish(out)
    wanted = [(n, f"name {n}") for n in range(400)]
    assert rows(spark, url, f"{table}out") == wanted
    forget_last_commit(tmp_path)
    assert sizes(finish(out)) == [200]
    assert rows(spark, url, f"{table}out") == wanted


def test_complete_mode_leaves_exactly_the_batch(
    spark: SparkSession, valkey_server: Server, url: str, table: str, tmp_path: Path
) -> None:
    name = f"{table}out"
    old = spark.range(90, 100).selectExpr("id k", "id count")
    spark_tables.save(old, url, name, key_column="k")
    put(valkey_server.raw, table, range(10))
    out = write(counted(spark, valkey_server, table), url, tmp_path, table=name, key_column="k")
    finish(out.outputMode("complete"))
    assert rows(spark, url, name) == [(k, 2) for k in range(5)]
    put(valkey_server.raw, table, [1, 1, 2])
    finish(out.outputMode("complete"))
    assert rows(spark, url, name) == [(0, 2), (1, 4), (2, 3), (3, 2), (4, 2)]


def test_update_mode_goes_by_foreach_batch(
    spark: SparkSession, valkey_server: Server, url: str, table: str, tmp_path: Path
) -> None:
    put(valkey_server.raw, table, range(10))
    out = counted(spark, valkey_server, table).writeStream.outputMode("update")
    out = out.option("checkpointLocation", str(tmp_path)).trigger(availableNow=True)
    out = out.foreachBatch(upsert(url, f"{table}out", key="k"))
    finish(out)
    put(valkey_server.raw, table, [1, 1, 2])
    finish(out)
    wanted = [(0, 2), (1, 4), (2, 3), (3, 2), (4, 2)]
    assert rows(spark, url, f"{table}out") == wanted
    forget_last_commit(tmp_path)
    finish(out)
    assert rows(spark, url, f"{table}out") == wanted


def test_what_cannot_be_written_is_told(
    spark: SparkSession, valkey_server: Server, table: str, tmp_path: Path
) -> None:
    url = valkey_server.url
    put(valkey_server.raw, table, range(3))
    df = read(spark, url, "id bigint", table=table)
    for i, (options, said) in enumerate(
        [
            ({}, "key.column"),
            ({"key.column": "none"}, "key column 'none' is not among the columns"),
            ({"key.column": "id", "filter": "id > 1"}, "are for reading"),
            ({"key.column": "id", "group": "g"}, "options of streams"),
        ]
    ):
        with pytest.raises(PySparkException) as error:
            finish(write(df, url, tmp_path / str(i), table=f"{table}o", **options))
        assert said in str(error.value)
    with pytest.raises(PySparkException, match="does not support Update mode"):
        out = write(counted(spark, valkey_server, table), url, tmp_path / "u", table="o")
        finish(out.outputMode("update"))
    with pytest.raises(OptionError, match="did you mean 'partitions.number'"):
        upsert(url, table, partition_number=3)
