"""A store in this process's memory: the reference that others are held to, and for users' tests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from connector.batching import capped
from connector.codecs import encode_keys
from connector.errors import OptionError, TableNotFoundError
from connector.jobs import (
    SchemaEvolution,
    WriteJob,
    WriteMode,
    WriteOptions,
    WriteResult,
    WriteRows,
    chosen_key,
)
from connector.lookup import Keys, encoded
from connector.options import Options, option
from connector.scan import KeyList, Partition, Scan, even_ranges
from connector.schema import (
    check_append,
    check_rows,
    conform,
    key_of,
    keyed,
)
from connector.source import RowRange
from connector.statistics import Statistics, column_bytes
from connector.store import Store


@dataclass(frozen=True, kw_only=True, repr=False)
class MemoryOptions(Options):
    """Options of a store in memory."""

    url: str = option(doc="any `memory://` URL; it only names the store", default="memory://")


@dataclass(frozen=True)
class _Table:
    """Rows in order of first writing, and each row's encoded key."""

    rows: pa.Table
    names: pa.Array


class MemoryStore(Store):
    """Tables as Arrow data in this process.

    A pickled store carries its tables along: workers read what was there when they were started, and
    what they write stays with them. Rows do not expire, so a TTL is refused.
    """

    options_class = MemoryOptions

    def __init__(self, options: MemoryOptions | None = None) -> None:
        self._options = options or MemoryOptions()
        self._tables: dict[str, _Table] = {}
        self._staged: dict[str, _Table] = {}  # overwrites in progress, by job

    @property
    def location(self) -> str:
        return self._options.url

    def schema(self, table: str, key: Sequence[str] = ()) -> pa.Schema:
        return self._get(table).rows.schema

    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        rows = self._get(scan.table).rows.num_rows
        ranges = even_ranges(math.ceil(rows * (scan.sample or 1)), parts)
        return [RowRange(i, rows.start, rows.stop) for i, rows in enumerate(ranges)]

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        table = self._get(scan.table)
        wanted = scan.unfiltered
        if isinstance(partition, KeyList):
            place = pc.index_in(partition.names, value_set=table.names)
            rows = table.rows.take(place.drop_null())
        else:
            assert isinstance(partition, RowRange)
            rows = table.rows.slice(partition.start, partition.stop - partition.start)
        rows = rows.select(wanted.output.names).replace_schema_metadata(None)
        for whole in rows.to_batches(max_chunksize=scan.batch_rows):
            batch = scan.filtered(conform(whole, wanted.output))
            yield from capped([batch], scan.batch_rows, scan.batch_bytes)

    def statistics(self, scan: Scan) -> Statistics:
        """Exact, in rows and in bytes."""
        rows = self._get(scan.table).rows.num_rows
        everything = self.read(replace(scan, filter=None), RowRange(0, 0, rows))
        return Statistics(rows, column_bytes(scan.output, everything), exact=True)

    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        if options.ttl_seconds is not None or options.ttl_column is not None:
            raise OptionError(f"table {table!r}: rows in memory do not expire; leave out the ttl")
        stored = self._tables[table].rows.schema if table in self._tables else None
        key = chosen_key(table, schema, options, stored)
        if stored is not None and options.mode is WriteMode.APPEND:
            check_append(table, stored, schema, key, add=options.evolution is SchemaEvolution.ADD)
        return WriteJob(table, schema.remove_metadata(), key, options)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        tables = self._tables if job.options.mode is WriteMode.APPEND else self._staged
        name = job.table if job.options.mode is WriteMode.APPEND else job.id
        written = skipped = 0
        for given in batches:
            batch = conform(given, job.schema)
            names = encode_keys([batch.column(name) for name in job.key], job.key)
            check_rows(job.table, job.key, batch, names)
            old = _widened(tables.get(name, _empty(job)), job)
            chosen = _chosen(job, old, names)
            tables[name] = _upsert(old, batch.filter(chosen), names.filter(chosen), job.replaces)
            written += chosen.true_count
            skipped += len(chosen) - chosen.true_count
        return WriteResult(written, skipped=skipped)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        if job.options.mode is WriteMode.OVERWRITE:
            self._tables[job.table] = self._staged.pop(job.id, _empty(job))
        else:
            old = self._tables.get(job.table, _empty(job))
            self._tables[job.table] = _widened(old, job)

    def abort(self, job: WriteJob) -> None:
        self._staged.pop(job.id, None)

    def delete(self, table: str, keys: Keys) -> int:
        old = self._get(table)
        names = encoded(keys, old.rows.schema, key_of(old.rows.schema))
        stay = pc.invert(pc.is_in(old.names, value_set=names))
        self._tables[table] = _Table(old.rows.filter(stay), old.names.filter(stay))
        return int(len(stay) - stay.true_count)

    def drop(self, table: str) -> int:
        rows = int(self._get(table).rows.num_rows)
        del self._tables[table]
        return rows

    def close(self) -> None:
        """Keeps the tables: they live as long as the store."""

    def _get(self, table: str) -> _Table:
        if table not in self._tables:
            raise TableNotFoundError(
                f"there is no table {table!r} in {self.location}; "
                f"there are {', '.join(sorted(self._tables)) or 'none'}"
            )
        return self._tables[table]


def _empty(job: WriteJob) -> _Table:
    return _Table(keyed(job.schema, job.key).empty_table(), pa.array([], pa.binary()))


def _widened(old: _Table, job: WriteJob) -> _Table:
    """The table with the columns that the job adds to it, all null."""
    rows = old.rows
    for item in job.schema:
        if item.name not in rows.schema.names:
            rows = rows.append_column(item, pa.nulls(rows.num_rows, item.type))
    return _Table(rows.replace_schema_metadata(old.rows.schema.metadata), old.names)


def _chosen(job: WriteJob, old: _Table, names: pa.Array) -> pa.BooleanArray:
    """Which rows of a batch are written."""
    known = pc.is_in(names, value_set=old.names)
    if job.options.rows is WriteRows.UPDATE:
        return known
    return pc.invert(known) if job.options.rows is WriteRows.INSERT else pc.true_unless_null(names)


def _upsert(old: _Table, batch: pa.RecordBatch, names: pa.Array, replace: bool) -> _Table:
    """Put the batch's rows in place of those with the same keys.

    Columns that the batch lacks are kept, or null where rows are replaced.
    """
    place = pc.index_in(names, value_set=old.names)
    columns = []
    for field in old.rows.schema:
        if batch.schema.get_field_index(field.name) >= 0:
            columns.append(pa.chunked_array([batch.column(field.name)]))
        elif replace:
            columns.append(pa.chunked_array([pa.nulls(len(names), field.type)]))
        else:
            columns.append(old.rows.column(field.name).take(place))
    fresh = pa.Table.from_arrays(columns, schema=old.rows.schema)
    stay = pc.invert(pc.is_in(old.names, value_set=names))
    return _Table(
        pa.concat_tables([old.rows.filter(stay), fresh]).combine_chunks(),
        pa.concat_arrays([old.names.filter(stay), names]),
    )
