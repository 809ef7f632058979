"""What pushdown saves Spark: 2 of 40 columns, a join of some keys; and its cost where it saves nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from benchmarks import server, spark_work
from benchmarks.settings import Settings
from benchmarks.tables import BATCH_ROWS, TABLE
from benchmarks.timing import in_turn, rate, timed
from connector import Store, WriteOptions, open_store

ROWS = 1_000_000
COLUMNS = 40
KEYS = 1_000
SMALL_ROWS = 100
SMALL_QUERIES = 100


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    with server.start() as running, spark_work.session() as spark:
        # In a database of its own: a scan for its keys meets all that the others have.
        small_url = f"{running.url.removesuffix('/0')}/1"
        for url, count in ((running.url, rows), (small_url, SMALL_ROWS)):
            with open_store(url) as store:
                _fill(store, count)
        queries = _queries(spark, running.url, rows)
        figures = in_turn({name: timed(query) for name, query in queries.items()}, settings.repeats)
        return {
            "server": server.name_of(running.url),
            "rows": rows,
            "columns": COLUMNS,
            "figures": figures,
            "ratios": {
                f"{query}: auto / off": round(
                    rate(figures, f"{query}, auto") / rate(figures, f"{query}, off"), 2
                )
                for query in dict.fromkeys(name.partition(",")[0] for name in queries)
            },
            "milliseconds of a small query": _small_queries(spark, small_url),
            "absent": [],
        }


def _fill(store: Store, rows: int) -> None:
    """Rows in random order, half of their columns numbers and half text."""
    random = np.random.default_rng(0)
    order = random.permutation(rows)
    words = pa.array([f"word-{at}" for at in range(1000)])
    for start in range(0, rows, BATCH_ROWS):
        number = order[start : start + BATCH_ROWS]
        columns = {"id": pa.array(number)}
        for at in range(COLUMNS - 1):
            values = pa.array((number * (at + 7)) % 1000)
            columns[f"c{at}"] = words.take(values) if at % 2 else values
        store.write(TABLE, [pa.record_batch(columns)], WriteOptions(key=("id",)))


def _queries(spark: SparkSession, url: str, rows: int) -> dict[str, Callable[[], int]]:
    keys = spark.createDataFrame([(at * (rows // KEYS),) for at in range(KEYS)], "id bigint")

    def read(pushdown: str) -> DataFrame:
        options = {"url": url, "table": TABLE, "kvlake.pushdown": pushdown}
        return spark.read.format("redis").options(**options).load()

    def drained(frame: DataFrame) -> int:
        frame.write.format("noop").mode("overwrite").save()
        return rows

    def joined(pushdown: str) -> DataFrame:
        return read(pushdown).join(sf.broadcast(keys), "id")

    assert joined("auto").count() == joined("off").count() == KEYS

    def counted(pushdown: str) -> int:
        assert read(pushdown).count() == rows
        return rows

    asked: dict[str, Callable[[str], int]] = {
        "2 columns": lambda pushdown: drained(read(pushdown).select("c0", "c1")),
        "all columns": lambda pushdown: drained(read(pushdown)),
        f"join of {KEYS} keys": lambda pushdown: drained(joined(pushdown)),
        "count": counted,
    }

    def asking(query: Callable[[str], int], pushdown: str) -> Callable[[], int]:
        return lambda: query(pushdown)

    return {
        f"{name}, {pushdown}": asking(query, pushdown)
        for name, query in asked.items()
        for pushdown in ("auto", "off")
    }


def _small_queries(spark: SparkSession, url: str) -> dict[str, float]:
    """The median time of a query over few rows, which is mostly planning; both ways in turn."""
    spent: dict[str, list[float]] = {"auto": [], "off": []}
    options = {"url": url, "table": TABLE, "partitions.number": "1"}
    frames = {
        pushdown: spark.read.format("redis")
        .options(**options, **{"kvlake.pushdown": pushdown})
        .load()
        for pushdown in spent
    }
    for _ in range(SMALL_QUERIES):
        for pushdown, frame in frames.items():
            started = time.perf_counter()
            frame.select("c0", "c1").where("c0 > 500").collect()
            spent[pushdown].append((time.perf_counter() - started) * 1000)
    return {
        pushdown: round(statistics.median(times[SMALL_QUERIES // 3 :]), 1)
        for pushdown, times in spent.items()
    }
