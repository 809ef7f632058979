"""Micro-batches appended to Redis Streams, with IDs that the server draws: each row once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import WriterCommitMessage

from connector.codecs import encode_keys, stored_type
from connector.errors import OptionError, SchemaError, StoreError
from connector.jobs import WriteJob, WriteMode, WriteOptions
from connector.redis import saved
from connector.redis.keyspace import Keyspace
from connector.redis.models.streams import ENTRY
from connector.redis.options import ModelName, RedisOptions
from connector.redis.streams.appending import Mark, append_rows
from connector.redis.streams.connected import connected
from connector.schema import conform
from spark_ext.messages import concise
from spark_ext.options import TableOptions
from spark_ext.pool import pooled
from spark_ext.streaming.options import StreamOptions
from spark_ext.streaming.versions import ArrowStreamWriter
from spark_ext.written import audible

log = logging.getLogger(__name__)

_QUERY = "sql.streaming.queryId"  # local properties that Spark sets for the tasks of a micro-batch
_BATCH = "streaming.sql.batchId"


@dataclass(frozen=True)
class Destination:
    """Where rows go.

    Attributes:
        label: the table or the stream, for messages.
        schema: of the rows.
        stream: the one stream they all go to; None where their key names it.
        job: a job on the table whose streams they go to; None where they go to one stream.
    """

    label: str
    schema: pa.Schema
    stream: str | None
    job: WriteJob | None

    def split(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.RecordBatch]:
        """The stream of each row of a batch, and what is appended to it."""
        if self.job is None:
            keys = pa.repeat(pa.scalar(str(self.stream).encode(), pa.binary()), batch.num_rows)
            return keys, batch
        key = self.job.key
        names = encode_keys([batch.column(name) for name in key], key)
        if names.null_count:
            raise SchemaError(
                f"table {self.label!r}: {names.null_count} of {len(names)} rows have no key, which "
                f"names their stream"
            )
        columns = [name for name in batch.schema.names if name not in key]
        return Keyspace.of_table(self.label).keys(names), batch.select(columns)


def destination(
    table: TableOptions,
    streams: StreamOptions,
    store: RedisOptions,
    rows: pa.Schema,
    how: WriteOptions,
) -> Destination:
    """Where the options send rows: to one stream, or to those of a table, as their key says.

    Raises:
        OptionError: the options name no stream, or ask for what a stream cannot do.
        SchemaError: a column cannot be stored, or does not fit the table.
    """
    if how.mode is WriteMode.OVERWRITE:
        raise OptionError("output mode complete cannot be: entries of a stream are not replaced")
    if how != WriteOptions(key=how.key):
        raise OptionError(
            "entries that are appended neither expire nor replace others, and none is rejected: leave out "
            "the options 'ttl', 'write.mode', 'write.fields', 'schema.evolution' and 'reject.path'"
        )
    if streams.streams is not None:
        if len(streams.streams) > 1 or table.table is not None or how.key:
            raise OptionError(
                "option 'streams' names the one stream to append to; for several give options 'table' "
                "and 'key.column', which names the stream of each row"
            )
        return _one_stream(streams.streams[0], rows)
    if table.table is None:
        raise OptionError("option 'table' is missing: name of the table, or of the stream")
    if not how.key and saved.load(connected(store), table.table) is None:
        return _one_stream(table.table, rows)
    with_id = rows.append(pa.field(ENTRY, pa.string()))
    job = pooled("redis", replace(store, model=ModelName.STREAM)).begin(table.table, with_id, how)
    own = pa.schema([item for item in job.schema if item.name != ENTRY])
    return Destination(table.table, own, None, job)


def _one_stream(stream: str, rows: pa.Schema) -> Destination:
    stored = pa.schema([item.with_type(stored_type(item.name, item.type)) for item in rows])
    return Destination(stream, stored, stream, None)


@dataclass
class AppendedPart(WriterCommitMessage):
    """What one task appended: of so many rows, those that were not there yet."""

    rows: int
    new: int


class AppendStreamWriter(ArrowStreamWriter):  # type: ignore[misc]
    """Appends each micro-batch; rows of a batch that were appended before a crash are passed over."""

    def __init__(self, options: RedisOptions, to: Destination, replay_seconds: int) -> None:
        self._options = options
        self._to = to
        self._replay_seconds = replay_seconds

    def write(self, iterator: Iterator[pa.RecordBatch]) -> AppendedPart:
        """Append one partition of the batch, in a task."""
        task = TaskContext.get()
        assert task is not None
        query, batch = task.getLocalProperty(_QUERY), task.getLocalProperty(_BATCH)
        if query is None or batch is None:
            raise StoreError(
                f"appending to {self._to.label!r}: Spark did not tell which batch this is, so that a "
                f"replayed one could not be told from a new one"
            )
        mark = Mark(query, int(batch), task.partitionId(), self._replay_seconds)
        rows = (conform(each, self._to.schema) for each in iterator if each.num_rows)
        split = (self._to.split(each) for each in rows)
        return AppendedPart(*append_rows(self._to.label, mark, self._options, split))

    @concise
    def commit(self, messages: Sequence[WriterCommitMessage | None], batchId: int) -> None:
        """Save the table's schema; the marks stay until a later batch has its own."""
        parts = [message for message in messages if isinstance(message, AppendedPart)]
        if self._to.job is not None:
            pooled("redis", replace(self._options, model=ModelName.STREAM)).commit(self._to.job, [])
        rows, new = sum(part.rows for part in parts), sum(part.new for part in parts)
        audible(log)
        log.info(
            "appended %d rows of batch %d to %r; %d were there",
            new,
            batchId,
            self._to.label,
            rows - new,
        )

    @concise
    def abort(self, messages: Sequence[WriterCommitMessage | None], batchId: int) -> None:
        """Leave what was appended: the batch goes on behind it when the query is started again."""
        audible(log)
        log.warning("appending batch %d to %r was aborted", batchId, self._to.label)
