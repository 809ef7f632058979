"""The record of what is published, in every store; with Delta: delta_cases."""

from __future__ import annotations

import pytest
from aerospikes import Aerospike
from pyspark.sql import SparkSession
from servers import Server

from connector import Store, StoreError, open_store
from connector.errors import OptionError
from spark_ext.delta.publishing import opened
from spark_ext.delta.records import RECORDS, Record, begin, finish, load
from spark_ext.delta_session import CATALOG, EXTENSION, check_delta, package, with_delta
from spark_ext.versions import SPARK_VERSION


def state(store: Store, table: str) -> tuple[int | None, int | None]:
    found = load(store, table)
    assert found is not None
    return found.version, found.reaching


def test_a_publication_from_its_begin_to_its_end(store: Store, table: str) -> None:
    assert load(store, table) is None
    first = begin(store, table, "source", None, 3)
    assert state(store, table) == (None, 3)
    finish(store, first)
    assert state(store, table) == (3, None)
    second = begin(store, table, "source", 3, 7)
    assert state(store, table) == (3, 7)
    finish(store, second)
    assert state(store, table) == (7, None)
    found = load(store, table)
    assert isinstance(found, Record)
    assert (found.table, found.source, found.changed.tzname()) == (table, "source", "UTC")
    assert load(store, f"{table}2") is None


def test_two_at_a_time_are_told_and_leave_what_mends_it(store: Store, table: str) -> None:
    finish(store, begin(store, table, "source", None, 1))
    slow = begin(store, table, "source", 1, 2)
    late = begin(store, table, "source", 1, 4)
    with pytest.raises(StoreError, match="another publication was at work.* changes again"):
        finish(store, slow)
    assert state(store, table) == (1, 4)
    with pytest.raises(StoreError, match="another publication was at work"):
        finish(store, late)
    assert state(store, table) == (1, 4)
    finish(store, begin(store, table, "source", 1, 4))
    assert state(store, table) == (4, None)


def test_one_that_ended_while_a_slow_one_still_wrote(store: Store, table: str) -> None:
    slow = begin(store, table, "source", 1, 2)
    finish(store, begin(store, table, "source", 1, 4))
    with pytest.raises(StoreError, match="changes again"):
        finish(store, slow)
    assert state(store, table) == (1, 4)


@pytest.mark.parametrize(("source", "version"), [("source", None), ("another", 1)])
def test_what_changes_cannot_mend(
    store: Store, table: str, source: str, version: int | None
) -> None:
    slow = begin(store, table, "source", 1, 2)
    begin(store, table, source, version, 4)
    with pytest.raises(StoreError, match="publish the whole table anew"):
        finish(store, slow)
    assert state(store, table) == (None, 4)


def test_where_a_record_is(redis_server: Server, aerospike_server: Aerospike, table: str) -> None:
    for url in (redis_server.url, aerospike_server.url):
        with open_store(url) as store:
            finish(store, begin(store, table, "source", None, 3))
    assert redis_server.raw.hget(f"{RECORDS}:{table}", "version") == b"3"
    assert redis_server.raw.ttl(f"{RECORDS}:{table}") == -1
    _, meta, bins = aerospike_server.raw.get((aerospike_server.namespace, RECORDS, table))
    assert bins["version"] == 3
    assert meta["ttl"] == 2**32 - 1
    aerospike_server.raw.remove((aerospike_server.namespace, RECORDS, table))


@pytest.mark.parametrize(
    "options", [{"model": "arrow"}, {"model": "string"}, {"keys_pattern": "x*"}]
)
def test_how_a_table_is_kept_does_not_matter_to_its_record(
    spark: SparkSession, redis_server: Server, table: str, options: dict[str, str]
) -> None:
    finish(
        opened(spark, redis_server.url, table, options),
        begin(opened(spark, redis_server.url, table, {}), table, "source", None, 3),
    )
    assert redis_server.raw.hget(f"{RECORDS}:{table}", "version") == b"3"


def test_a_session_without_delta_is_told_how_to_have_it(spark: SparkSession) -> None:
    with pytest.raises(ImportError, match="delta=True"):
        check_delta(spark)


def test_settings_of_a_session_with_delta(tmp_path: object) -> None:
    builder = SparkSession.Builder().config("spark.sql.extensions", "another.Extension")
    if SPARK_VERSION == "4.3":
        with pytest.raises(ImportError, match="no Delta .* for Spark 4.3"):
            with_delta(builder)
        return
    with_delta(with_delta(builder))
    assert builder._options["spark.jars.packages"] == package(SPARK_VERSION)
    assert builder._options["spark.sql.extensions"] == f"another.Extension,{EXTENSION}"
    assert builder._options["spark.sql.catalog.spark_catalog"] == CATALOG
    with pytest.raises(OptionError, match="no jar of Delta in"):
        with_delta(builder, str(tmp_path))
