"""Micro-batches into tables, each as one write of its own: replayed after a crash it changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql.datasource import WriterCommitMessage

from connector.errors import StoreError
from connector.jobs import WriteJob
from connector.options import Options
from spark_ext.messages import concise
from spark_ext.pool import pooled
from spark_ext.streaming.versions import ArrowStreamWriter
from spark_ext.writer import StoreWriter
from spark_ext.written import Written, audible

log = logging.getLogger(__name__)


@dataclass
class WrittenPart(WriterCommitMessage):
    """What one task wrote, and of which job: Spark ends a batch by another writer than it began with."""

    job: WriteJob
    task: Written


class StoreStreamWriter(ArrowStreamWriter):  # type: ignore[misc]
    """Carries out one WriteJob for each micro-batch."""

    def __init__(self, scheme: str, options: Options, job: WriteJob) -> None:
        self._scheme = scheme
        self._options = options
        self._job = job

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WrittenPart:
        """Write one partition of the batch, in a task."""
        return WrittenPart(self._job, self._writer(self._job).write(iterator))

    @concise
    def commit(self, messages: Sequence[WriterCommitMessage | None], batchId: int) -> None:
        """End the job of a batch whose every task has written."""
        parts = [message for message in messages if isinstance(message, WrittenPart)]
        if len(parts) != len(messages) or not parts:  # complete mode would delete a task's rows
            raise StoreError(
                f"writing batch {batchId} to table {self._job.table!r}: "
                f"{len(messages) - len(parts)} of {len(messages)} tasks did not say what they wrote; "
                f"start the query again"
            )
        self._writer(parts[0].job).commit([part.task for part in parts])

    @concise
    def abort(self, messages: Sequence[WriterCommitMessage | None], batchId: int) -> None:
        """End the job of a batch of which a task has failed for good; rows written so far stay."""
        parts = [message for message in messages if isinstance(message, WrittenPart)]
        if parts:
            pooled(self._scheme, self._options).abort(parts[0].job)
        audible(log)
        log.warning(
            "writing batch %d to table %r was aborted; rows written so far stay, and are written again "
            "when the query is started again",
            batchId,
            self._job.table,
        )

    def _writer(self, job: WriteJob) -> StoreWriter:
        """What writes a job's rows in a batch query."""
        return StoreWriter(self._scheme, self._options, job)
