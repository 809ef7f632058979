"""Joins by lookup, against Spark's own joins."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from servers import Server
from spark_tables import load, people, save

import connector
from spark_ext import lookup_join


def events(spark: SparkSession) -> DataFrame:
    """Rows of repeated, missing and null keys, in three partitions."""
    return spark.range(0, 400, numPartitions=3).select(
        sf.col("id").alias("nr"),
        sf.expr("CASE WHEN id % 10 = 9 THEN NULL ELSE (id * 7) % 80 END").alias("who"),
    )


@pytest.mark.parametrize("how", ["left", "inner"])
def test_the_rows_are_those_of_a_join(
    spark: SparkSession, every_url: str, table: str, how: str
) -> None:
    save(people(spark, 50), every_url, table)
    given = events(spark)
    found = lookup_join(given, every_url, table, on="who", columns=["x", "name"], how=how)
    stored = load(spark, every_url, table).select("id", "x", "name")
    expected = given.join(stored, given.who == stored.id, how).drop("id")
    assert found.columns == ["nr", "who", "x", "name"]
    assert sorted(map(tuple, found.collect())) == sorted(map(tuple, expected.collect()))


def test_order_and_rows_of_nothing_but_nulls(
    spark: SparkSession, every_url: str, table: str
) -> None:
    rows = spark.sql("SELECT id, CAST(NULL AS string) AS a, id AS b FROM range(3)")
    save(rows, every_url, table)
    given = spark.createDataFrame([(2,), (5,), (0,), (2,)], "k long").coalesce(1)
    inner = lookup_join(given, every_url, table, on="k", columns=["a"], how="inner")
    assert [tuple(row) for row in inner.collect()] == [(2, None), (0, None), (2, None)]
    left = lookup_join(given, every_url, table, on="k", columns=["b"])
    assert [tuple(row) for row in left.collect()] == [(2, 2), (5, None), (0, 0), (2, 2)]
    only = lookup_join(given, every_url, table, on="k", columns=[], how="inner")
    assert [row.k for row in only.collect()] == [2, 0, 2]


def test_keys_of_several_columns_and_kinds(spark: SparkSession, url: str, table: str) -> None:
    rows = spark.sql(
        "SELECT id AS a, concat('b:', id % 3) AS b, date_add(DATE '2020-01-01', CAST(id AS int)) AS day, "
        "CAST(id AS decimal(12, 2)) AS d FROM range(30)"
    )
    save(rows, url, table, key_column="a,b")
    given = spark.createDataFrame([("b:1", 4), ("b:1", 5), (None, 6)], "text string, n int")
    found = lookup_join(given, url, table, on=["n", "text"], how="inner").collect()
    assert [tuple(row) for row in found] == [
        ("b:1", 4, datetime.date(2020, 1, 5), decimal.Decimal("4.00"))
    ]


def test_a_filter_and_options_of_the_store(spark: SparkSession, url: str, table: str) -> None:
    save(people(spark, 50), url, table)
    given = spark.range(8)
    chosen = lookup_join(given, url, table, on="id", how="inner", columns=["n"], filter="n > 3")
    assert sorted(row.n for row in chosen.collect()) == [4, 5, 6]


def test_keys_are_asked_for_once_and_nothing_is_scanned(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    save(people(spark, 50), redis_server.url, table)
    given = spark.range(0, 600, numPartitions=1).select((sf.col("id") % 3).alias("k"))
    redis_server.raw.config_resetstat()
    assert lookup_join(given, redis_server.url, table, on="k", columns=["name"]).count() == 600
    calls = redis_server.raw.info("commandstats")
    assert (
        sum(calls.get(f"cmdstat_{each}", {"calls": 0})["calls"] for each in ("hmget", "hget")) == 3
    )
    assert "cmdstat_scan" not in calls


def test_in_a_stream(spark: SparkSession, url: str, table: str, tmp_path: Path) -> None:
    save(people(spark, 50), url, table)
    given = tmp_path / "in"
    spark.range(20).write.parquet(str(given))
    stream = spark.readStream.schema("id long").parquet(str(given))
    joined = lookup_join(stream, url, table, on="id", columns=["name"])
    query = (
        joined.writeStream.format("memory")
        .queryName(f"joined_{table}")
        .trigger(availableNow=True)
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .start()
    )
    assert query.awaitTermination(120)
    assert spark.table(f"joined_{table}").where("name = concat('name ', id)").count() == 20


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"how": "outer"}, "how='outer' is not known"),
        ({"on": "nothing"}, "no column 'nothing'"),
        ({"on": ["id", "text"]}, "has the key id; name as many"),
        ({"on": "text"}, "'text' is string, and key column 'id' .* is bigint: cast"),
        ({"columns": ["id"]}, "'id' .* would stand twice"),
        ({"columns": ["nothing"]}, "nothing"),
        ({"limit": 3}, "'limit' and 'sample' are for reading"),
        ({"colour": "red"}, "unknown option 'colour'"),
    ],
)
def test_bad_input_is_refused_at_once(
    spark: SparkSession, url: str, table: str, given: dict[str, object], message: str
) -> None:
    save(people(spark, 5), url, table)
    df = spark.range(3).selectExpr("id", "string(id) AS text")
    with pytest.raises(connector.errors.ConnectorError, match=message):
        lookup_join(df, url, table, **({"on": "id"} | given))  # type: ignore[arg-type]


def test_a_table_that_is_not_there(spark: SparkSession, url: str, table: str) -> None:
    with pytest.raises(connector.errors.ConnectorError, match=table):
        lookup_join(spark.range(3), url, table, on="id")
