"""The format ``aerospike``: what its users ask of Spark beyond plain reads and writes."""

from __future__ import annotations

import datetime as dt
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import aerospike
import pyarrow as pa
import pytest
from aerospikes import Aerospike
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.testing import assertDataFrameEqual
from spark_tables import load, people, save

import spark_ext
from connector import WriteOptions, open_store

SEND = {"key": aerospike.POLICY_KEY_SEND}
ROWS = 3000


@pytest.fixture
def stored(aerospike_server: Aerospike, table: str) -> str:
    """A table of people, by id."""
    ids = range(ROWS)
    batch = pa.record_batch(
        {"id": ids, "age": [i % 90 for i in ids], "city": [f"c{i % 7}" for i in ids]}
    )
    with open_store(aerospike_server.url) as store:
        store.write(table, [batch], WriteOptions(key=("id",)))
    return table


def bins(server: Aerospike, table: str, key: Any) -> dict[str, Any]:
    """What the server has of a record."""
    found: dict[str, Any] = server.raw.get((server.namespace, table, key))[2]
    return found


def there(server: Aerospike, table: str, key: Any) -> bool:
    return server.raw.exists((server.namespace, table, key))[1] is not None


def ids(df: DataFrame) -> list[int]:
    return sorted(row["id"] for row in df.select("id").collect())


def test_the_raw_client_sees_keys_and_bins(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    row = (7, True, 1.5, "ü", b"\0x", [1, None], {"a": 2}, (1, None), dt.date(1970, 1, 3), None)
    schema = """id int, b boolean, x float, s string, raw binary, l array<int>, m map<string,int>,
        st struct<a:int,b:string>, day date, none int"""
    save(spark.createDataFrame([row], schema), aerospike_server.url, table)
    assert bins(aerospike_server, table, 7) == {
        "b": True,
        "x": 1.5,
        "s": "ü",
        "raw": b"\0x",
        "l": [1, None],
        "m": {"a": 2},
        "st": {"a": 1},
        "day": 2,
    }


def test_what_a_raw_client_wrote_is_read(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    for i in range(50):
        key = (aerospike_server.namespace, table, f"k{i}")
        some = {"n": i, "s": f"v{i}"} | ({"x": i / 4, "l": [i]} if i % 2 else {})
        aerospike_server.raw.put(key, some, policy=SEND)
    found = load(spark, aerospike_server.url, table, key_column="id")
    assert set(found.schema.simpleString()[7:-1].split(",")) == {
        "id:string",
        "n:bigint",
        "s:string",
        "x:double",
        "l:array<bigint>",
    }
    rows = found.select("id", "n", "s", "x", "l").orderBy("n").collect()
    assert [tuple(row) for row in rows] == [
        (f"k{i}", i, f"v{i}", i / 4 if i % 2 else None, [i] if i % 2 else None) for i in range(50)
    ]


def test_how_rows_are_written(
    spark: SparkSession, aerospike_server: Aerospike, stored: str, tmp_path: Path
) -> None:
    server = aerospike_server
    news = spark.createDataFrame([(5, "new"), (5000, "new")], "id long, city string")

    def write(df: DataFrame, **options: object) -> None:
        spark_ext.write(df, server.url, stored, **options)  # type: ignore[arg-type]

    write(news, write_mode="insert")
    assert bins(server, stored, 5) == {"age": 5, "city": "c5"}
    assert bins(server, stored, 5000) == {"city": "new"}
    write(news.withColumn("id", sf.col("id") + 1), write_mode="update")
    assert bins(server, stored, 6) == {"age": 6, "city": "new"}
    assert not there(server, stored, 5001)
    write(news, write_fields="replace", ttl_seconds=100)
    _, told, found = server.raw.get((server.namespace, stored, 5))
    assert found == {"city": "new"} and 40 < told["ttl"] <= 100
    write(news.withColumn("score", sf.lit(0.5)), schema_evolution="add")
    assert bins(server, stored, 5)["score"] == 0.5
    given = news.withColumn("__generation", sf.lit(77))
    write(given, generation_policy="equal", reject_path=str(tmp_path))
    told = [
        json.loads(line) for file in tmp_path.iterdir() for line in file.read_text().splitlines()
    ]
    assert sorted(item["key"] for item in told) == ["5", "5000"]
    with pytest.raises(Exception, match=r"WriteRejectedError.*generation"):
        write(given, generation_policy="equal")


def test_overwriting_leaves_the_new_rows_only(
    spark: SparkSession, aerospike_server: Aerospike, stored: str
) -> None:
    rows = people(spark, 10, first=2995).select("id", "name")
    save(rows, aerospike_server.url, stored, "overwrite")
    back = load(spark, aerospike_server.url, stored)
    assert back.columns == ["id", "name"]
    assertDataFrameEqual(back, rows)
    assert not there(aerospike_server, stored, 1)
    assert bins(aerospike_server, stored, 2996) == {"name": "name 2996"}


def test_rows_of_keys_are_read_and_deleted(
    spark: SparkSession, aerospike_server: Aerospike, stored: str
) -> None:
    url = aerospike_server.url
    keys = spark.range(2990, 3010).union(spark.range(2990, 2992)).withColumn("other", sf.lit("x"))
    found = spark_ext.read(spark, url, stored, keys=keys)
    assert ids(found) == list(range(2990, 3000))
    narrow = spark_ext.read(spark, url, stored, keys=[3, 4, 5000], columns=["city"])
    assert sorted(row["city"] for row in narrow.collect()) == ["c3", "c4"]
    teens = spark_ext.read(spark, url, stored, keys=keys, filter="age < 25")
    assert ids(teens) == [i for i in range(2990, 3000) if i % 90 < 25]
    assert spark_ext.delete(spark.range(1000, 5000), url, stored) == 2000
    assert ids(spark_ext.read(spark, url, stored)) == list(range(1000))
    assert there(aerospike_server, stored, 999) and not there(aerospike_server, stored, 1000)


def test_metadata_columns(spark: SparkSession, aerospike_server: Aerospike, stored: str) -> None:
    server = aerospike_server
    server.raw.touch((server.namespace, stored, 7), 500)
    named = "id,__key,__digest,__generation,__ttl,__expiry,__set"
    found = load(spark, server.url, stored, columns=named)
    assert [(item.name, item.dataType.simpleString()) for item in found.schema][1:] == [
        ("__key", "string"),
        ("__digest", "binary"),
        ("__generation", "int"),
        ("__ttl", "bigint"),
        ("__expiry", "timestamp"),
        ("__set", "string"),
    ]
    rows = {row["id"]: row for row in found.where("id < 10").collect()}
    digest = aerospike.calc_digest(server.namespace, stored, 7)
    assert (rows[7]["__key"], bytes(rows[7]["__digest"])) == ("7", bytes(digest))
    assert (rows[7]["__generation"], rows[8]["__generation"]) == (2, 1)
    assert 300 < rows[7]["__ttl"] <= 500 and rows[8]["__ttl"] is None
    left = rows[7]["__expiry"].replace(tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(seconds=300) < left <= dt.timedelta(seconds=500)
    assert rows[8]["__expiry"] is None
    assert rows[8]["__set"] == stored
    assert ids(found.where("__ttl < 501 AND __generation = 2")) == [7]


def test_rows_are_written_by_digest(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    for i in range(20):
        aerospike_server.raw.put((aerospike_server.namespace, table, i), {"age": i, "city": "x"})
    some = load(spark, aerospike_server.url, table, columns="__digest,age").where("age < 3")
    changed = some.withColumn("age", sf.col("age") + 1000).localCheckpoint()
    save(changed, aerospike_server.url, table, key_column="__digest")
    assert bins(aerospike_server, table, 2) == {"age": 1002, "city": "x"}
    assert load(spark, aerospike_server.url, table).where("age >= 1000").count() == 3


def test_a_schema_of_the_user(
    spark: SparkSession, aerospike_server: Aerospike, stored: str
) -> None:
    reader = spark.read.format("aerospike").options(url=aerospike_server.url, table=stored)
    found = reader.schema("city string, age double, id string").load()
    assert [tuple(row) for row in found.where("id = '7'").collect()] == [("c0", 7.0, "7")]
    assert found.where("age = 7").count() == 34
    narrow = reader.schema("id int, age smallint").load()
    assert [tuple(row) for row in narrow.where("id = 7 AND age < 9S").collect()] == [(7, 7)]
    small = spark.createDataFrame([("7",), ("x",)], "id string")
    assert found.join(small.hint("broadcast"), "id").count() == 1


def test_a_schema_of_the_user_for_what_others_wrote(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    for i in range(20):
        key = (aerospike_server.namespace, table, i)
        some = {"x": i / 2 if i % 2 else i, "day": i, "price": f"{i}.50"}
        aerospike_server.raw.put(key, some, policy=SEND)
    reader = spark.read.format("aerospike").options(url=aerospike_server.url, table=table)
    found = reader.option("key.column", "id")
    found = found.schema("id string, x double, day date, price decimal(8,2), none int").load()
    assert [tuple(row) for row in found.where("id = '3'").collect()] == [
        ("3", 1.5, dt.date(1970, 1, 4), Decimal("3.50"), None)
    ]
    assert found.where("x = 4").count() == 1
    assert found.where("day < DATE'1970-01-03' AND price > 0.75").count() == 1


def test_a_set_that_is_not_there(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    reader = spark.read.format("aerospike").option("url", aerospike_server.url)
    none = f"{table}none"
    known = reader.option("table", none).option("key.column", "id")
    assert known.schema("id long, x double").load().collect() == []
    with pytest.raises(AnalysisException, match=f"TableNotFoundError.*no table '{none}'"):
        load(spark, aerospike_server.url, none)


def test_columns_with_long_names(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    rows = spark.range(9).selectExpr("id", "id * 2 AS a_column_of_a_long_name", "'x' AS s")
    ran = spark.sparkContext.accumulator(0)

    def seen(batches: Any) -> Any:
        for batch in batches:
            ran.add(1)
            yield batch

    with pytest.raises(Exception, match=r"a_column_of_a_long_name.*23 bytes.*bin\.names"):
        save(rows.mapInArrow(seen, rows.schema), aerospike_server.url, table)
    assert ran.value == 0, "a task ran"
    short = "a_column_of_a_long_name=short"
    save(rows, aerospike_server.url, table, bin_names=short)
    assert bins(aerospike_server, table, 4) == {"short": 8, "s": "x"}
    back = load(spark, aerospike_server.url, table, bin_names=short)
    assertDataFrameEqual(back, rows)
    assert ids(back.where("a_column_of_a_long_name = 8")) == [4]


def test_tables_of_record_batches(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    url = aerospike_server.url
    rows = people(spark, 5000)
    save(rows.repartition(2), url, table, model="arrow", arrow_rows=500)
    back = load(spark, url, table)
    assertDataFrameEqual(back, rows)
    assert ids(back.where("n = 3 AND id < 20")) == [3, 10, 17]
    save(people(spark, 100, first=4950), url, table)
    assert load(spark, url, table).count() == 5050
    save(people(spark, 10), url, table, "overwrite")
    assertDataFrameEqual(load(spark, url, table), people(spark, 10))


def test_times_keep_their_instant_in_any_session_zone(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        rows = spark.sql("select 1L id, timestamp'2013-01-01' at, array(timestamp'2013-07-01') l")
        save(rows, aerospike_server.url, table)
        instant = dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)
        assert bins(aerospike_server, table, 1)["at"] == int(instant.timestamp()) * 1_000_000
        assertDataFrameEqual(load(spark, aerospike_server.url, table), rows)
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_rows_expire(spark: SparkSession, aerospike_server: Aerospike, table: str) -> None:
    save(people(spark, 3), aerospike_server.url, table, ttl=1)
    save(people(spark, 3, first=3), aerospike_server.url, table)
    time.sleep(2.1)
    assert ids(load(spark, aerospike_server.url, table)) == [3, 4, 5]
