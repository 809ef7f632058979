"""Tables of both stores into Delta."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aerospikes import Aerospike
from delta_tables import Delta, people
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from servers import Server

import spark_ext
from connector.errors import OptionError, TableNotFoundError
from spark_ext.delta import Snapshot, publish, publish_changes, snapshot


def commits(spark: SparkSession, name: str) -> list[dict[str, Any]]:
    """What each commit tells, the first one first."""
    found = spark.sql(f"DESCRIBE HISTORY {name}").orderBy("version").collect()
    return [row.asDict(recursive=True) for row in found]


def test_one_commit_tells_where_its_rows_came_from(
    spark: SparkSession, delta: Delta, kept: Server | Aerospike, table: str
) -> None:
    spark_ext.write(people(spark, 0, 30), kept.url, table, key="id")
    assert snapshot(spark, kept.url, table, delta.path) == Snapshot(version=0, rows=30)
    assert sorted(delta.spark.read.format("delta").load(delta.path).collect()) == sorted(
        people(spark, 0, 30).select("id", "name", "n").collect()
    )
    found = snapshot(
        spark,
        kept.url,
        table,
        delta.path,
        columns=["id", "n"],
        filter="id < 10 AND n = 1",
        mode="append",
    )
    assert found == Snapshot(version=1, rows=2)
    first, second = commits(spark, delta.name)
    assert (first["operationMetrics"]["numOutputRows"], first["operation"]) == ("30", "WRITE")
    whole, told = (json.loads(each["userMetadata"])["kvlake"] for each in (first, second))
    assert told["store"] == kept.url
    assert (told["table"], told["key"], told["columns"]) == (table, ["id"], ["id", "n"])
    assert told["schema"] == {"id": "int64", "n": "int32"}
    assert "id" in told["filter"] and "< 10" in told["filter"]
    assert (whole["rows"], told["rows"]) == (30, 2)
    assert whole["fingerprint"] != told["fingerprint"]
    assert whole["began"] < told["began"]


def test_no_secret_is_in_the_log(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    redis_server.raw.config_set("requirepass", "hunter2")
    try:
        url = redis_server.url.replace("redis://", "redis://:hunter2@")
        spark_ext.write(people(spark, 0, 3), url, table, key="id")
        assert snapshot(spark, url, table, delta.path).rows == 3
        assert (
            snapshot(
                spark, redis_server.url, table, delta.path, password="hunter2", mode="append"
            ).rows
            == 3
        )
    finally:
        redis_server.raw.config_set("requirepass", "")
    log = "".join(path.read_text() for path in (Path(delta.path) / "_delta_log").glob("*.json"))
    assert log.count("fingerprint") == 2
    assert "hunter2" not in log


def test_overwrite_and_nothing(spark: SparkSession, redis_server: Server, table: str) -> None:
    url = redis_server.url
    spark_ext.write(people(spark, 0, 5), url, table, key="id")
    spark.sql(
        f"CREATE TABLE {table} (id BIGINT, name STRING, n INT) USING delta "
        f"TBLPROPERTIES (delta.enableChangeDataFeed = true)"
    )
    assert snapshot(spark, url, table, table) == Snapshot(1, 5)
    spark_ext.delete(spark.range(2), url, table)
    assert snapshot(spark, url, table, table) == Snapshot(2, 3)
    assert sorted(row.id for row in spark.table(table).collect()) == [2, 3, 4]
    nobody = {"columns": ["id", "name", "n"], "filter": "id > 100"}
    assert snapshot(spark, url, table, table, mode="append", **nobody) == Snapshot(2, 0)
    # What a store's table was is fed on to another one, change by change.
    publish(spark, table, url, f"{table}-copy", key="id", version=1)
    found = publish_changes(spark, table, url, f"{table}-copy")
    assert (found.version, found.upserts, found.deletes) == (2, 3, 2)
    assert snapshot(spark, url, table, table, **nobody) == Snapshot(3, 0)
    assert spark.table(table).count() == 0


def test_columns_that_delta_lacks(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    url = redis_server.url
    spark_ext.write(people(spark, 0, 5), url, table, key="id")
    snapshot(spark, url, table, delta.path, columns=["id"])
    with pytest.raises(AnalysisException, match="DELTA_METADATA_MISMATCH"):
        snapshot(spark, url, table, delta.path, mode="append")
    assert snapshot(spark, url, table, delta.path, mode="append", evolution="add").rows == 5
    assert len(spark.read.format("delta").load(delta.path).where("name IS NULL").collect()) == 5


def test_what_is_refused(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    with pytest.raises(TableNotFoundError):
        snapshot(spark, redis_server.url, table, delta.path)
    with pytest.raises(OptionError, match="mode 'ignore' is not known"):
        snapshot(spark, redis_server.url, table, delta.path, mode="ignore")
    with pytest.raises(OptionError, match="evolution 'replace' is not known"):
        snapshot(spark, redis_server.url, table, delta.path, evolution="replace")
    assert not Path(delta.path).exists()
