"""A driver whose tasks are copied, or lose their executor, when some of their rows are in the store.

    spark-submit retries_job.py copied|bereft MARKS [URL TABLE MODE]...

Every attempt of a task leaves a file in the directory MARKS, named by the table, the step of the query, the
partition, and a number of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

import spark_ext
from connector import open_store

FIRST, STOP = 25, 1025
BATCH = 25
TROUBLE_AT = 5  # batches
WIDE = "repeat('x', 4000) wide"  # Spark hands on what fills a buffer of 64 KiB
_PATIENCE = 120  # seconds

Batches = Iterator[pa.RecordBatch]


def await_written(url: str, table: str, batch: pa.RecordBatch) -> None:
    """Return when the first row of a batch is in the table, by its name."""
    deadline = time.monotonic() + _PATIENCE
    with open_store(url) as store:
        while store.lookup(table, batch.column("id")[:1], ["name"])["name"][0] != batch["name"][0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no row was written within {_PATIENCE} seconds")
            time.sleep(0.02)


def _attempt(marks: Path, table: str, step: str) -> str:
    """Leave the mark of this attempt; gives the partition, and which attempt at it this is."""
    task = TaskContext.get()
    assert task is not None
    (marks / f"{table}.{step}.{task.partitionId()}.{task.taskAttemptId()}").touch()
    return f"{task.partitionId()}.{task.attemptNumber()}"


def _first(marks: Path, table: str) -> bool:
    """Whether nothing has happened to this table yet."""
    try:
        (marks / f"{table}.trouble").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def copied(marks: Path, url: str, table: str, batches: Batches) -> Batches:
    """The first attempt of partition 0 stands still until its copy has passed on all of its rows."""
    attempt = _attempt(marks, table, "write")
    ended = marks / f"{table}.ended"
    first = next(batches)
    yield first
    for i, batch in enumerate(batches):
        if i == TROUBLE_AT and attempt == "0.0":
            await_written(url, table, first)
            deadline = time.monotonic() + _PATIENCE
            while not ended.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        yield batch
    if attempt == "0.1":
        ended.touch()


def bereft(marks: Path, url: str, table: str, batches: Batches) -> Batches:
    """An attempt of partition 0 kills its executor, and with it what the executor has shuffled."""
    attempt = _attempt(marks, table, "write")
    first = next(batches)
    yield first
    for i, batch in enumerate(batches):
        if i == TROUBLE_AT and attempt.startswith("0.") and _first(marks, table):
            await_written(url, table, first)
            os.kill(
                _parent(os.getppid()), signal.SIGKILL
            )  # the parent of the daemon that forked us
            time.sleep(_PATIENCE)
        yield batch


def shuffled(marks: Path, table: str, batches: Batches) -> Batches:
    """Mark the tasks before the shuffle."""
    _attempt(marks, table, "shuffle")
    yield from batches


def _parent(process: int) -> int:
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
    return int(after_name.split()[1])


def main(case: str, marks: str, *targets: str) -> None:
    trouble: Callable[[Path, str, str, Batches], Batches] = {"copied": copied, "bereft": bereft}[
        case
    ]
    builder = SparkSession.builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH)
    with spark_ext.configure(builder).getOrCreate() as spark:
        for url, table, mode in zip(targets[::3], targets[1::3], targets[2::3]):
            rows = spark.range(FIRST, STOP, 1, 2).selectExpr(
                "id", "concat('name ', id) name", "cast(id as int) n", WIDE
            )
            if case == "bereft":
                marked = rows.mapInArrow(partial(shuffled, Path(marks), table), rows.schema)
                rows = marked.repartition(2, "id")
            troubled = rows.mapInArrow(partial(trouble, Path(marks), url, table), rows.schema)
            spark_ext.write(troubled, url, table, key="id", mode=mode)


if __name__ == "__main__":
    main(*sys.argv[1:])
