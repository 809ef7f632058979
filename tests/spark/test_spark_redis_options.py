"""What Redis users ask of Spark beyond plain reads and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from servers import Server
from spark_tables import load
from topology import Cluster

import spark_ext
from connector import WriteOptions, open_store

ROWS = 2000


@pytest.fixture
def people(server: Server, table: str) -> str:
    """A table of people, by id."""
    ids = range(ROWS)
    batch = pa.record_batch(
        {"id": ids, "age": [i % 90 for i in ids], "city": [f"c{i % 7}" for i in ids]}
    )
    with open_store(server.url) as store:
        store.write(table, [batch], WriteOptions(key=("id",)))
    return table


def ids(df: DataFrame) -> list[int]:
    return sorted(row["id"] for row in df.select("id").collect())


def test_a_filter_limit_and_sample(spark: SparkSession, server: Server, people: str) -> None:
    adults = load(spark, server.url, people, filter="age >= 18 AND city IN ('c1', 'c2')")
    assert ids(adults) == [i for i in range(ROWS) if i % 90 >= 18 and i % 7 in (1, 2)]
    assert load(spark, server.url, people, filter="id IN (5, 7, -1)").count() == 2
    assert load(spark, server.url, people, limit=10, partitions_number=8).count() == 10
    some = load(spark, server.url, people, sample=0.5).count()
    assert 0.35 * ROWS < some < 0.65 * ROWS


def test_metadata_columns(spark: SparkSession, server: Server, people: str) -> None:
    server.raw.expire(f"{people}:7", 500)
    named = load(spark, server.url, people, columns="id,__key,__ttl").where("id < 10")
    rows = {row["id"]: row for row in named.collect()}
    assert rows[7]["__key"] == f"{people}:7" and 490 < rows[7]["__ttl"] <= 500
    assert rows[8]["__ttl"] is None
    schema = "id long, age long, city string, __ttl long"
    given = spark.read.format("redis").option("url", server.url).option("table", people)
    copy = given.schema(schema).load()
    writer = copy.write.format("redis").option("url", server.url).option("table", f"{people}b")
    writer.option("key.column", "id").mode("append").save()
    assert 480 < server.raw.ttl(f"{people}b:7") <= 500
    assert server.raw.ttl(f"{people}b:8") == -1


def test_rows_of_a_dataframe_of_keys(spark: SparkSession, server: Server, people: str) -> None:
    keys = spark.range(1990, 2010).union(spark.range(1990, 1992)).withColumn("other", sf.lit("x"))
    found = spark_ext.read(spark, server.url, people, keys=keys)
    assert ids(found) == list(range(1990, 2000))
    assert found.columns == ["id", "age", "city"]
    narrow = spark_ext.read(spark, server.url, people, keys=[3, 4, 5000], columns=["city"])
    assert sorted(row["city"] for row in narrow.collect()) == ["c3", "c4"]
    teens = spark_ext.read(spark, server.url, people, keys=keys, filter="age < 15")
    assert ids(teens) == [i for i in range(1990, 2000) if i % 90 < 15]


def test_rows_are_deleted_by_a_dataframe(spark: SparkSession, server: Server, people: str) -> None:
    assert spark_ext.delete(spark.range(1000, 5000), server.url, people) == 1000
    assert ids(load(spark, server.url, people)) == list(range(1000))


def test_how_rows_are_written(
    spark: SparkSession, server: Server, people: str, tmp_path: Path
) -> None:
    news = spark.createDataFrame([(5, "new"), (5000, "new")], "id long, city string")

    def write(df: DataFrame, **options: object) -> None:
        spark_ext.write(df, server.url, people, **options)  # type: ignore[arg-type]

    write(news, write_mode="insert")
    assert server.raw.hget(f"{people}:5", "city") == b"c5"
    assert server.raw.hgetall(f"{people}:5000") == {b"city": b"new"}
    write(news.withColumn("id", sf.col("id") + 1), write_mode="update")
    assert server.raw.hget(f"{people}:6", "city") == b"new"
    assert not server.raw.exists(f"{people}:5001")
    write(news, write_fields="replace", ttl_seconds=100)
    assert server.raw.hgetall(f"{people}:5") == {b"city": b"new"}
    write(news.withColumn("life", sf.lit(77)), ttl_column="life")
    assert 70 < server.raw.ttl(f"{people}:5") <= 77
    write(news.withColumn("score", sf.lit(0.5)), schema_evolution="add")
    assert server.raw.hget(f"{people}:5", "score") == b"0.5"
    server.raw.delete(f"{people}:5")
    server.raw.rpush(f"{people}:5", "no hash")
    write(news, reject_path=str(tmp_path))
    told = [
        json.loads(line) for file in tmp_path.iterdir() for line in file.read_text().splitlines()
    ]
    assert [item["key"] for item in told] == [f"{people}:5"]


def test_rows_by_a_pattern_of_keys(spark: SparkSession, server: Server, people: str) -> None:
    reader = spark.read.format("redis").option("url", server.url)
    found = reader.option("keys.pattern", f"{people}:19*").option("key.column", "id").load()
    assert found.count() == 111
    assert {"age", "city", "id"} == set(found.columns)
    server.raw.rpush(f"{people}:list", "x")
    every = reader.option("keys.pattern", f"{people}:*").option("key.column", "id")
    assert every.option("on.bad.key", "skip").load().count() == ROWS
    typed = every.option("filter.keys.by.type", "true").option("on.bad.key", "error")
    assert typed.schema("id string, age long").load().count() == ROWS


def test_options_that_belong_to_reading_are_refused_in_writing(
    spark: SparkSession, server: Server, table: str
) -> None:
    for name, value in {"filter": "id > 1", "limit": "5", "sample": "0.5"}.items():
        with pytest.raises(Exception, match="are for reading"):
            spark_ext.write(spark.range(3), server.url, table, key="id", **{name: value})  # type: ignore[arg-type]


def test_a_cluster_is_read_and_written(
    spark: SparkSession, redis_cluster: Cluster, table: str
) -> None:
    df = spark.range(5000).withColumn("n", sf.col("id") * 2).repartition(3)
    spark_ext.write(df, redis_cluster.url, table, key="id")
    assert redis_cluster.dbsize() == 5001
    found = spark_ext.read(spark, redis_cluster.url, table, partitions_number=8)
    assert found.rdd.getNumPartitions() == 8
    assert sorted(map(tuple, found.collect())) == [(i, 2 * i) for i in range(5000)]
    spark_ext.write(df.where("id < 100"), redis_cluster.url, table, key="id", mode="overwrite")
    assert redis_cluster.dbsize() == 101
