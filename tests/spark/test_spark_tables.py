"""The format ``redis``: rows through Spark into a real server and out of it again."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.testing import assertDataFrameEqual
from servers import Server
from spark_tables import format_of, load, people, save

import spark_ext
from connector import WriteOptions, open_store, read_all
from spark_ext.versions import HAS_TIME

EVERY_TYPE = """
    id bigint, b boolean, i8 tinyint, i16 smallint, i32 int, i64 bigint, f32 float, f64 double,
    d decimal(20,4), s string, bin binary, day date, at timestamp, local timestamp_ntz,
    span interval day to second, vec array<float>, nums array<bigint>,
    words array<string>, m map<string,bigint>, st struct<x:int,y:array<string>>,
    deep array<struct<k:string,v:double>>
"""
ROWS = [
    (
        1, True, -128, -32768, -(2**31), -(2**63), 1.5, 0.1, Decimal("1234567890123456.7891"),
        "a\r\nb ü €", b"\x00\r\n\xff", dt.date(2013, 1, 1),
        dt.datetime(2013, 1, 1, 5, 0, 0, 123456), dt.datetime(1, 1, 1, 0, 0, 0, 1),
        dt.timedelta(days=-3, microseconds=7), [1.5, -0.0], [1, 2**62],
        ["x", None, "\"\\"], {"k": 1, "n": None}, (1, ["p", None]), [("a", 0.1), ("b", float("inf"))],
    ),
    (
        2, False, 127, 32767, 2**31 - 1, 2**63 - 1, float("inf"), -1e300, Decimal("-0.0001"),
        "", b"", dt.date(9999, 12, 31), dt.datetime(1969, 12, 31, 23, 59, 59),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.timedelta(0), [], [], [], {},
        (None, None), [],
    ),
    (3, *[None] * 20),
]  # fmt: skip


@pytest.fixture(scope="module")
def everything(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ROWS, EVERY_TYPE).cache()


def test_every_type_comes_back_as_it_was(
    spark: SparkSession, every_url: str, table: str, everything: DataFrame
) -> None:
    save(everything, every_url, table)
    back = load(spark, every_url, table)
    assert back.schema == everything.schema
    assertDataFrameEqual(back, everything)


def test_a_raw_client_sees_plain_hashes(
    redis_server: Server, table: str, everything: DataFrame
) -> None:
    save(everything, redis_server.url, table)
    row = redis_server.raw.hgetall(f"{table}:1")
    assert row[b"i64"] == b"-9223372036854775808"
    assert row[b"d"] == b"1234567890123456.7891"
    assert row[b"s"] == "a\r\nb ü €".encode()
    assert row[b"bin"] == b"\x00\r\n\xff"
    assert row[b"day"] == b"2013-01-01"
    assert row[b"at"] == b"2013-01-01 05:00:00.123456Z"
    assert row[b"vec"] == b"\x00\x00\xc0?\x00\x00\x00\x80"
    assert b"id" not in row
    assert len(list(redis_server.raw.scan_iter(f"{table}:*"))) == len(ROWS)


def test_what_a_raw_client_wrote_is_read(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    for i in range(100):
        redis_server.raw.hset(f"{table}:k{i}", mapping={"n": i, "x": i / 4, "s": f"v{i}"})
    found = load(spark, redis_server.url, table, key_column="id").orderBy("n")
    assert found.schema.simpleString() == "struct<id:string,n:bigint,s:string,x:double>"
    assert [tuple(row) for row in found.collect()] == [
        (f"k{i}", i, f"v{i}", i / 4) for i in range(100)
    ]


def test_what_cannot_be_inferred_is_read_by_a_schema(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    redis_server.raw.hset(f"{table}:a:1", mapping={"x": "0.5", "unused": "1"})
    redis_server.raw.hset(f"{table}:b:2", mapping={"unused": "1"})
    reader = spark.read.format("redis").options(url=redis_server.url, table=table)
    found = reader.option("key.column", "k,n").schema("x double, n int, k string").load()
    assert sorted(map(tuple, found.collect()), key=lambda row: row[1]) == [
        (0.5, 1, "a"),
        (None, 2, "b"),
    ]


def test_a_read_that_ends_early_leaves_no_connection_out_of_step(
    spark: SparkSession, server: Server, table: str
) -> None:
    save(people(spark, 20_000), server.url, table)
    found = load(spark, server.url, table, batch_rows=100)
    for _ in range(3):
        assert len(found.limit(5).collect()) == 5
        assert found.where("id = n").limit(1).count() == 1
    assert found.count() == 20_000


def test_two_scans_of_one_table_in_a_query(spark: SparkSession, every_url: str, table: str) -> None:
    save(people(spark, 500), every_url, table)
    found = load(spark, every_url, table)
    low, high = found.where("id < 300"), found.where("id >= 200")
    assert low.join(high, "id").count() == 100
    assert low.union(high).count() == 600


def test_counts_and_sums_of_many_rows_are_exact(
    spark: SparkSession, server: Server, table: str
) -> None:
    save(people(spark, 30_000), server.url, table)
    assert server.raw.dbsize() == 30_001  # and the saved schema
    found = load(spark, server.url, table, partitions_number=5, batch_rows=1000)
    totals = found.selectExpr(
        "count(*)", "count(distinct id)", "sum(id)", "sum(n)", "sum(x)"
    ).first()
    wanted = (
        people(spark, 30_000)
        .selectExpr("count(*)", "count(*)", "sum(id)", "sum(n)", "sum(x)")
        .first()
    )
    assert tuple(totals) == tuple(wanted)
    assert found.rdd.getNumPartitions() > 1


def test_appended_twice_is_written_once(spark: SparkSession, every_url: str, table: str) -> None:
    save(people(spark, 100), every_url, table)
    save(people(spark, 100), every_url, table)
    save(people(spark, 10, first=100), every_url, table)
    assertDataFrameEqual(load(spark, every_url, table), people(spark, 110))


def test_overwriting_leaves_the_new_rows_only(
    spark: SparkSession, server: Server, table: str
) -> None:
    save(people(spark, 1000), server.url, table)
    save(people(spark, 10, first=995).select("id", "name"), server.url, table, "overwrite")
    back = load(spark, server.url, table)
    assert back.columns == ["id", "name"]
    assertDataFrameEqual(back, people(spark, 10, first=995).select("id", "name"))
    assert set(server.raw.hgetall(f"{table}:1001")) == {b"name"}


def test_overwriting_with_nothing_leaves_an_empty_table(
    spark: SparkSession, every_url: str, table: str
) -> None:
    save(people(spark, 10), every_url, table)
    save(people(spark, 0), every_url, table, "overwrite")
    back = load(spark, every_url, table)
    assert back.columns == ["id", "name", "n", "x"]
    assert back.collect() == []


def test_a_null_removes_what_stood_there(spark: SparkSession, every_url: str, table: str) -> None:
    save(people(spark, 3), every_url, table)
    save(people(spark, 1, first=1).selectExpr("id", "cast(null as string) name"), every_url, table)
    back = load(spark, every_url, table).where("id = 1").first()
    assert (back.name, back.n) == (None, 1)


def test_columns_are_chosen_and_ordered(spark: SparkSession, every_url: str, table: str) -> None:
    save(people(spark, 50), every_url, table)
    back = load(spark, every_url, table, columns="n, id")
    assert back.columns == ["n", "id"]
    assertDataFrameEqual(back, people(spark, 50).select("n", "id"))
    assert load(spark, every_url, table, columns="name").columns == ["name"]


def test_a_schema_prunes_columns_and_overrides_types(
    spark: SparkSession, every_url: str, table: str, everything: DataFrame
) -> None:
    save(everything, every_url, table)
    reader = spark.read.format(format_of(every_url)).options(url=every_url, table=table)
    wanted = "day string, id string, i8 decimal(5,1), vec array<double>, i64 bigint"
    back = reader.schema(wanted).load()
    assert [(row.day, row.id, row.i8, row.vec) for row in back.orderBy("id").collect()] == [
        ("2013-01-01", "1", Decimal("-128.0"), [1.5, -0.0]),
        ("9999-12-31", "2", Decimal("127.0"), []),
        (None, "3", None, None),
    ]


def test_a_key_of_several_columns(spark: SparkSession, every_url: str, table: str) -> None:
    given = [("a:b", 1, "x"), ("a", 2, "y"), ("%3A", 2, None)]
    rows = spark.createDataFrame(given, "k string, n int, v string")
    save(rows, every_url, table, key_column="k,n")
    assertDataFrameEqual(load(spark, every_url, table), rows)
    assertDataFrameEqual(load(spark, every_url, table, columns="v,n"), rows.select("v", "n"))


def test_rows_expire(spark: SparkSession, server: Server, table: str) -> None:
    save(people(spark, 3), server.url, table, ttl=100)
    assert 0 < server.raw.ttl(f"{table}:2") <= 100


def test_times_keep_their_instant_in_any_session_zone(
    spark: SparkSession, server: Server, table: str
) -> None:
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        rows = spark.sql("select 1L id, timestamp'2013-01-01' at, array(timestamp'2013-07-01') l")
        save(rows, server.url, table)
        assert server.raw.hget(f"{table}:1", "at") == b"2013-01-01 05:00:00.000000Z"
        assertDataFrameEqual(load(spark, server.url, table), rows)
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_arrow_types_that_spark_lacks_are_widened(
    spark: SparkSession, server: Server, table: str
) -> None:
    utc = pa.timestamp("ms", "Asia/Tokyo")
    written = pa.table(
        {
            "id": pa.array([1, 2], pa.uint8()),
            "u64": pa.array([2**64 - 1, None], pa.uint64()),
            "f16": pa.array([1.5, None], pa.float16()),
            "fixed": pa.array([[1.5, 2.5], None], pa.list_(pa.float32(), 2)),
            "half": pa.array([[1.5], None], pa.list_(pa.float16())),
            "word": pa.array(["x", None]).dictionary_encode(),
            "at": pa.array([0, None], utc),
            "span": pa.array([1, None], pa.duration("s")),
        }
    )
    with open_store(server.url) as store:
        store.write(table, written.to_batches(), WriteOptions(key=("id",)))
    back = load(spark, server.url, table)
    assert back.schema.simpleString() == (
        "struct<id:smallint,u64:decimal(20,0),f16:float,fixed:array<float>,half:array<float>,word:string,"
        "at:timestamp,span:interval day to second>"
    )
    row = back.where("id = 1").first()
    assert (row.u64, row.f16, row.fixed, row.half) == (Decimal(2**64 - 1), 1.5, [1.5, 2.5], [1.5])
    assert row.span == dt.timedelta(seconds=1)
    assert back.where("id = 2").first()[1:] == (None,) * 7


@pytest.mark.skipif(not HAS_TIME, reason="Spark 4.0 has no type for the time of day")
def test_times_of_day_come_back_as_they_were(
    spark: SparkSession, every_url: str, table: str
) -> None:
    given = [(1, dt.time(23, 59, 59, 999999)), (2, dt.time(0)), (3, None)]
    rows = spark.createDataFrame(given, "id bigint, clock time(6)")
    save(rows, every_url, table)
    back = load(spark, every_url, table)
    assert back.schema == rows.schema
    assertDataFrameEqual(back, rows)


def test_a_time_of_day_is_read_where_spark_has_such_a_type(
    spark: SparkSession, every_url: str, table: str
) -> None:
    clock = pa.array([1, None], pa.time32("ms"))
    written = pa.table({"id": pa.array([1, 2]), "clock": clock})
    with open_store(every_url) as store:
        store.write(table, written.to_batches(), WriteOptions(key=("id",)))
    if HAS_TIME:
        back = load(spark, every_url, table)
        assert back.schema.simpleString() == "struct<id:bigint,clock:time(3)>"
        assert sorted(map(tuple, back.collect())) == [(1, dt.time(0, 0, 0, 1000)), (2, None)]
    else:
        said = r"SchemaError: column 'clock' of type time32\[ms\] has no counterpart in Spark 4\.0"
        with pytest.raises(AnalysisException, match=said):
            load(spark, every_url, table)
        assert load(spark, every_url, table, columns="id").count() == 2


def test_what_spark_wrote_is_what_arrow_reads(
    spark: SparkSession, every_url: str, table: str, everything: DataFrame
) -> None:
    save(everything, every_url, table)
    with open_store(every_url) as store:
        found = read_all(store.source(table)).sort_by("id")
    assert found.column("i64").to_pylist() == [row[5] for row in ROWS]
    assert found.column("vec").to_pylist() == [row[15] for row in ROWS]


def test_one_call_writes_and_one_reads(spark: SparkSession, every_url: str, table: str) -> None:
    rows = people(spark, 20)
    most = "batch_max" if every_url.startswith("aerospike") else "max_pipeline_size"
    asked = {"key": "id", "ttl_seconds": 100, "check_keys": True, most: 7}
    spark_ext.write(rows, every_url, table, **asked)
    back = spark_ext.read(spark, every_url, table, columns=["name", "id"], partitions_number=2)
    assertDataFrameEqual(back, rows.select("name", "id"))
    spark_ext.write(people(spark, 1), every_url, table, mode="overwrite")
    assert spark_ext.read(spark, every_url, table).count() == 1


def test_a_given_schema_may_name_fields_that_no_sampled_row_has(
    spark: SparkSession, server: Server, table: str
) -> None:
    for i in range(20):
        server.raw.hset(f"{table}:{i}", mapping={"n": i} | ({"rare": "1.5"} if i == 7 else {}))
    reader = spark.read.format("redis").option("url", server.url).option("table", table)
    reader = reader.option("key.column", "id").option("schema.sample", 1)
    rows = reader.schema("id string, n int, rare double, never date").load().collect()
    assert len(rows) == 20
    assert {(row.id, row.n, row.rare, row.never) for row in rows} == {
        (str(i), i, 1.5 if i == 7 else None, None) for i in range(20)
    }
