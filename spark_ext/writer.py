"""A DataFrame into a store: begun where the query is planned, written by tasks, ended on the driver."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

from connector.errors import StoreError
from connector.jobs import WriteJob
from connector.options import Options
from connector.schema import conform
from spark_ext.messages import concise
from spark_ext.pool import pooled
from spark_ext.written import Passing, Written, audible, tell, written

log = logging.getLogger(__name__)


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

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a row."""
        return self._job.key

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        """Write one partition of the DataFrame, in a task."""
        passed = Passing(batch for batch in iterator if batch.num_rows)
        batches = (conform(batch, self._job.schema) for batch in passed)
        result = pooled(self._scheme, self._options).write_part(self._job, batches)
        return written(self._job, passed, result)

    @concise
    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """End a job whose every task has written."""
        tasks = [message for message in messages if isinstance(message, Written)]
        if len(tasks) != len(messages):  # an overwrite would delete the rows of such a task
            raise StoreError(
                f"writing table {self._job.table!r}: {len(messages) - len(tasks)} of {len(messages)} "
                f"tasks did not say what they wrote; nothing was deleted, write again"
            )
        store = pooled(self._scheme, self._options)
        store.commit(self._job, [each.result for each in tasks])
        audible(log)
        tell(log, self._job, tasks)

    @concise
    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """End a job of which a task has failed for good; the rows written so far stay."""
        pooled(self._scheme, self._options).abort(self._job)
        audible(log)
        log.warning("writing table %r was aborted; rows written so far stay", self._job.table)
