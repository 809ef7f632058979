"""What reaches the server when Spark pushes: a raw client counts the commands."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from queries_running import PUSHDOWN, configured, plan
from servers import Server
from spark_tables import load, people, save

import spark_ext

ROWS = 6000  # more than are all looked at for statistics


@pytest.fixture
def stored(spark: SparkSession, redis_server: Server, table: str) -> Server:
    save(people(spark, ROWS), redis_server.url, table)
    return redis_server


@pytest.fixture
def df(spark: SparkSession, stored: Server, table: str) -> DataFrame:
    return load(spark, stored.url, table)


def commands(server: Server, action: Callable[[], object]) -> dict[str, int]:
    """How often the server ran each command meanwhile."""
    server.raw.config_resetstat()
    action()
    stats = server.raw.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


def test_only_the_columns_of_the_query(stored: Server, df: DataFrame) -> None:
    with stored.raw.monitor() as watch:
        found = df.select("x").where("n = 3").limit(5).collect()
        stored.raw.echo("end")
        asked = set()
        for seen in iter(watch.next_command, None):
            words = seen["command"].split()
            if words[0] == "ECHO":
                break
            if words[0] == "HMGET":
                asked.add(tuple(words[2:]))
    assert len(found) == 5
    assert asked == {("n", "x")}


def test_a_key_is_looked_up(stored: Server, df: DataFrame) -> None:
    ran = commands(stored, lambda: df.where("id IN (3, 5, 7777777)").collect())
    assert ran["hmget"] == 3
    assert "scan" not in ran


def test_a_join_looks_up_its_keys(spark: SparkSession, stored: Server, df: DataFrame) -> None:
    keys = spark.createDataFrame([(at * 100,) for at in range(20)], "id bigint")
    joined = df.join(sf.broadcast(keys), "id")
    ran = commands(stored, lambda: joined.collect())
    assert ran["hmget"] < 150  # of which 100 for statistics
    assert "RuntimeFilters: [dynamicpruningexpression" in plan(joined)
    assert joined.count() == 20
    with configured(spark, {PUSHDOWN: "off"}):
        scanned = df.join(sf.broadcast(keys), "id")
        assert commands(stored, lambda: scanned.collect())["hmget"] >= ROWS
        assert scanned.count() == 20


def test_a_join_by_another_name_and_with_columns_chosen(
    spark: SparkSession, stored: Server, df: DataFrame
) -> None:
    keys = spark.createDataFrame([(4,), (5,), (None,)], "k bigint")
    chosen = df.select(sf.col("id").alias("k"), "name").where("name <> 'name 5'")
    joined = keys.join(chosen, "k", "left")
    ran = commands(stored, lambda: joined.collect())
    assert sorted(joined.collect(), key=str) == [(4, "name 4"), (5, None), (None, None)]
    assert ran["hmget"] < 150 or "dynamicpruning" not in plan(joined)


def test_counting_fetches_no_values(stored: Server, df: DataFrame) -> None:
    ran = commands(stored, lambda: df.count())
    assert df.count() == ROWS
    assert "hmget" not in ran
    assert "hgetall" not in ran


def test_counting_record_batches_reads_none(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    save(people(spark, 500), redis_server.url, table, model="arrow")
    df = load(spark, redis_server.url, table)
    ran = commands(redis_server, lambda: df.count())
    assert df.count() == 500
    assert "mget" not in ran
    index_and_schema = ran.get("get", 0)
    assert index_and_schema <= 6
    assert df.where("n = 3").count() == people(spark, 500).where("n = 3").count()


def test_a_limit_reads_no_more_than_a_request_or_two(stored: Server, df: DataFrame) -> None:
    ran = commands(stored, lambda: df.select("name").limit(10).collect())
    assert ran["hmget"] < ROWS / 2


def test_spark_knows_the_size_and_broadcasts_by_itself(
    spark: SparkSession, stored: Server, df: DataFrame
) -> None:
    other = spark.range(100_000).selectExpr("id % 7 as n", "id as m")
    joined = other.join(df.select("n", "name"), "n")
    assert "BroadcastHashJoin" in plan(joined)
    assert "SortMergeJoin" not in plan(joined)
    cost = df.select("name")._jdf.queryExecution().optimizedPlan().stats()
    assert ROWS * 0.7 * 10 <= int(str(cost.sizeInBytes())) <= ROWS * 2 * 40
    with configured(spark, {"spark.sql.autoBroadcastJoinThreshold": "50000"}):
        large = other.join(df.select("n", "name"), "n")
        assert "SortMergeJoin" in plan(large)


def test_own_filter_limit_and_columns_stay_the_users(
    spark: SparkSession, stored: Server, table: str
) -> None:
    few = load(spark, stored.url, table, limit="50", filter="n < 3")
    assert few.count() == 50
    assert few.where("n < 2").count() <= 50
    assert few.limit(7).count() == 7
    narrow = spark_ext.read(spark, stored.url, table, columns=["name", "id"], filter="id >= 5990")
    assert narrow.select("name").where("id = 5991").first().name == "name 5991"
    assert narrow.where("id = 3").count() == 0
