"""Delta tables, whole, into both stores."""

from __future__ import annotations

import datetime
import time

import pytest
from aerospikes import Aerospike
from delta_tables import Delta, witnessed
from pyspark.sql import SparkSession
from servers import Server

from connector import open_store
from connector.errors import OptionError, SchemaError, TableNotFoundError
from spark_ext.delta import Published, publish
from spark_ext.delta.records import load


def test_a_version_is_published_and_recorded(
    spark: SparkSession, delta: Delta, kept: Server | Aerospike, table: str
) -> None:
    delta.create(40)
    delta.run("UPDATE people SET name = NULL, n = -1 WHERE id < 3")
    delta.run("DELETE FROM people WHERE id = 9")
    found = publish(spark, delta.path, kept.url, table, key="id")
    assert found == Published(version=3, rows=39)
    assert witnessed(kept, table) == delta.rows(3)
    with open_store(kept.url) as store:
        record = load(store, table)
    assert record is not None
    assert (record.version, record.reaching) == (3, None)


def test_an_earlier_version_by_number_and_by_time(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    delta.create(10)
    time.sleep(1.5)  # a commit has its time in milliseconds, and the machine's clock in less
    between = datetime.datetime.now(datetime.UTC)
    time.sleep(1.5)
    delta.run("DELETE FROM people WHERE id < 5")
    delta.insert(100, 103)
    assert publish(spark, delta.path, redis_server.url, table, key="id", version=2) == Published(
        2, 5
    )
    assert witnessed(redis_server, table) == delta.rows(2)
    assert publish(spark, delta.path, redis_server.url, table, version=between) == Published(1, 10)
    assert witnessed(redis_server, table) == delta.rows(1)
    text = between.strftime("%Y-%m-%d %H:%M:%S.%f")
    assert publish(spark, delta.path, redis_server.url, table, version=text).version == 1
    assert publish(spark, delta.path, redis_server.url, table, version="2999-01-01").version == 3


def test_a_table_of_the_catalog(spark: SparkSession, redis_server: Server, table: str) -> None:
    spark.sql(f"CREATE TABLE {table} (id BIGINT, name STRING) USING delta")
    spark.sql(f"INSERT INTO {table} VALUES (1, 'one'), (2, 'two')")
    assert publish(spark, f"default.{table}", redis_server.url, table, key="id") == Published(1, 2)
    assert witnessed(redis_server, table) == {1: {"name": "one"}, 2: {"name": "two"}}


def test_append_keeps_other_rows(
    spark: SparkSession, delta: Delta, kept: Server | Aerospike, table: str
) -> None:
    delta.create(3)
    publish(spark, delta.path, kept.url, table, key="id")
    before = delta.rows()
    delta.run("DELETE FROM people WHERE id = 0")
    delta.insert(7, 9)
    assert publish(spark, delta.path, kept.url, table, mode="append") == Published(3, 4)
    assert witnessed(kept, table) == before | delta.rows()


@pytest.mark.parametrize("version", [-1, 2, "yesterday", "1999-01-01"])
def test_versions_that_are_not_there(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str, version: int | str
) -> None:
    delta.create(3)
    with pytest.raises(OptionError, match="has no version"):
        publish(spark, delta.path, redis_server.url, table, key="id", version=version)
    assert redis_server.raw.dbsize() == 0


def test_what_is_refused_before_anything_is_written(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    delta.create(3)
    url = redis_server.url
    with pytest.raises(OptionError, match="mode 'ignore' is not known"):
        publish(spark, delta.path, url, table, key="id", mode="ignore")
    with pytest.raises(OptionError, match=r"'write\.mode' would leave out rows"):
        publish(spark, delta.path, url, table, key="id", write_mode="insert")
    with pytest.raises(OptionError, match="did you mean 'scan.count'"):
        publish(spark, delta.path, url, table, key="id", scan_cont=3)
    with pytest.raises(TableNotFoundError, match="there is no Delta table"):
        publish(spark, f"{delta.path}-not", url, table, key="id")
    with pytest.raises(TableNotFoundError, match="there is no Delta table"):
        publish(spark, "nobody.knows", url, table, key="id")
    spark.conf.set("spark.sql.files.ignoreMissingFiles", "true")
    try:
        with pytest.raises(OptionError, match="ignoreMissingFiles is on"):
            publish(spark, delta.path, url, table, key="id")
    finally:
        spark.conf.unset("spark.sql.files.ignoreMissingFiles")
    assert redis_server.raw.dbsize() == 0


def test_keys_that_stand_twice(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    delta.create(3)
    delta.insert(2, 5)
    with pytest.raises(SchemaError, match="stand more than once"):
        publish(spark, delta.path, redis_server.url, table, key="id", check_keys=True)


def test_secrets_are_in_no_message(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    delta.create(3)
    with pytest.raises(Exception) as failed:
        publish(spark, delta.path, "redis://user:hunter2@127.0.0.1:1/0", table, key="id")
    assert "hunter2" not in str(failed.value)
