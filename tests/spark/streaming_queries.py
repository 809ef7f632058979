"""Streaming queries of the tests: entries put by a raw client, and runs until all is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import DataStreamWriter, StreamingQuery
from spark_tables import format_of

WAIT_SECONDS = 240
HAS_LIMITS = tuple(map(int, pyspark.__version__.split(".")[:2])) >= (4, 2)


def put(raw: Any, key: str, numbers: Iterable[int]) -> None:
    with raw.pipeline(transaction=False) as pipeline:
        for n in numbers:
            pipeline.xadd(key, {"id": n, "name": f"name {n}"})
        pipeline.execute()


def read(spark: SparkSession, url: str, schema: str | None = None, **options: object) -> DataFrame:
    given = {name.replace("_", "."): str(value) for name, value in options.items()}
    reader = spark.readStream.format("redis").options(url=url, model="stream", **given)
    return (reader if schema is None else reader.schema(schema)).load()


def write(df: DataFrame, url: str, checkpoint: Path, **options: object) -> DataStreamWriter:
    given = {name.replace("_", "."): str(value) for name, value in options.items()}
    return (
        df.writeStream.format(format_of(url))
        .options(url=url, checkpointLocation=str(checkpoint), **given)
        .trigger(availableNow=True)
    )


def finish(writer: DataStreamWriter) -> StreamingQuery:
    """Run a query until it has read what there is."""
    query = writer.start()
    try:
        assert query.awaitTermination(WAIT_SECONDS), "the query does not end"
    finally:
        query.stop()
    return query


def sizes(query: StreamingQuery) -> list[int]:
    """Rows of each micro-batch that had some."""
    return [each.numInputRows for each in query.recentProgress if each.numInputRows]


def forget_last_commit(checkpoint: Path) -> None:
    """What a driver leaves that dies between writing a batch and noting that."""
    commits = checkpoint / "commits"
    last = max(int(path.name) for path in commits.iterdir() if path.name.isdigit())
    for path in (commits / str(last), commits / f".{last}.crc"):
        path.unlink(missing_ok=True)
