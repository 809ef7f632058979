"""What Spark adds to our work: reading through it and without it, joins by lookup, planning."""

from __future__ import annotations

import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

import spark_ext
from benchmarks import server, spark_work
from benchmarks.settings import Settings
from benchmarks.tables import TABLE, batches_of
from benchmarks.timing import in_turn, rate, timed
from connector import WriteOptions, open_store
from spark_ext import lookup_join

ROWS = 1_000_000
KEYS = 1_000
PROCESSES = 2
PLANS = 30
ARROW_BATCHES = (2_000, 10_000, 50_000, 200_000)


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    with (
        server.start() as running,
        ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool,
        spark_work.session() as spark,
    ):
        with open_store(running.url) as store:
            store.write(TABLE, batches_of(rows), WriteOptions(key=("id",)))
        works: dict[str, Callable[[], int]] = {
            "read": functools.partial(_read, pool, running.url),
            "spark_read": lambda: _drained(_table(spark, running.url), rows),
            **_joins(spark, running.url, rows),
            **_arrow_batches(spark, running.url, rows),
        }
        figures = in_turn({name: timed(work) for name, work in works.items()}, settings.repeats)
        return {
            "server": server.name_of(running.url),
            "rows": rows,
            "figures": figures,
            "ratios": {
                "time of spark_read / time of read": round(
                    rate(figures, "read") / rate(figures, "spark_read"), 2
                ),
                "lookup_join / scan_join": round(
                    rate(figures, "lookup_join") / rate(figures, "scan_join"), 2
                ),
            },
            "milliseconds of planning a read": _planning(spark, running.url),
            "absent": [],
        }


def _table(spark: SparkSession, url: str, **options: str) -> DataFrame:
    return spark.read.format("redis").options(url=url, table=TABLE, **options).load()


def _drained(frame: DataFrame, rows: int) -> int:
    frame.write.format("noop").mode("overwrite").save()
    return rows


def _read(pool: ProcessPoolExecutor, url: str) -> int:
    shares = [pool.submit(_read_share, url, part) for part in range(PROCESSES)]
    return sum(share.result() for share in shares)


def _read_share(url: str, part: int) -> int:
    """Every other partition of as many as Spark reads; batches are let go, as by its ``noop``."""
    with open_store(url) as store:
        source = store.source(TABLE, parts=2 * PROCESSES)
        parts = source.partitions()[part::PROCESSES]
        return sum(batch.num_rows for one in parts for batch in source.read(one))


def _joins(spark: SparkSession, url: str, rows: int) -> dict[str, Callable[[], int]]:
    """The same join of some keys by lookup, and by reading the table; both rates are of its rows."""
    every = max(1, rows // KEYS)
    keys = spark.range(0, rows, every, numPartitions=PROCESSES).select(
        sf.format_string("%012d", "id").alias("key")
    )
    whole = _table(spark, url, **{"kvlake.pushdown": "off"})
    joins = {
        "lookup_join": lookup_join(keys, url, TABLE, on="key", how="inner"),
        "scan_join": whole.join(sf.broadcast(keys), sf.col("id") == sf.col("key")),
    }
    for joined in joins.values():
        assert joined.count() == -(-rows // every)
    return {name: functools.partial(_drained, joined, rows) for name, joined in joins.items()}


def _arrow_batches(spark: SparkSession, url: str, rows: int) -> dict[str, Callable[[], int]]:
    """Writing, and a join of as many keys, by how many rows Spark hands to Python at once."""
    frame = spark.range(0, rows, 1, 2 * PROCESSES).selectExpr(
        "id", "id / 2 AS x", "string(id) AS name"
    )
    frame.cache().count()

    def sized(size: int, work: Callable[[], int]) -> int:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", size)
        try:
            return work()
        finally:
            spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")

    def write() -> int:
        spark_ext.write(frame, url, "batches", key="id")
        return rows

    def join() -> int:
        keys = frame.select(sf.col("id").alias("key"))
        return _drained(lookup_join(keys, url, "batches", on="key", columns=["x"]), rows)

    return {
        f"{name} by {size:,}": functools.partial(sized, size, work)
        for size in ARROW_BATCHES
        for name, work in (("write", write), ("join", join))
    }


def _planning(spark: SparkSession, url: str) -> dict[str, float]:
    """From ``spark.read`` until the tasks of a scan are known; the first third is to warm up."""
    spent = []
    for _ in range(PLANS):
        started = time.perf_counter()
        _table(spark, url)._jdf.queryExecution().toRdd().getNumPartitions()
        spent.append((time.perf_counter() - started) * 1000)
    warm = spent[PLANS // 3 :]
    return {"median": round(statistics.median(warm), 1), "most": round(max(warm), 1)}
