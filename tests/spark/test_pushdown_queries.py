"""Random queries return the same rows with pushdown, without it, and in plain Spark.

``--queries 5000`` runs more of them. A failing query is printed as the code that makes it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from pyspark.sql import DataFrame, SparkSession
from queries import Case, cases
from queries_data import SCHEMA, few, rows
from queries_running import Tables, answer, difference, pushed
from spark_tables import format_of, load, save

QUERIES = {"redis": 500, "aerospike": 300}
PLANS = {"redis": {"partitions_number": 2}, "aerospike": {"partition_factor": 1}}  # two each


@pytest.fixture
def stored(spark: SparkSession, url: str, table: str) -> Tables:
    """The rows in a store, and one DataFrame of them that every query shares."""
    save(spark.createDataFrame(rows(), SCHEMA), url, table, key_column="k")

    def fresh(**options: str) -> DataFrame:
        return load(spark, url, table, **PLANS[format_of(url)], **options)

    return Tables(fresh(), fresh, few(spark).localCheckpoint())


@pytest.fixture
def plain(spark: SparkSession) -> Tables:
    """The same rows as Spark has them itself, where nothing can be pushed to."""
    base = spark.createDataFrame(rows(), SCHEMA).coalesce(2).localCheckpoint()

    def fresh(columns: str = "*", filter: str = "TRUE") -> DataFrame:
        return base.where(filter).selectExpr(*columns.split(","))

    return Tables(base, fresh, few(spark).localCheckpoint())


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_the_same_rows_with_pushdown_without_and_in_plain_spark(
    request: pytest.FixtureRequest, url: str, stored: Tables, plain: Tables
) -> None:
    wanted = request.config.getoption("--queries", None) or QUERIES[format_of(url)]
    seen: Counter[str] = Counter()

    @settings(max_examples=wanted, database=None)
    @given(case=cases())
    def compare(case: Case) -> None:
        whole = answer(replace(case, limit=None), plain, pushdown="off")
        expected = whole.rows
        on = answer(case, stored, pushdown="auto")
        off = answer(case, stored, pushdown="off")
        wrong = {
            way: why
            for way, found in (("auto", on), ("off", off))
            if (why := difference(found.rows, expected, case.limit))
        }
        assert on.refused == off.refused == whole.refused
        assert not wrong, f"pushdown and what is wrong with the rows: {wrong}"
        assert not pushed(off.plan)
        kinds = pushed(on.plan)
        seen.update(
            kinds, asked=1, pushed=bool(kinds), found=bool(expected), refused=bool(whole.refused)
        )
        if seen["asked"] % 250 == 0:
            print(f"{seen['asked']} of {wanted} queries compared", flush=True)

    compare()
    asked = seen["asked"]
    print(f"{asked} queries; how many returned rows and had something pushed: {seen}")
    least = {"found": 0.5, "pushed": 0.5, "columns": 0.4, "filter": 0.25}
    least |= {"limit": 0.02, "count": 0.02, "keys": 0.02}
    assert seen["refused"] <= 0.02 * asked, f"Spark refuses too many of {asked} queries: {seen}"
    rare = {kind for kind, share in least.items() if seen[kind] < int(share * asked)}
    assert not rare, f"too few of {asked} queries return rows, or have something pushed: {seen}"
