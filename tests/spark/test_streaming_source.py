"""Redis Streams read by streaming queries: exactly the entries, over restarts, limits and losses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import spark_tables
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from servers import Server
from streaming_queries import HAS_LIMITS, WAIT_SECONDS, finish, put, read, sizes, write
from topology import Cluster


def ids(spark: SparkSession, url: str, table: str) -> list[int]:
    found = spark_tables.load(spark, url, table).select("id").collect()
    return sorted(row[0] for row in found)


def numbers_in(raw: Any, table: str) -> list[int]:
    return sorted(int(key.rpartition(b":")[2]) for key in raw.scan_iter(f"{table}:*", count=1000))


def test_a_query_goes_on_from_its_checkpoint(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    url, raw, a, b = redis_server.url, redis_server.raw, f"{table}a", f"{table}b"
    limit = {"max_entries_per_trigger": 400} if HAS_LIMITS else {}

    def run(**options: object) -> list[int]:
        df = read(spark, url, streams=f"{a},{b}", group="g", **options).select("id", "name")
        return sizes(finish(write(df, url, tmp_path, table=f"{table}out", key_column="id")))

    put(raw, a, range(2500))
    assert run(partitions_number=3) == [2500]
    assert numbers_in(raw, f"{table}out") == list(range(2500))
    put(raw, a, range(2500, 2900))
    put(raw, b, range(5000, 5600))
    assert run(**limit) == ([400, 400, 200] if HAS_LIMITS else [1000])
    assert numbers_in(raw, f"{table}out") == [*range(2900), *range(5000, 5600)]
    assert run() == []
    for key in (a, b):
        (group,) = raw.xinfo_groups(key)
        assert (group["lag"], group["pending"]) == (0, 0)
        assert group["last-delivered-id"] == raw.xinfo_stream(key)["last-generated-id"]


def test_entries_that_come_while_it_runs(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    url, raw = redis_server.url, redis_server.raw
    df = read(spark, url, "id bigint, name string", table=table, start="latest")
    out = write(df, url, tmp_path, table=f"{table}out", key_column="id")
    query = out.trigger(processingTime="200 milliseconds").start()
    try:
        put(raw, table, range(100))
        deadline = time.monotonic() + WAIT_SECONDS
        while not query.recentProgress and query.isActive and time.monotonic() < deadline:
            time.sleep(0.1)
        for n in range(100, 1000, 20):
            put(raw, table, range(n, n + 20))
        while time.monotonic() < deadline and query.isActive:
            if len([n for n in numbers_in(raw, f"{table}out") if n >= 100]) == 900:
                break
            time.sleep(0.2)
        assert query.exception() is None
    finally:
        query.stop()
    found = [n for n in numbers_in(raw, f"{table}out") if n >= 100]
    assert found == list(range(100, 1000))


def test_schema_columns_and_filter(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    url, raw = redis_server.url, redis_server.raw
    put(raw, f"{table}:x", range(100))
    put(raw, f"{table}:y", range(100, 150))
    streams = {"table": table, "streams": "x,y"}
    assert read(spark, url, **streams).dtypes == [
        ("_id", "string"),
        ("_entry", "string"),
        ("id", "bigint"),
        ("name", "string"),
    ]
    df = read(spark, url, columns="id,_id", filter="id >= 90 AND id < 110", **streams)
    finish(write(df, url, tmp_path / "1", table=f"{table}o", key_column="id"))
    rows = spark_tables.load(spark, url, f"{table}o").collect()
    assert sorted(map(tuple, rows)) == [(n, "x" if n < 100 else "y") for n in range(90, 110)]
    df = read(spark, url, "name string, id decimal(5,1)", **streams).selectExpr("name", "id n")
    finish(write(df, url, tmp_path / "2", table=f"{table}d", key_column="name"))
    found = spark_tables.load(spark, url, f"{table}d").where("name = 'name 7'").collect()
    assert [str(row["n"]) for row in found] == ["7.0"]


def test_a_cluster_is_read(
    spark: SparkSession, redis_cluster: Cluster, table: str, tmp_path: Path
) -> None:
    keys = [f"{table}{i}" for i in range(4)]
    for i, key in enumerate(keys):
        put(redis_cluster.raw, key, range(1000 * i, 1000 * i + 300))
    df = read(spark, redis_cluster.url, streams=",".join(keys)).select("id")
    finish(write(df, redis_cluster.url, tmp_path, table=f"{table}o", key_column="id"))
    wanted = [1000 * i + n for i in range(4) for n in range(300)]
    assert ids(spark, redis_cluster.url, f"{table}o") == wanted


def test_lost_entries_fail_the_query_or_are_left_out(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    url, raw = redis_server.url, redis_server.raw

    def run(**options: object) -> None:
        df = read(spark, url, "id bigint", table=table, **options)
        finish(write(df, url, tmp_path, table=f"{table}out", key_column="id"))

    put(raw, table, range(100))
    run()
    put(raw, table, range(100, 200))
    raw.xtrim(table, maxlen=70, approximate=False)
    with pytest.raises(
        PySparkException, match=rf"stream '{table}'.*lost entries.*30 entries are gone"
    ):
        run()
    run(fail_on_data_loss=False)
    assert numbers_in(raw, f"{table}out") == [*range(100), *range(130, 200)]
    put(raw, table, range(200, 210))
    run()
    assert numbers_in(raw, f"{table}out") == [*range(100), *range(130, 210)]


def test_a_batch_that_was_not_committed_is_read_again_as_it_was(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    """Batch 0 among them, whose beginning Spark does not note."""
    url, raw = redis_server.url, redis_server.raw
    put(raw, table, range(1500))
    df = read(spark, url, "id bigint, _id string", table=table, start="earliest")

    def failing(batches: Any) -> Any:
        yield from batches
        raise ValueError("after all rows are written")

    broken = df.mapInArrow(failing, df.schema)
    with pytest.raises(PySparkException, match="after all rows"):
        finish(write(broken, url, tmp_path, table=f"{table}one", key_column="id"))
    put(raw, table, range(1500, 1600))
    again = read(spark, url, "id bigint, _id string", table=table, start="latest")
    out = write(again, url, tmp_path, table=f"{table}two", key_column="id")
    found = sizes(finish(out))
    if not HAS_LIMITS:  # then availableNow is one batch, and that was the one of before
        found += sizes(finish(out))
    assert found == [1500, 100]
    assert numbers_in(raw, f"{table}two") == list(range(1600))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"streams": "s", "start": "soon"},
            "option 'start': 'soon' is not valid: expected earliest",
        ),
        (
            {"streams": "s", "start": "t=latest"},
            "option 'start' names stream 't', which is not read",
        ),
        ({"streams": "s,"}, "option 'streams'"),
        ({"streams": "s", "max.entries.per.trigger": "0"}, "max.entries.per.trigger"),
        ({"streams": "s", "fail.on.data.loss": "no"}, "expected true or false"),
        ({"streams": "s", "model": "hash"}, "set option 'model' to stream"),
        ({"streams": "s", "limit": "5"}, "options 'limit' and 'sample' are not for streaming"),
        ({"streams": "none"}, "streams 'none' have no entries yet"),
        ({"stream": "s"}, "did you mean 'streams'"),
        ({}, "option 'table' is missing"),
    ],
)
def test_bad_input_is_told_where_the_query_is_planned(
    spark: SparkSession, redis_server: Server, options: dict[str, str], said: str
) -> None:
    put(redis_server.raw, "s", range(3))
    given = {"url": redis_server.url, "model": "stream"} | options
    with pytest.raises(PySparkException) as error:
        spark.readStream.format("redis").options(**given).load()
    assert said in str(error.value)
    assert "\tat " not in str(error.value)
    redis_server.raw.delete("s")


def test_options_of_streams_are_for_streams(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    rows = spark.range(3)
    with pytest.raises(PySparkException, match="options of streams"):
        spark_tables.save(rows, redis_server.url, table, group="g")
    spark_tables.save(rows, redis_server.url, table)
    with pytest.raises(PySparkException, match="options of streams"):
        spark_tables.load(spark, redis_server.url, table, start="latest").collect()


def test_other_stores_have_no_streams(
    spark: SparkSession, aerospike_server: Any, table: str
) -> None:
    spark_tables.save(spark.range(3), aerospike_server.url, table)
    reader = spark.readStream.format("aerospike").options(url=aerospike_server.url, table=table)
    query = reader.load().writeStream.format("noop").start()
    with pytest.raises(PySparkException, match="keeps no log of what changes"):
        query.awaitTermination(WAIT_SECONDS)
