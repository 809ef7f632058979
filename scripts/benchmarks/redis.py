"""Redis: reading and writing hashes of 5 fields, beside the server's own limit and peers.

The server is Debian's redis-server where there is one, else the embedded Valkey; it is named in the
output. Every contender meets the same keys on the same warm server. The server's limit is what
redis-benchmark reaches with the same commands over the same keys, pipelined; for SCAN, which
redis-benchmark cannot follow, what the leanest loop of SCAN calls reaches.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import server, spark_work
from benchmarks.peers import read_polars_redis, write_redis_py
from benchmarks.server import ServerCpu
from benchmarks.settings import Settings
from benchmarks.tables import BATCH_ROWS, TABLE, table_of
from benchmarks.timing import Contender, in_turn, rate, timed
from connector import WriteMode, WriteOptions, open_store, read_all
from connector.jobs import WriteFields

ROWS = 1_000_000
UPSERT = WriteOptions(key=("id",))
POLARS_TUNED = {"batch_size": 10_000, "count_hint": 2000}


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    absent: list[str] = []
    versions: dict[str, object] = {}
    with server.start() as running, ExitStack() as stack:
        url = running.url
        cpu = ServerCpu(url)
        data = table_of(rows)
        write_ours(url, data.take(pa.array(np.random.default_rng(1).permutation(rows))))
        contenders: dict[str, Contender] = {}
        if shutil.which("redis-benchmark"):
            contenders |= server.limits(running.port, rows)
        else:
            absent.append("redis-benchmark")
        contenders["scan_limit"] = cpu.metered("scan_limit", lambda: server.scan_alone(url))
        contenders["read"] = cpu.metered("read", lambda: read_ours(url))
        contenders |= {name: cpu.metered(name, work) for name, work in writes(url, data).items()}
        contenders["write_redis_py"] = write_redis_py(url, data)
        if importlib.util.find_spec("polars_redis"):
            contenders["read_polars_redis"] = timed(lambda: read_polars_redis(url, rows))
            contenders["read_polars_redis_tuned"] = timed(
                lambda: read_polars_redis(url, rows, **POLARS_TUNED)
            )
        else:
            absent.append("polars-redis")
        through_spark = stack.enter_context(spark_work.ours(url, data))
        contenders |= {name: cpu.metered(name, work) for name, work in through_spark.items()}
        if not through_spark:
            absent.append("pyspark")
        if settings.peers and spark_work.has_spark_redis(settings.peers):
            peer = stack.enter_context(spark_work.spark_redis(settings.peers, running.port, data))
            contenders |= peer.contenders()
            versions = peer.asked.versions
        else:
            absent.append("spark-redis")
        figures = in_turn(contenders, settings.repeats)
        return {
            "server": server.name_of(url),
            "spark-redis": versions,
            "rows": rows,
            "figures": figures,
            "ratios": ratios(figures),
            "server_cpu": cpu.figures(settings.repeats),
            "read_worker": worker_memory(url),
            "absent": absent,
        }


def ratios(figures: dict[str, dict[str, object]]) -> dict[str, float]:
    """Ours over each limit and peer that ran.

    ``scan + hmget`` is the limit of doing one after the other.
    """
    rates = {name: rate(figures, name) for name in figures}
    if "hmget_limit" in rates:
        rates["scan + hmget"] = 1 / (1 / rates["hmget_limit"] + 1 / rates["scan_limit"])
    against = {
        "read": (
            "hmget_limit",
            "scan + hmget",
            "read_polars_redis",
            "read_polars_redis_tuned",
        ),
        "write": ("hset_limit", "write_redis_py"),
        "write_replace": ("hset_limit",),
        "write_overwrite": ("hset_limit",),
        "write_row_ttl": ("hset_limit",),
        "spark_read": (
            "hmget_limit",
            "scan + hmget",
            "read_spark_redis",
            "read_spark_redis_defaults",
        ),
        "spark_write": ("hset_limit", "write_spark_redis", "write_spark_redis_defaults"),
    }
    return {
        f"{mine} / {other}": round(rates[mine] / rates[other], 2)
        for mine, others in against.items()
        for other in others
        if mine in rates and other in rates
    }


def read_ours(url: str) -> int:
    with open_store(url) as store:
        return int(read_all(store.source(TABLE)).num_rows)


def write_ours(url: str, data: pa.Table, options: WriteOptions = UPSERT) -> int:
    with open_store(url) as store:
        return store.write(TABLE, data.to_batches(BATCH_ROWS), options).rows


def writes(url: str, data: pa.Table) -> dict[str, Callable[[], int]]:
    """The ways to write.

    Rows that expire go to the server's database 1, as a key's expiry costs those who read it too.
    """
    expiring = data.append_column("ttl", pa.array(np.arange(data.num_rows) % 1000 + 86_400))
    elsewhere = url.rpartition("/")[0] + "/1"
    return {
        "write": lambda: write_ours(url, data),
        "write_replace": lambda: write_ours(url, data, replace(UPSERT, fields=WriteFields.REPLACE)),
        "write_overwrite": lambda: write_ours(url, data, replace(UPSERT, mode=WriteMode.OVERWRITE)),
        "write_row_ttl": lambda: write_ours(elsewhere, expiring, replace(UPSERT, ttl_column="ttl")),
    }


def worker_memory(url: str) -> dict[str, object]:
    """Peak memory of a process that reads the table batch by batch, over its size when idle."""
    code = Path(__file__).with_name("worker.py")
    done = subprocess.run(
        [sys.executable, "-P", str(code), "read", url, TABLE],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found
