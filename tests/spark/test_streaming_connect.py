"""Streaming queries over Spark Connect, in a process of their own: a process has one kind of session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import spark_tables
from pyspark.sql import SparkSession
from servers import Server

from spark_ext.streaming.versions import HAS_LIMITS

DRIVER = Path(__file__).with_name("streaming_connect.py")
SECONDS = 600


@pytest.mark.usefixtures("connect_port")
@pytest.mark.timeout(SECONDS + 60)
def test_sources_joins_and_sinks(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    stream, url, raw = f"{table}in", redis_server.url, redis_server.raw
    command = [sys.executable, str(DRIVER), redis_server.url, stream, url, table, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr[-5000:]
    sizes = json.loads(done.stdout.splitlines()[-1])
    assert sizes == {name: [[300], [100], [100]] for name in ("rows", "counts", "log")}

    def rows(name: str) -> list[tuple[object, ...]]:
        return sorted(map(tuple, spark_tables.load(spark, url, name).collect()))

    assert rows(table) == [(n, f"name {n}", f"even {n}") for n in range(0, 400, 2)]
    assert rows(f"{table}counts") == [(k, 80) for k in range(5)]
    appended = [fields for _, fields in raw.xrange(f"{stream}log")]
    assert sorted(int(fields[b"id"]) for fields in appended) == list(range(400))
    (group,) = raw.xinfo_groups(stream)
    # An old Spark tells of a batch that is done when it begins the next one.
    assert (group["lag"], group["pending"]) == (0 if HAS_LIMITS else 100, 0)
