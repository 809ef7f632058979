"""A driver with two streaming queries, which hang in the middle of their first batch while a file is there.

python streaming_driver.py SOURCE_URL STREAM TABLE_URL TABLE APPENDED CHECKPOINTS HANG
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession
from spark_tables import format_of

import spark_ext

WAIT_SECONDS = 240


def main(
    source: str, stream: str, url: str, table: str, appended: str, checkpoints: str, hang: str
) -> None:
    spark = (
        spark_ext.configure(SparkSession.builder)
        .master("local[2]")
        .config("spark.ui.enabled", False)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", 100)
        .getOrCreate()
    )

    def hanging(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for i, batch in enumerate(batches):
            while i == 7 and Path(hang).exists():
                time.sleep(0.1)
            yield batch

    rows = (
        spark.readStream.format("redis")
        .options(url=source, streams=stream)
        .option("partitions.number", 1)
        .option("batch.rows", 100)
        .schema("id bigint")
        .load()
        .selectExpr("id", "repeat('x', 2000) as text")
    )
    rows = rows.mapInArrow(hanging, rows.schema)
    sinks = {
        "table": (format_of(url), {"url": url, "table": table, "key.column": "id"}),
        "appended": ("redis", {"url": source, "streams": appended}),
    }
    queries = [
        rows.writeStream.format(kind)
        .options(checkpointLocation=f"{checkpoints}/{name}", **options)
        .trigger(availableNow=True)
        .start()
        for name, (kind, options) in sinks.items()
    ]
    for query in queries:
        assert query.awaitTermination(WAIT_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
