"""Every model through Spark: written by a DataFrame, seen by a raw client, read by a DataFrame."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from servers import Server
from spark_tables import load, save

ROWS = 300


def rows(df: DataFrame) -> list[dict[str, Any]]:
    found = [row.asDict(recursive=True) for row in df.collect()]
    return sorted(found, key=lambda row: tuple(map(str, row.values())))


def documents(spark: SparkSession) -> DataFrame:
    return spark.range(ROWS).selectExpr(
        "id",
        "concat('näme ', id) name",
        "if(id % 3 = 0, null, id / 4) as x",
        "array(id, id + 1) as nums",
        "named_struct('a', cast(id as int), 'b', array('p', null)) as st",
        "cast('2013-01-31 05:00:00.5' as timestamp) as at",
    )


@pytest.mark.parametrize(
    "options",
    [
        {"model": "json"},
        {"model": "string", "value_codec": "json"},
        {"model": "string", "value_codec": "msgpack"},
        {"model": "arrow"},
        {"model": "arrow", "arrow_compression": "zstd", "arrow_rows": 50},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_rows_of_many_columns(
    spark: SparkSession, server: Server, table: str, options: dict[str, object], mode: str
) -> None:
    df = documents(spark).repartition(3)
    save(df.where("id < 50"), server.url, table, mode, **options)
    save(df, server.url, table, mode, **options)
    back = load(spark, server.url, table)
    assert back.schema.simpleString() == df.schema.simpleString()
    assert rows(back) == rows(df)
    some = load(spark, server.url, table, filter="id IN (3, 5) OR x > 70", columns="id,x")
    assert rows(some) == rows(df.where("id IN (3, 5) OR x > 70").select("id", "x"))


def test_documents_of_a_server_with_the_module(
    spark: SparkSession, module_server: Server, table: str
) -> None:
    df = documents(spark)
    save(df, module_server.url, table, model="json")
    assert module_server.raw.type(f"{table}:7") == b"ReJSON-RL"
    assert module_server.raw.json().get(f"{table}:7", "$.name") == ["näme 7"]
    assert rows(load(spark, module_server.url, table)) == rows(df)
    save(df.selectExpr("id", "0.5D as x").where("id = 7"), module_server.url, table)
    (changed,) = rows(load(spark, module_server.url, table, filter="id = 7"))
    assert changed["x"] == 0.5 and changed["name"] == "näme 7"


def test_texts(spark: SparkSession, server: Server, table: str) -> None:
    df = spark.range(ROWS).selectExpr("id", "concat('text ', id) value")
    save(df, server.url, table, model="string", ttl=100)
    assert server.raw.get(f"{table}:7") == b"text 7"
    assert 90 < server.raw.ttl(f"{table}:7") <= 100
    assert rows(load(spark, server.url, table)) == rows(df)


@pytest.mark.parametrize("model", ["list", "set", "zset"])
def test_arrays_and_exploded_rows(
    spark: SparkSession, server: Server, table: str, model: str
) -> None:
    element = "named_struct('member', concat('m', id), 'score', id / 2)"
    value = f"array({element})" if model == "zset" else "array('a', concat('b', id))"
    df = spark.range(1, ROWS).selectExpr("id", f"{value} as value")
    save(df, server.url, table, model=model)
    back = load(spark, server.url, table)
    arranged = back if model == "zset" else back.withColumn("value", sf.sort_array("value"))
    assert rows(arranged) == rows(df)
    given = load(spark, server.url, table, infer_schema=True, model=model, explode=True)
    named = given.withColumnRenamed("_id", "key")
    if model == "zset":
        assert rows(named.where("key = '7'")) == [{"key": "7", "member": "m7", "score": 3.5}]
    elif model == "set":
        members = [row["member"] for row in rows(named.where("key = '7'"))]
        assert members == ["a", "b7"]
    else:
        found = [(row["index"], row["value"]) for row in rows(named.where("key = '7'"))]
        assert found == [(0, "a"), (1, "b7")]
    assert given.count() == (ROWS - 1) * (1 if model == "zset" else 2)


def test_entries_of_streams(spark: SparkSession, server: Server, table: str) -> None:
    df = spark.range(ROWS).selectExpr(
        "concat('s', id % 3) stream", "concat(id + 1, '-0') _entry", "id as n"
    )
    ordered = df.repartition(2, "stream").sortWithinPartitions("n")
    for _ in range(2):  # an entry that is there already counts as written
        save(ordered, server.url, table, **{"key.column": "stream", "model": "stream"})
    assert sum(server.raw.xlen(f"{table}:s{i}") for i in range(3)) == ROWS
    assert server.raw.xrange(f"{table}:s1", "2-0", "2-0") == [(b"2-0", {b"n": b"1"})]
    assert rows(load(spark, server.url, table)) == rows(df)


def test_documents_that_others_wrote(spark: SparkSession, server: Server, table: str) -> None:
    for i in range(20):
        server.raw.set(f"{table}:{i}", json.dumps({"n": i, "tags": ["x", str(i)]}))
    found = load(spark, server.url, table, model="json", key_column="id")
    assert [
        (row["id"], row["n"], row["tags"]) for row in found.orderBy("n").limit(2).collect()
    ] == [
        ("0", 0, ["x", "0"]),
        ("1", 1, ["x", "1"]),
    ]
