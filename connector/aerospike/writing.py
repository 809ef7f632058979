"""Writing rows: requests of many records, every record's result checked."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from aerospike_helpers.batch.records import BatchRecords, Write

from connector.aerospike.choices import NullBins
from connector.aerospike.connecting import Connection, translated
from connector.aerospike.encoding import check_user_keys, row_operations
from connector.aerospike.jobs import RecordJob
from connector.aerospike.keys import DIGEST, addresses
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.policies import RowPolicies
from connector.aerospike.refusals import EXISTS, REASONS, check_request, failure, reason, rejection
from connector.aerospike.results import NOT_FOUND
from connector.aerospike.saved import has_key_bins
from connector.batching import capped
from connector.codecs import encode_keys
from connector.jobs import WriteResult, WriteRows
from connector.pace import Pace
from connector.rejects import RejectSink
from connector.schema import check_rows, conform

_REQUEST_BYTES = 16 << 20  # of column data; a server closes the connection above 128 MiB
_LEFT_OUT = {WriteRows.UPSERT: 0, WriteRows.INSERT: EXISTS, WriteRows.UPDATE: NOT_FOUND}


@dataclass(frozen=True)
class Request:
    """Rows that are written together.

    Attributes:
        rows: all their columns.
        names: their encoded keys.
    """

    rows: pa.RecordBatch
    names: pa.Array


class RecordWriter:
    """Writes the rows of one task.

    Args:
        job: what is written, and how.
        connection: to the cluster.
        options: of the store.
        doing: what is being done, for messages.
    """

    def __init__(
        self, job: RecordJob, connection: Connection, options: AerospikeOptions, doing: str
    ) -> None:
        self._job = job
        self._connection = connection
        self._options = options
        self._doing = doing
        names = dict(options.bin_names)
        self._bins = {column: names.get(column, column) for column in job.bin_columns}
        self._key = [job.schema.field(name) for name in job.key]
        send_key = not has_key_bins(job.schema) and job.key != (DIGEST,)
        self._policies = RowPolicies(job, options, send_key)
        self._nulls = not job.replaces and options.null_bins is NullBins.REMOVE
        self._rows = self._skipped = 0

    def write(self, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        """Write the batches, and check that the server took every row.

        Raises:
            SchemaError: a null key, one key twice in a batch, or a value that cannot be stored.
            WriteRejectedError: the server refused rows, and they may not be rejected.
        """
        job, options = self._job, self._job.options
        pace = Pace(self._options.records_per_second)
        with RejectSink(options.reject_path or "", options.reject_limit, job.table, job.id) as sink:
            for request in self._requests(batches):
                pace.wait(request.rows.num_rows)
                with uncollected():
                    self._take(request, self._send(request), sink)
        return WriteResult(self._rows, skipped=self._skipped, rejected=sink.rows)

    def _requests(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Request]:
        job = self._job
        for whole in batches:
            fitted = conform(whole, job.schema)
            names = encode_keys([fitted.column(name) for name in job.key], job.key)
            check_rows(job.table, job.key, fitted, names)
            check_user_keys(job.table, self._key, names)
            start = 0
            for piece in capped([fitted], self._options.batch_max, _REQUEST_BYTES):
                yield Request(piece, names.slice(start, piece.num_rows))
                start += piece.num_rows

    def _send(self, request: Request) -> BatchRecords:
        rows, namespace = request.rows, self._options.in_namespace
        keys = addresses(namespace, self._job.table, request.names, self._key)
        operations = row_operations(rows.select([*self._bins]), self._bins, nulls=self._nulls)
        policies, told = self._policies.of(rows)
        batch = BatchRecords([*map(Write, keys, operations, told, policies)])
        with translated(self._doing):
            self._connection.client.batch_write(batch, self._policies.request)
        return batch

    def _take(self, request: Request, batch: BatchRecords, sink: RejectSink) -> None:
        """Count what was written; raise or reject what was refused."""
        records = batch.batch_records
        codes = [record.result for record in records]
        failed = {row: code for row, code in enumerate(codes) if code} if any(codes) else {}
        check_request(self._doing, batch)
        left_out = _LEFT_OUT[self._job.options.rows]
        refused = {row: code for row, code in failed.items() if code != left_out}
        for row, code in refused.items():
            if code not in REASONS:
                raise failure(self._doing, code, records[row].message)
        self._skipped += len(failed) - len(refused)
        self._rows += len(codes) - len(failed)
        if refused and self._job.options.reject_path is None:
            raise rejection(self._doing, request.names, refused)
        if refused:
            sink.add({request.names[row].as_py(): reason(code) for row, code in refused.items()})


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Hold the garbage collector back: the objects of one request are many, and none is in a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
