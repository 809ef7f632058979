"""Defaults that a session's configuration has for the stores."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from queries_running import configured
from spark_tables import format_of, people

import spark_ext
from connector.errors import OptionError


def test_the_url_and_other_options(spark: SparkSession, url: str, table: str) -> None:
    kind = format_of(url)
    conf = {f"spark.kvlake.{kind}.url": url, f"spark.kvlake.{kind}.filter": "n = 1"}
    spark_ext.write(people(spark, 20), url, table, key="id")
    with configured(spark, conf):
        assert spark_ext.read(spark, kind, table).count() == 3
        assert spark_ext.read(spark, url, table, filter="n = 0").count() == 3
        assert spark_ext.read(spark, kind, table, filter="n < 2").count() == 6
        with pytest.raises(OptionError, match="'filter'.* are for reading"):
            spark_ext.write(people(spark, 1, first=100), kind, table)
    assert spark_ext.read(spark, url, table).count() == 20


def test_deletes_and_joins(spark: SparkSession, url: str, table: str) -> None:
    kind = format_of(url)
    with configured(spark, {f"spark.kvlake.{kind}.url": url}):
        spark_ext.write(people(spark, 20), kind, table, key="id")
        joined = spark_ext.lookup_join(spark.range(30), kind, table, on="id", how="inner")
        assert joined.count() == 20
        assert spark_ext.delete(spark.range(5), kind, table) == 5


def test_the_urls_are_not_shown(spark: SparkSession) -> None:
    conf = {"spark.kvlake.redis.url": "redis://:letmein@host", "spark.kvlake.redis.db": "1"}
    with configured(spark, conf):
        shown = {row.key: row.value for row in spark.sql("SET").collect()}
    assert shown["spark.kvlake.redis.db"] == "1"
    assert shown["spark.kvlake.redis.url"] == "*********(redacted)"
    assert "letmein" not in str(shown)


def test_a_session_without_a_url(spark: SparkSession, table: str) -> None:
    with pytest.raises(OptionError, match=r"no URL for 'redis': .* set spark\.kvlake\.redis\.url"):
        spark_ext.read(spark, "redis", table)
    for wrong in ("mongo", "mongo://host", "rediss"):
        with pytest.raises(OptionError, match=f"cannot reach '{wrong}'"):
            spark_ext.read(spark, wrong, table)


def test_a_default_that_is_no_option(spark: SparkSession, table: str) -> None:
    conf = {"spark.kvlake.redis.url": "redis://localhost", "spark.kvlake.redis.colour": "red"}
    with configured(spark, conf), pytest.raises(OptionError, match="unknown option 'colour'"):
        spark_ext.read(spark, "redis", table)
