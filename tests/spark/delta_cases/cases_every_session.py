"""All ways between stores and Delta; the one file that Spark Connect runs, too."""

from __future__ import annotations

from aerospikes import Aerospike
from delta_tables import Delta, people, witnessed
from pyspark.sql import SparkSession
from servers import Server

import spark_ext
from spark_ext.delta import (
    Published,
    PublishedChanges,
    Snapshot,
    publish,
    publish_changes,
    snapshot,
)
from spark_ext.replication import Replicated, replicate


def test_there_and_back(
    spark: SparkSession,
    delta: Delta,
    redis_server: Server,
    aerospike_server: Aerospike,
    table: str,
) -> None:
    redis, aerospike = redis_server.url, aerospike_server.url
    spark_ext.write(people(spark, 0, 30), redis, table, key="id")
    spark.sql(
        f"CREATE TABLE {delta.name} (id BIGINT, name STRING, n INT) USING delta "
        f"TBLPROPERTIES (delta.enableChangeDataFeed = true)"
    )
    assert snapshot(spark, redis, table, delta.path, mode="append") == Snapshot(1, 30)
    assert publish(spark, delta.path, aerospike, table, key="id") == Published(1, 30)
    delta.run("DELETE FROM people WHERE id < 4")
    delta.insert(30, 33)
    assert publish_changes(spark, delta.path, aerospike, table) == PublishedChanges(1, 3, 3, 4)
    assert witnessed(aerospike_server, table) == delta.rows()
    assert replicate(spark, aerospike, table, redis) == Replicated(29, 29)
    assert witnessed(redis_server, table) == delta.rows()
