"""What tasks have written, counted as it passes by, and told in a line."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import WriterCommitMessage

from connector.errors import StoreError
from connector.jobs import WriteJob, WriteResult

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass
class Written(WriterCommitMessage):
    """What one task wrote.

    Attributes:
        result: what the store made of its rows.
        batches: how many record batches Spark handed over.
        bytes: how large they were, as Arrow columns.
        partition: which part of the DataFrame it was.
        attempt: 0, or more where an attempt before had failed or was too slow for speculation.
    """

    result: WriteResult
    batches: int = 0
    bytes: int = 0
    partition: int = 0
    attempt: int = 0


class Passing:
    """Batches on their way into a store; how much has passed so far is in the attributes."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._left = iter(batches)
        self.batches = self.rows = self.bytes = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._left:
            self.batches += 1
            self.rows += batch.num_rows
            self.bytes += batch.nbytes
            yield batch


def written(job: WriteJob, passed: Passing, result: WriteResult) -> Written:
    """What a task tells of its rows, each of which the store must account for.

    Raises:
        StoreError: the store lost count of rows, so that some may not be written.
    """
    told = result.rows + result.skipped + result.rejected
    if told != passed.rows and not result.rejected:  # a key is rejected once, for all its rows
        raise StoreError(
            f"writing table {job.table!r}: of {passed.rows} rows of a task the store accounts for {told}; "
            f"nothing was deleted, write again"
        )
    task = TaskContext.get()
    partition, attempt = (task.partitionId(), task.attemptNumber()) if task else (0, 0)
    return Written(result, passed.batches, passed.bytes, partition, attempt)


def tell(log: logging.Logger, job: WriteJob, tasks: Sequence[Written]) -> None:
    """Log what a job has written: one line, a warning where rows were rejected; for debugging each task."""
    for each in tasks:
        log.debug("task %d, attempt %d: %s", each.partition, each.attempt, summary(job, [each]))
    rejected = any(each.result.rejected for each in tasks)
    log.log(logging.WARNING if rejected else logging.INFO, summary(job, tasks))


def summary(job: WriteJob, tasks: Sequence[Written]) -> str:
    """How much these tasks wrote, in words."""
    again = sum(each.attempt > 0 for each in tasks)
    skipped = sum(each.result.skipped for each in tasks)
    rejected = sum(each.result.rejected for each in tasks)
    parts = [
        f"wrote {sum(each.result.rows for each in tasks)} rows to table {job.table!r}: "
        f"{len(tasks)} tasks, {sum(each.batches for each in tasks)} batches, "
        f"{sum(each.bytes for each in tasks)} bytes"
    ]
    if again:
        parts.append(f"{again} tasks took more than one attempt")
    if skipped:
        parts.append(f"{skipped} rows left out, as 'write.mode' is {job.options.rows.value!r}")
    if rejected:
        parts.append(f"{rejected} rows rejected by the server, named in {job.options.reject_path}")
    return "; ".join(parts)


def audible(log: logging.Logger) -> None:
    """Let a logger be heard in a process of Spark's, where nobody has configured logging.

    Spark passes on what such a process prints to its errors; a program's own handlers are left alone.
    """
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        log.addHandler(handler)
