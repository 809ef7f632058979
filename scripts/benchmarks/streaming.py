"""A micro-batch of stream entries through Spark: upserted into a table, and appended to a stream."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from benchmarks import server, spark_work
from benchmarks.settings import Settings
from benchmarks.timing import in_turn
from connector.redis.options import RedisOptions
from connector.redis.streams.appending import Mark, append_rows

ENTRIES = 100_000
CORES = 2
SCHEMA = "id bigint, carrier string, distance bigint, delay double"
STREAM, TABLE, COPY = "events", "latest", "copy"
_ROWS_AT_ONCE = 10_000
_SINKS = {
    "upsert": {"table": TABLE, "key.column": "id"},
    "append": {"streams": COPY},
}


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    entries = settings.rows_or(ENTRIES)
    with (
        server.start() as running,
        spark_work.session() as spark,
        tempfile.TemporaryDirectory() as directory,
    ):
        milliseconds: dict[str, list[int]] = {name: [] for name in _SINKS}
        works: dict[str, Callable[[], float]] = {
            name: functools.partial(
                _batch, spark, running.url, Path(directory), entries, name, milliseconds[name]
            )
            for name in _SINKS
        }
        return {
            "server": server.name_of(running.url),
            "rows": entries,
            "figures": in_turn(works, settings.repeats),
            "milliseconds of a micro-batch": {
                name: sorted(spent[-settings.repeats :]) for name, spent in milliseconds.items()
            },
            "absent": [],
        }


def _batch(
    spark: SparkSession, url: str, directory: Path, entries: int, sink: str, spent: list[int]
) -> float:
    """One micro-batch of new entries: from looking for them until all is noted as done, per second."""
    stream = f"{STREAM}-{sink}"
    _publish(url, stream, entries, first=entries * len(spent))
    reader = spark.readStream.format("redis").schema(SCHEMA).options(url=url, streams=stream)
    reader = reader.option("partitions.number", 2 * CORES)
    writer = reader.load().writeStream.format("redis").options(url=url, **_SINKS[sink])
    writer = writer.option("checkpointLocation", str(directory / sink)).trigger(availableNow=True)
    query = writer.start()
    query.awaitTermination()
    (progress,) = [each for each in query.recentProgress if each.numInputRows]
    assert progress.numInputRows == entries
    spent.append(int(progress.durationMs["triggerExecution"]))
    return entries / spent[-1] * 1000


def _publish(url: str, stream: str, entries: int, first: int) -> None:
    ids = np.arange(first, first + entries)
    rows = pa.record_batch(
        {
            "id": ids,
            "carrier": np.array(["UA", "AA", "DL", "B6"])[ids % 4],
            "distance": ids % 3000,
            "delay": (ids % 977) / 4,
        }
    )
    name = pa.array([stream.encode()] * _ROWS_AT_ONCE, pa.binary())
    batches = (rows.slice(at, _ROWS_AT_ONCE) for at in range(0, entries, _ROWS_AT_ONCE))
    named = ((name.slice(0, batch.num_rows), batch) for batch in batches)
    append_rows(stream, Mark("benchmark", first, 0, 3600), RedisOptions(url=url), named)
