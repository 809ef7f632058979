"""What reaches an Aerospike server when Spark pushes.

The table has one record whose values are not of their columns' types, and which fails every read that
it takes part in. A query that succeeds has had the server leave that record, or those bins, out.
"""

from __future__ import annotations

from typing import Any

import aerospike
import pyarrow as pa
import pytest
from aerospikes import Aerospike
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from queries_running import PUSHDOWN, configured, plan, pushed
from spark_tables import load, people, save
from topology.nodes import until

import spark_ext
from connector import WriteOptions, open_store

ROWS = 6000  # more than are all looked at for statistics
SEND = {"key": aerospike.POLICY_KEY_SEND}


@pytest.fixture
def stored(aerospike_server: Aerospike, table: str) -> Aerospike:
    """A server with the table: ``k0`` and so on, and ``odd``, whose ``v`` and ``w`` are wrong."""
    numbers = range(ROWS)
    batch = pa.record_batch(
        {
            "k": [f"k{at}" for at in numbers],
            "v": pa.array(numbers, pa.int64()),
            "w": [at % 5 for at in numbers],
            "s": [f"s{at % 7}" for at in numbers],
        }
    )
    with open_store(aerospike_server.url) as store:
        store.write(table, [batch], WriteOptions(key=("k",)))
    odd = {"v": "text", "w": [1], "s": "odd"}
    aerospike_server.raw.put((aerospike_server.namespace, table, "odd"), odd, policy=SEND)
    return aerospike_server


@pytest.fixture
def df(spark: SparkSession, stored: Aerospike, table: str) -> DataFrame:
    """The table in eight partitions."""
    return load(spark, stored.url, table, partition_factor=3)


def asked(df: DataFrame) -> list[tuple[Any, ...]]:
    """The rows of a query, planned anew: a DataFrame keeps its first plan."""
    return [tuple(row) for row in df.select("*").collect()]


def fails(df: DataFrame) -> None:
    """Check that a query reads what is wrong."""
    with pytest.raises(Exception, match="DecodeError"):
        asked(df)


def test_only_the_columns_of_the_query(spark: SparkSession, df: DataFrame) -> None:
    assert ("odd", "odd") in asked(df.select("k", "s"))
    assert ("odd", 1) in asked(df.groupBy("s").count())
    fails(df.select("v"))
    with configured(spark, {PUSHDOWN: "off"}):
        fails(df.select("k", "s"))


@pytest.mark.parametrize(
    "filter",
    [
        "s = 's1'",
        "s IN ('s1', 's2') AND w < 3",
        "s LIKE 's%'",
        "s < 'odd' OR s > 'p'",
        "NOT (s <=> 'odd')",
        "k = 'k1' OR s = 's2'",
    ],
)
def test_the_server_filters(spark: SparkSession, df: DataFrame, filter: str) -> None:
    some = df.where(filter).select("v", "w")
    assert "filter" in pushed(plan(some))
    assert asked(some)
    with configured(spark, {PUSHDOWN: "off"}):
        fails(some)


def test_explain_tells_what_is_pushed(df: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    df.where("v > 3 AND upper(s) = 'S1'").select("w").explain()
    said = capsys.readouterr().out
    assert "kvlake aerospike PushedColumns: [v, w, s]" in said
    assert "`v` > 3" in said.partition("PushedFilter: [")[2].partition("]")[0]


def test_keys_by_name_are_looked_up(df: DataFrame) -> None:
    some = df.where("k IN ('k1', 'k2', 'nobody')").select("v")
    assert sorted(map(tuple, some.collect())) == [(1,), (2,)]
    assert [some.rdd.getNumPartitions(), df.rdd.getNumPartitions()] == [1, 8]


@pytest.mark.parametrize("adaptive", ["true", "false"])
def test_a_join_looks_up_its_keys(spark: SparkSession, df: DataFrame, adaptive: str) -> None:
    keys = spark.createDataFrame(
        [("k1", 1), ("k5", 1), ("nobody", 2), (None, 3)], "k string, n int"
    )
    joined = df.join(sf.broadcast(keys), "k").select("v", "w", "n")
    with configured(spark, {"spark.sql.adaptive.enabled": adaptive}):
        assert sorted(map(tuple, joined.collect())) == [(1, 1, 1), (5, 0, 1)]
        assert "keys" in pushed(plan(joined))
        with configured(spark, {PUSHDOWN: "off"}):
            fails(joined)


def test_a_limit_and_a_count(df: DataFrame) -> None:
    few = df.select("k", "s").limit(5)
    assert len(few.collect()) == 5 and "limit" in pushed(plan(few))
    count = df.groupBy().count()
    assert [tuple(row) for row in count.collect()] == [(ROWS + 1,)]
    assert "count" in pushed(plan(count))
    assert df.where("s <> 'odd'").count() == ROWS


def test_spark_knows_the_size_and_broadcasts_by_itself(spark: SparkSession, df: DataFrame) -> None:
    other = spark.range(100_000).selectExpr("concat('s', id % 7) AS s", "id AS m")
    joined = other.join(df.select("s", "k"), "s")
    assert "BroadcastHashJoin" in plan(joined)
    cost = df.select("k")._jdf.queryExecution().optimizedPlan().stats()
    assert ROWS * 5 <= int(str(cost.sizeInBytes())) <= ROWS * 40
    with configured(spark, {"spark.sql.autoBroadcastJoinThreshold": "5000"}):
        assert "SortMergeJoin" in plan(other.join(df.select("s", "k"), "s"))


def test_a_secondary_index_is_asked(spark: SparkSession, stored: Aerospike, table: str) -> None:
    name = f"{table}_v"
    by_name = load(spark, stored.url, table, sindex=name).where("v BETWEEN 10 AND 14")
    with pytest.raises(Exception, match=f"index '{name}' is not there"):
        by_name.collect()
    stored.raw.index_single_value_create(
        stored.namespace, table, "v", aerospike.INDEX_NUMERIC, name
    )
    try:
        listed = f"sindex-list:namespace={stored.namespace}"
        until(lambda: "state=RW" in str(stored.raw.info_all(listed)), "the index")
        before = index_queries(stored)
        assert sorted(row.v for row in by_name.collect()) == [*range(10, 15)]
        some = load(spark, stored.url, table).where("v = 77").select("k", "w")
        assert [tuple(row) for row in some.collect()] == [("k77", 2)]
        off = load(spark, stored.url, table, sindex="off").where("v = 77").select("k")
        assert [tuple(row) for row in off.collect()] == [("k77",)]
        if stored.real:  # the test server does not count
            assert index_queries(stored) - before >= 2
    finally:
        stored.raw.index_remove(stored.namespace, name)


def index_queries(server: Aerospike) -> int:
    """How many queries of secondary indexes the server has answered."""
    answers: dict[str, Any] = server.raw.info_all(f"namespace/{server.namespace}")
    pairs = [
        pair.partition("=") for _, text in answers.values() for pair in text.strip().split(";")
    ]
    return sum(
        int(value)
        for name, _, value in pairs
        if name.startswith("si_query_") and name.endswith("_complete")
    )


def test_columns_in_bins_of_other_names(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    url, short = aerospike_server.url, "name_of_the_person=name,x=number"
    rows = people(spark, 50).withColumnRenamed("name", "name_of_the_person")
    save(rows, url, table, bin_names=short)
    found = load(spark, url, table, bin_names=short)
    some = found.where("name_of_the_person = 'name 7' AND x < 2").select("x")
    assert [tuple(row) for row in some.collect()] == [(1.75,)]
    assert pushed(plan(some)) >= {"columns", "filter"}


def test_own_filter_limit_and_columns_stay_the_users(
    spark: SparkSession, stored: Aerospike, table: str
) -> None:
    few = load(spark, stored.url, table, limit="50", filter="w < 3")
    assert few.count() == 50
    assert few.where("w < 2").count() <= 50
    narrow = spark_ext.read(spark, stored.url, table, columns=["s", "k"], filter="v >= 5990")
    assert narrow.select("s").where("k = 'k5991'").first().s == "s6"
    assert narrow.where("k = 'k3'").count() == 0
