"""A DataFrame into a store: begun where the query is planned, written by tasks, ended on the driver."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

from connector.errors import StoreError
from connector.jobs import WriteJob, WriteResult
from connector.options import Options
from connector.schema import conform
from spark_ext.messages import concise
from spark_ext.pool import pooled

log = logging.getLogger(__name__)


@dataclass
class Written(WriterCommitMessage):
    """What one task wrote."""

    result: WriteResult


class StoreWriter(DataSourceArrowWriter):
    """Carries out one WriteJob. Spark may run a task again: a row written twice is written once.

    Batches go to the store as they come from Spark, ``spark.sql.execution.arrow.maxRecordsPerBatch``
    rows at most. So one key twice in a task is an error where both stand in one batch, and otherwise
    the later row wins; ``spark_ext.write(check_keys=True)`` looks through the whole DataFrame first.
    """

    def __init__(self, scheme: str, options: Options, job: WriteJob) -> None:
        self._scheme = scheme
        self._options = options
        self._job = job

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        """Write one partition of the DataFrame, in a task."""
        batches = (conform(batch, self._job.schema) for batch in iterator if batch.num_rows)
        return Written(pooled(self._scheme, self._options).write_part(self._job, batches))

    @concise
    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """End a job whose every task has written."""
        results = [message.result for message in messages if isinstance(message, Written)]
        if len(results) != len(messages):  # an overwrite would delete the rows of such a task
            raise StoreError(
                f"writing table {self._job.table!r}: {len(messages) - len(results)} of {len(messages)} "
                f"tasks did not say what they wrote; nothing was deleted, write again"
            )
        pooled(self._scheme, self._options).commit(self._job, results)
        log.info("wrote %d rows to table %r", sum(each.rows for each in results), self._job.table)

    @concise
    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """End a job of which a task has failed for good; the rows written so far stay."""
        pooled(self._scheme, self._options).abort(self._job)
        log.warning("writing table %r was aborted; rows written so far stay", self._job.table)
