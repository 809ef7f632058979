"""Publications that are killed in their middle, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aerospikes import Aerospike
from delta_tables import Delta, people, witnessed
from pyspark.sql import SparkSession
from servers import Server

from connector import open_store
from connector.errors import StoreError
from spark_ext.delta import PublishedChanges, publish, publish_changes
from spark_ext.delta.records import load

JOB = Path(__file__).with_name("publishing_job.py")
ROWS = 8_000
SECONDS = 240


def killed(what: str, delta: Delta, url: str, table: str, begun: Callable[[], bool]) -> None:
    """Publish in a process of its own, which is killed with its JVM when some rows are there."""
    command = [sys.executable, str(JOB), what, delta.path, url, table]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as job:
        end = time.monotonic() + SECONDS
        while not begun() and job.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        os.killpg(job.pid, signal.SIGKILL)
        said, _ = job.communicate()
    assert begun(), said
    assert "published" not in said
    time.sleep(1)  # a worker of Spark's may still write the batch that it has


def grown(delta: Delta) -> None:
    """People of version 1, of which version 2 has many more, and version 3 some less."""
    delta.create(100)
    people(delta.spark, 1000, 1000 + ROWS).repartition(40).write.format("delta").mode(
        "append"
    ).save(delta.path)
    delta.run("DELETE FROM people WHERE id < 50")


def test_a_killed_overwrite(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    grown(delta)
    url = redis_server.url
    publish(spark, delta.path, url, table, key="id", version=1)
    killed("whole", delta, url, table, lambda: redis_server.raw.dbsize() > 500)
    left = witnessed(redis_server, table)
    assert 400 < len(left) < ROWS
    assert {*range(100)} <= {*left}
    with pytest.raises(StoreError, match="being published at version 3, and that did not end"):
        publish_changes(spark, delta.path, url, table)
    assert publish(spark, delta.path, url, table).rows == ROWS + 50
    assert witnessed(redis_server, table) == delta.rows()


def test_killed_changes(
    spark: SparkSession, delta: Delta, aerospike_server: Aerospike, table: str
) -> None:
    grown(delta)
    url = aerospike_server.url
    publish(spark, delta.path, url, table, key="id", version=1)
    killed("changes", delta, url, table, lambda: len(witnessed(aerospike_server, table)) > 400)
    assert 400 < len(witnessed(aerospike_server, table)) < ROWS
    with open_store(url) as store:
        record = load(store, table)
    assert record is not None
    assert (record.version, record.reaching) == (1, 3)
    delta.run("UPDATE people SET name = 'later' WHERE id % 100 = 77")
    assert publish_changes(spark, delta.path, url, table) == PublishedChanges(1, 4, ROWS + 1, 50)
    assert witnessed(aerospike_server, table) == delta.rows()
