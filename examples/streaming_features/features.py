"""Features of users from a stream of events: the streaming job alone.

    spark-submit examples/streaming_features/features.py --url redis://localhost:6379/0 --checkpoint DIR

Without ``--until-read`` it runs on, and writes what comes.
"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

import spark_ext
from spark_ext.streaming.batches import upsert

STREAM = "shop-events:orders"
TABLE = "shop-features"
KEY = "user"
EVENT = "user bigint, kind string, cents bigint"


def session() -> SparkSession:
    """A session with few shuffle partitions: each keeps its users' sums between batches."""
    builder = SparkSession.builder.appName("features").config("spark.sql.shuffle.partitions", 2)
    return spark_ext.configure(builder).getOrCreate()


def features(events: DataFrame) -> DataFrame:
    """One row a user: how many events and purchases, and the cents spent."""
    bought = sf.col("kind") == "buy"
    return events.groupBy(KEY).agg(
        sf.count("*").alias("events"),
        sf.count_if(bought).alias("purchases"),
        sf.coalesce(sf.sum(sf.when(bought, sf.col("cents"))), sf.lit(0)).alias("cents"),
    )


def follow(
    spark: SparkSession, url: str, stream: str, table: str, checkpoint: str, *, until_read: bool
) -> None:
    """Keep the table of features up to date with the stream.

    Args:
        spark: the session.
        url: where both are.
        stream: key of the stream.
        table: name of the table.
        checkpoint: directory in which the query keeps its progress and its sums.
        until_read: end when all that is there has been read; else run on.
    """
    events = spark.readStream.format("redis").schema(EVENT).options(url=url, streams=stream).load()
    writer = (
        features(events).writeStream.outputMode("update").foreachBatch(upsert(url, table, key=KEY))
    )
    writer = writer.option("checkpointLocation", checkpoint)
    trigger = {"availableNow": True} if until_read else {"processingTime": "1 second"}
    writer.trigger(**trigger).start().awaitTermination()


def main() -> None:
    parser = argparse.ArgumentParser(description="Features of users from a stream of events.")
    parser.add_argument("--url", required=True, help="the Redis server of stream and table")
    parser.add_argument("--stream", default=STREAM, help="key of the stream")
    parser.add_argument("--table", default=TABLE, help="table of the features")
    parser.add_argument("--checkpoint", required=True, help="directory of the query's progress")
    parser.add_argument("--until-read", action="store_true", help="end when all has been read")
    given = parser.parse_args()
    follow(
        session(),
        given.url,
        given.stream,
        given.table,
        given.checkpoint,
        until_read=given.until_read,
    )


if __name__ == "__main__":
    main()
