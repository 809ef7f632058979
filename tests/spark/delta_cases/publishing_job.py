"""A program that publishes, for a test to kill: python publishing_job.py whole|changes PATH URL TABLE."""

from __future__ import annotations

import os
import sys

from pyspark.sql import SparkSession

import spark_ext
from spark_ext.delta import publish, publish_changes

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.adaptive.enabled": "false",  # many tasks, one after the other
    "spark.sql.shuffle.partitions": "40",
    "spark.sql.files.openCostInBytes": "128m",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def main(what: str, path: str, url: str, table: str) -> None:
    builder = SparkSession.builder.master("local[1]")
    for name, value in SETTINGS.items():
        builder.config(name, value)
    spark = spark_ext.configure(builder, delta=os.environ["TEST_DELTA_JARS"]).getOrCreate()
    if what == "whole":
        publish(spark, path, url, table)
    else:
        publish_changes(spark, path, url, table)
    print("published", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
