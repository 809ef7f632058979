"""Streaming queries of a Spark Connect session, each run until it has read what there is.

python streaming_connect.py SOURCE_URL STREAM TABLE_URL TABLE CHECKPOINTS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import redis
from pyspark.sql import SparkSession
from streaming_queries import finish, forget_last_commit, put, read, sizes, write

import spark_ext
from spark_ext.streaming.batches import upsert


def main(source: str, stream: str, url: str, table: str, checkpoints: str) -> None:
    builder = SparkSession.builder.remote("local[2]")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
    }.items():
        builder.config(name, value)
    spark = spark_ext.configure(builder).getOrCreate()
    places = {name: Path(checkpoints) / name for name in ("rows", "counts", "log")}
    names = spark.range(0, 400, 2).selectExpr("id AS n", "concat('even ', id) AS even")
    spark_ext.write(names, url, f"{table}names", key="n")

    entries = read(spark, source, "id bigint, name string", table=stream, group="g")
    joined = spark_ext.lookup_join(entries, url, f"{table}names", on="id", how="inner")
    rows = write(joined, url, places["rows"], table=table, key_column="id")
    counted = entries.groupBy((entries.id % 5).alias("k")).count()
    counts = (
        counted.writeStream.outputMode("update")
        .option("checkpointLocation", str(places["counts"]))
        .trigger(availableNow=True)
        .foreachBatch(upsert(url, f"{table}counts", key="k"))
    )
    log = write(entries, source, places["log"], streams=f"{stream}log")
    queries = {"rows": rows, "counts": counts, "log": log}
    sizes_of = dict[str, list[list[int]]]({name: [] for name in queries})
    raw = redis.from_url(source)
    for entered in (range(300), range(300, 400)):
        put(raw, stream, entered)
        for name, query in queries.items():
            sizes_of[name].append(sizes(finish(query)))
    for name, query in queries.items():
        forget_last_commit(places[name])
        sizes_of[name].append(sizes(finish(query)))
    print(json.dumps(sizes_of))
    raw.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
