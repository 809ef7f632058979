"""Queries in which what is pushed for one scan must not be taken for another, one by one."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as sf
from queries_poisoned import POISONED, ROWS, SQL, k, keys
from queries_running import PUSHDOWN, configured, plan, pushed
from servers import Server
from spark_tables import format_of, load

from connector import WriteOptions, open_store

DAY = dt.date(2024, 1, 1)
ON_REDIS = pytest.mark.parametrize("url", ["redis"], indirect=True)  # it tells what it is asked


@pytest.fixture
def stored(url: str, table: str) -> str:
    """The URL of a store with the table: ``k0`` to ``k59``, and of everything some."""
    numbers = range(ROWS)
    batch = pa.record_batch(
        {
            "k": [f"k{at}" for at in numbers],
            "v": pa.array(numbers, pa.int64()),
            "g": pa.array([at % 3 for at in numbers], pa.int32()),
            "n": pa.array([None if at % 4 == 0 else at for at in numbers], pa.int32()),
            "x": [math.nan if at == 7 else at / 2 for at in numbers],
            "day": [DAY + dt.timedelta(at) for at in numbers],
            "st": [{"a": at, "b": f"b{at}"} for at in numbers],
            "words": [f"w{at % 5}" for at in numbers],
        }
    )
    with open_store(url) as store:
        store.write(table, [batch], WriteOptions(key=("k",)))
    return url


@pytest.fixture
def df(spark: SparkSession, stored: str, table: str) -> DataFrame:
    """The one DataFrame of the table."""
    plan = {"redis": {"partitions_number": 2}, "aerospike": {"partition_factor": 1}}  # two each
    return load(spark, stored, table, **plan[format_of(stored)])


@pytest.fixture
def view(df: DataFrame) -> str:
    df.createOrReplaceTempView("kvlake_view")
    return "kvlake_view"


@pytest.mark.parametrize("name", POISONED)
def test_one_dataframe_in(df: DataFrame, name: str) -> None:
    asked, expected = POISONED[name]
    assert asked(df) == expected
    assert asked(df) == expected, "asked again"
    assert df.count() == ROWS, "asked for everything afterwards"


@pytest.mark.parametrize("text", SQL)
def test_a_view_named_more_than_once(spark: SparkSession, view: str, text: str) -> None:
    for _ in range(2):
        assert sorted(map(tuple, spark.sql(text.format(t=view)).collect())) == SQL[text]
    assert spark.table(view).count() == ROWS


def test_after_explain(df: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    some = df.where(k(1)).select("v")
    some.explain()
    said = capsys.readouterr().out
    assert "PushedColumns: [k, v]" in said and "k1" in said.partition("PushedFilter: [")[2]
    assert df.count() == ROWS
    assert [tuple(row) for row in some.collect()] == [(1,)]
    assert keys(df.where(k(2))) == ["k2"]


def test_what_is_pushed_is_what_is_asked_for(spark: SparkSession, df: DataFrame) -> None:
    asked = {
        "columns": df.select("k"),
        "filter": df.where("v > 3"),
        "limit": df.limit(5),
        "count": df.groupBy().count(),
        "keys": df.join(spark.createDataFrame([("k1",)], "k string").hint("broadcast"), "k"),
    }
    for kind, query in asked.items():
        query.collect()
        assert kind in pushed(plan(query)), kind
    with configured(spark, {PUSHDOWN: "off"}):
        for query in asked.values():
            again = query.select("*")
            again.collect()
            assert not pushed(plan(again))


def test_pushdown_is_switched_between_queries_of_one_dataframe(
    spark: SparkSession, df: DataFrame
) -> None:
    for mode in ("auto", "off", "auto", "off"):
        with configured(spark, {PUSHDOWN: mode}):
            some = df.where(k(5)).select("v")
            assert [tuple(row) for row in some.collect()] == [(5,)]
            assert bool(pushed(plan(some))) == (mode == "auto")
            assert df.count() == ROWS


def commands(server: Server, act: Callable[[], object]) -> list[list[str]]:
    """What a server is asked for meanwhile."""
    with server.raw.monitor() as watched:
        act()
        server.raw.echo("the end")
        seen = (line["command"] for line in watched.listen())
        asked = itertools.takewhile(lambda command: "the end" not in command, seen)
        return [command.split() for command in asked]


def looked_up(server: Server, act: Callable[[], object]) -> int:
    """How many rows a server is asked for meanwhile."""
    return sum(command[0] == "HMGET" for command in commands(server, act))


@pytest.mark.parametrize("adaptive", ["true", "false"])
def test_keys_of_a_small_side_are_looked_up(
    spark: SparkSession, df: DataFrame, adaptive: str
) -> None:
    rows = [("k1", 1), ("k5", 1), ("nobody", 2), (None, 3), ("k1", 4)]
    small = spark.createDataFrame(rows, "k string, w int").hint("broadcast")
    with configured(spark, {"spark.sql.adaptive.enabled": adaptive}):
        joined = df.select("k", "v").join(small, "k").select("v", "w")
        for _ in range(2):
            assert sorted(map(tuple, joined.collect())) == [(1, 1), (1, 4), (5, 1)]
        other = df.join(small.where("w = 2"), "k").union(df.join(small.where("w > 2"), "k"))
        assert [row["w"] for row in other.collect()] == [4]
        assert df.join(small.where("w > 9"), "k").count() == 0
        assert df.join(small, "k", "left_semi").union(df).count() == ROWS + 2
        assert df.join(small, "k", "left").count() == ROWS + 1
        assert df.join(small, "k", "left_anti").count() == ROWS - 2
        assert df.join(small, "k", "full").count() == ROWS + 3


@ON_REDIS
@pytest.mark.parametrize("adaptive", ["true", "false"])
def test_a_join_asks_for_the_keys_of_its_small_side_alone(
    spark: SparkSession, redis_server: Server, df: DataFrame, adaptive: str
) -> None:
    small = spark.createDataFrame([("k1",), ("k5",), ("nobody",), (None,), ("k1",)], "k string")
    with configured(spark, {"spark.sql.adaptive.enabled": adaptive}):
        joined = df.select("k", "v").join(small.hint("broadcast"), "k")
        plan(joined)  # looks at some rows, for statistics
        assert looked_up(redis_server, joined.collect) == 3


def test_keys_that_nothing_can_have_make_a_plan_without_partitions(
    spark: SparkSession, stored: str, table: str
) -> None:
    df = load(spark, stored, table, filter="k = 'k1'")
    assert df.where("k = 'k2'").collect() == []
    assert df.where("k = 'k2'").count() == 0


@ON_REDIS
def test_a_key_by_name_is_looked_up(redis_server: Server, df: DataFrame) -> None:
    some = df.where("k IN ('k1', 'k2', 'nobody')").select("v")
    assert looked_up(redis_server, some.collect) == 3
    assert sorted(map(tuple, some.collect())) == [(1,), (2,)]
    assert looked_up(redis_server, df.where("v IN (1, 2)").collect) == ROWS


@ON_REDIS
def test_only_the_columns_asked_for_are_fetched(redis_server: Server, df: DataFrame) -> None:
    seen = commands(redis_server, df.where("v = 3").groupBy("words").count().collect)
    assert {tuple(sorted(each[2:])) for each in seen if each[0] == "HMGET"} == {("v", "words")}
    seen = commands(redis_server, df.groupBy().count().collect)
    assert not [each for each in seen if each[0] == "HMGET"]


def test_a_cached_dataframe(spark: SparkSession, df: DataFrame) -> None:
    some = df.where("v < 9").select("k", "v").cache()
    try:
        assert some.count() == 9
        assert keys(some.where(k(1))) == ["k1"]
        assert keys(df.where(k(20)).select("k", "v")) == ["k20"]
        assert df.select("k", "v").count() == ROWS
        assert some.union(df.select("k", "v")).count() == ROWS + 9
        assert pushed(plan(df.where("v < 9").select("k"))) >= {"filter"}
    finally:
        some.unpersist()
    assert some.count() == 9


def test_all_of_a_table_cached(df: DataFrame) -> None:
    df.cache()
    try:
        assert [df.where(k(1)).count(), df.count(), len(df.limit(3).collect())] == [1, ROWS, 3]
    finally:
        df.unpersist()
    assert [df.where(k(1)).count(), df.count()] == [1, ROWS]


def test_threads_ask_at_once(df: DataFrame) -> None:
    def asked(at: int) -> bool:
        found = df.where(k(at)).select("v").collect()
        return [tuple(row) for row in found] == [(at,)] and df.where(f"v < {at}").count() == at

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(asked, range(16))) == [True] * 16
    assert df.count() == ROWS


def test_a_view_of_the_table(spark: SparkSession, stored: str, table: str) -> None:
    spark.sql(
        f"CREATE OR REPLACE TEMPORARY VIEW known USING {format_of(stored)} "
        f"OPTIONS (url '{stored}', table '{table}')"
    )
    for text, rows in SQL.items():
        assert sorted(map(tuple, spark.sql(text.format(t="known")).collect())) == rows, text
    names = "v + 100 AS v, g, n, x, day, st, words"
    spark.sql(f"INSERT INTO known SELECT concat(k, 'x') AS k, {names} FROM known WHERE v >= 57")
    assert keys(spark.table("known").where("v > 100")) == ["k57x", "k58x", "k59x"]
    assert spark.table("known").count() == ROWS + 3
    assert spark.sql("SELECT st.b FROM known WHERE k = 'k57x'").first()[0] == "b57"


def test_a_table_of_the_catalog(spark: SparkSession, stored: str, table: str) -> None:
    """Spark hands a Python source the options of a query, not those of its table."""
    spark.sql(
        f"CREATE TABLE known_table (k string, words char(5), v bigint) USING {format_of(stored)}"
    )
    try:
        known = f"known_table WITH (`url` = '{stored}', `table` = '{table}')"
        some = spark.sql(f"SELECT * FROM {known} WHERE k IN ('k1', 'k2') AND v > 1")
        assert [tuple(row) for row in some.collect()] == [("k2", "w2   ", 2)]
        assert pushed(plan(some)) >= {"columns", "filter"}
        assert spark.sql(f"SELECT * FROM {known} WHERE words = 'w1'").count() == 12
        assert spark.sql(f"SELECT * FROM {known} WHERE words > 'w3'").count() == 12
        assert spark.sql(f"SELECT * FROM {known} WHERE words IN ('w1', 'w2   ')").count() == 24
        counts = (
            f"SELECT (SELECT count(*) FROM {known} WHERE v = 1), (SELECT count(*) FROM {known})"
        )
        assert spark.sql(counts).first() == (1, ROWS)
    finally:
        spark.sql("DROP TABLE known_table")


def test_a_dataframe_written_back_to_its_table(df: DataFrame, stored: str, table: str) -> None:
    some = df.where("g = 1").selectExpr("k", "v + 1000 AS v", "words")
    some.write.format(format_of(stored)).options(url=stored, table=table).mode("append").save()
    assert df.where("v > 1000").count() == 20
    assert df.where("v > 1000 AND st IS NOT NULL").count() == 20
    assert df.count() == ROWS


def _reader(spark: SparkSession, url: str, table: str) -> DataFrameReader:
    return spark.read.format(format_of(url)).options(url=url, table=table)


def test_a_schema_of_the_user(spark: SparkSession, stored: str, table: str) -> None:
    found = _reader(spark, stored, table).schema("words string, v double, k string").load()
    assert found.columns == ["words", "v", "k"]
    assert [tuple(row) for row in found.where("v = 3").collect()] == [("w3", 3.0, "k3")]
    assert [row["k"] for row in found.where("words = 'w1' AND v > 55.5").collect()] == ["k56"]
    assert found.where(k(5)).count() == 1 and found.count() == ROWS
    text = _reader(spark, stored, table).schema("k string, v string").load()
    assert keys(text.where("v < '10'")) == ["k0", "k1"]
    assert keys(text.where("v = '7' OR k = 'k8'")) == ["k7", "k8"]


def test_a_schema_with_collations(spark: SparkSession, stored: str, table: str) -> None:
    found = _reader(spark, stored, table).schema(
        "k string collate UTF8_LCASE, words string collate UNICODE_CI, v bigint"
    )
    found = found.load()
    assert found.where("k = 'K1'").count() == 1
    assert found.where("k IN ('K1', 'K2')").count() == 2
    assert found.where("words = 'W1'").count() == 12
    assert found.where("startswith(k, 'K5')").count() == 11
    assert found.where("k > 'K8' AND v = 9").count() == 1
    assert found.groupBy("words").count().count() == 5


def test_options_of_the_reader(spark: SparkSession, stored: str, table: str) -> None:
    def some(**options: object) -> DataFrame:
        return load(spark, stored, table, **options)

    assert some(columns="v,k").where("v = 3").collect() == [(3, "k3")]
    assert keys(some(columns="k", filter="v >= 58")) == ["k58", "k59"]
    assert some(filter="v >= 50").where("v < 55").count() == 5
    assert some(filter="v >= 50").count() == 10
    assert keys(some(filter="k IN ('k1', 'k2')").where("k IN ('k2', 'k3')")) == ["k2"]
    assert some(limit=7).count() == 7
    assert len(some(limit=7).limit(3).collect()) == 3
    assert some(limit=ROWS).where("v = 59").count() == 1
    assert some(limit=7).where("v >= 0").count() == 7
    assert some(filter="v < 5", limit=7).where("g = 1").count() == 2
    both = some(columns="k,v", filter="v < 5")
    assert both.where("v > 2").union(both).count() == 7


def test_options_name_columns_in_their_own_case(
    spark: SparkSession, stored: str, table: str
) -> None:
    with pytest.raises(PySparkException, match="'K'"):
        load(spark, stored, table, columns="K,V").where("k = 'k1'").count()


def test_filter_pushdown_of_spark_itself(spark: SparkSession, df: DataFrame) -> None:
    with configured(spark, {"spark.sql.python.filterPushdown.enabled": "true"}):
        assert [df.where(k(1)).count(), df.count()] == [1, ROWS]
        assert df.where(k(1)).union(df.where(k(2))).count() == 2


def test_one_table_is_not_another(
    spark: SparkSession, stored: str, table: str, df: DataFrame
) -> None:
    other = {"url": stored, "table": f"{table}b", "key.column": "k"}
    df.where("v < 3").write.format(format_of(stored)).options(**other).mode("append").save()
    second = load(spark, stored, other["table"])
    assert [second.where("v > 1").count(), df.where("v > 1").count()] == [1, 58]
    assert second.union(df).count() == ROWS + 3
    assert second.join(df, "k").count() == 3


def test_a_filter_of_many_terms_and_one_of_many_levels(df: DataFrame) -> None:
    long = sf.lit(False)
    for at in range(0, 300, 3):
        long = long | (sf.col("v") == at)
    assert df.where(long).count() == ROWS // 3
    deep = sf.col("v") < 50
    for at in range(40):
        deep = ~(deep & (sf.col("v") != at)) | sf.col("g").isNull()
    expected = [v for v in range(ROWS) if _deep(v)]
    assert sorted(row.v for row in df.where(deep).select("v").collect()) == expected


def _deep(v: int) -> bool:
    held = v < 50
    for at in range(40):
        held = not (held and v != at)
    return held
