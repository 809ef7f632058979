"""Redis: reading and writing hashes of 5 fields, beside the server's own limit and peers.

The server is Debian's redis-server where there is one, else the embedded Valkey; it is named in the
output. Every contender meets the same keys on the same warm server. The server's limit is what
redis-benchmark reaches with the same commands over the same keys, pipelined; for SCAN, which
redis-benchmark cannot follow, what the leanest loop of SCAN calls reaches.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis

from benchmarks.timing import Contender, in_turn, rate, timed
from connector import WriteOptions, open_store, read_all
from connector.embedded import serve

TABLE = "bench"
FIELDS = ("name", "qty", "price", "city", "total")
BATCH_ROWS = 16_384


def table_of(rows: int) -> pa.Table:
    """The rows, with keys as redis-benchmark makes them, 12 digits, in random order as it sends them."""
    number = np.random.default_rng(0).permutation(rows)
    return pa.table(
        {
            "id": pa.array([f"{i:012d}" for i in number]),
            "name": pa.array([f"name-{i % 1000}" for i in number]),
            "qty": number % 10_000,
            "price": (number % 1000) * 0.25,
            "city": pa.array([f"city-{i % 50}" for i in number]),
            "total": number * 7,
        }
    )


def run(rows: int, repeats: int) -> dict[str, object]:
    """All figures of the case."""
    absent = []
    with serve(shutil.which("redis-server")) as server:
        data = table_of(rows)
        stored = data.take(pa.array(np.random.default_rng(1).permutation(rows)))
        with open_store(server.url) as store:
            store.write(TABLE, stored.to_batches(BATCH_ROWS), WriteOptions(key=("id",)))
        contenders: dict[str, Contender] = {}
        if shutil.which("redis-benchmark"):
            contenders |= limits(server.port, rows)
        else:
            absent.append("redis-benchmark")
        contenders["scan_limit"] = timed(lambda: scan_alone(server.url))
        contenders["read"] = timed(lambda: read_ours(server.url))
        contenders["write"] = timed(lambda: write_ours(server.url, data))
        contenders["write_redis_py"] = write_redis_py(server.url, data)
        if importlib.util.find_spec("polars_redis"):
            tuned = {"batch_size": 10_000, "count_hint": 2000}
            contenders["read_polars_redis"] = timed(lambda: read_polars_redis(server.url, rows))
            contenders["read_polars_redis_tuned"] = timed(
                lambda: read_polars_redis(server.url, rows, **tuned)
            )
        else:
            absent.append("polars-redis")
        with spark_contenders(server.url, data, absent) as through_spark:
            figures = in_turn(contenders | through_spark, repeats)
        return {
            "server": server_version(server.url),
            "rows": rows,
            "figures": figures,
            "ratios": ratios(figures),
            "read_worker": worker_memory(server.url),
            "absent": absent,
        }


def ratios(figures: dict[str, dict[str, object]]) -> dict[str, float]:
    """Ours over each limit and peer; the read limit is SCAN and HMGET one after the other."""
    found: dict[str, float] = {}

    def over(name: str, ours: str, theirs: float) -> None:
        if ours in figures:
            found[name] = round(rate(figures, ours) / theirs, 2)

    if "hmget_limit" in figures:
        both = 1 / (1 / rate(figures, "hmget_limit") + 1 / rate(figures, "scan_limit"))
        over("read / (scan + hmget limit)", "read", both)
        over("spark_read / (scan + hmget limit)", "spark_read", both)
        over("write / hset limit", "write", rate(figures, "hset_limit"))
        over("spark_write / hset limit", "spark_write", rate(figures, "hset_limit"))
    if "read_polars_redis" in figures:
        over("read / polars-redis", "read", rate(figures, "read_polars_redis"))
        over("read / polars-redis, tuned", "read", rate(figures, "read_polars_redis_tuned"))
    over("write / redis-py pipeline", "write", rate(figures, "write_redis_py"))
    return found


def server_version(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    name = info.get("server_name", "redis")
    return f"{name} {info.get('valkey_version', info['redis_version'])}"


def limits(port: int, rows: int) -> dict[str, Contender]:
    """redis-benchmark with the same commands over the same keys."""
    values = ("name-77", "1234", "12.25", "city-33", "123456")
    pairs = [word for pair in zip(FIELDS, values, strict=True) for word in pair]
    key = f"{TABLE}:__rand_int__"
    commands = {"hmget_limit": ["HMGET", key, *FIELDS], "hset_limit": ["HSET", key, *pairs]}

    def bench(words: list[str]) -> float:
        command = ["redis-benchmark", "-p", str(port), "-c", "2", "-P", "256", "--csv"]
        command += ["-r", str(rows), "-n", str(rows), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (found,) = csv.DictReader(done.stdout.splitlines())
        return float(found["rps"])

    return {name: functools.partial(bench, words) for name, words in commands.items()}


def scan_alone(url: str) -> int:
    """SCAN from end to end with a COUNT that is best for it; keys are received, not kept."""
    rows, cursor = 0, 0
    with redis.Redis.from_url(url, protocol=2) as client:
        while True:
            cursor, keys = client.scan(cursor, match=f"{TABLE}:*", count=4000)
            rows += len(keys)
            if not cursor:
                return rows


def read_ours(url: str) -> int:
    with open_store(url) as store:
        return int(read_all(store.source(TABLE)).num_rows)


def write_ours(url: str, data: pa.Table) -> int:
    with open_store(url) as store:
        return store.write(TABLE, data.to_batches(BATCH_ROWS), WriteOptions(key=("id",))).rows


def write_redis_py(url: str, data: pa.Table, share: int = 10) -> Contender:
    """redis-py's pipeline, from Python rows made beforehand; a tenth of the rows, as it is slow."""
    rows = data.slice(0, max(1, data.num_rows // share)).to_pylist()

    def write() -> int:
        with redis.Redis.from_url(url, protocol=2) as client:
            for start in range(0, len(rows), 5000):
                with client.pipeline(transaction=False) as pipeline:
                    for row in rows[start : start + 5000]:
                        fields = {name: row[name] for name in FIELDS}
                        pipeline.hset(f"{TABLE}:{row['id']}", mapping=fields)
                    pipeline.execute()
        return len(rows)

    return timed(write)


def read_polars_redis(url: str, rows: int, **sizes: Any) -> int:
    import polars as pl
    import polars_redis

    schema = {
        "name": pl.Utf8,
        "qty": pl.Int64,
        "price": pl.Float64,
        "city": pl.Utf8,
        "total": pl.Int64,
    }
    frame = polars_redis.read_hashes(url, f"{TABLE}:*", schema, **sizes)
    assert frame.height == rows
    return rows


@contextmanager
def spark_contenders(url: str, data: pa.Table, absent: list[str]) -> Iterator[dict[str, Contender]]:
    """Reading to the noop sink and writing, through Spark local[2]."""
    if not importlib.util.find_spec("pyspark"):
        absent.append("pyspark")
        yield {}
        return
    from pyspark.sql import SparkSession

    from spark_ext.session import configure

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = configure(builder).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    frame = spark.createDataFrame(data).repartition(2).cache()
    rows = frame.count()

    def read() -> int:
        found = spark.read.format("redis").option("url", url).option("table", TABLE).load()
        found.write.format("noop").mode("overwrite").save()
        return rows

    def write() -> int:
        writer = frame.write.format("redis").option("url", url).option("table", TABLE)
        writer.option("key.column", "id").mode("append").save()
        return rows

    try:
        yield {"spark_read": timed(read), "spark_write": timed(write)}
    finally:
        spark.stop()


def worker_memory(url: str) -> dict[str, object]:
    """Peak memory of a process that reads the table batch by batch, over its size when idle."""
    code = Path(__file__).with_name("read_worker.py")
    done = subprocess.run(
        [sys.executable, "-P", str(code), url, TABLE], capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found
