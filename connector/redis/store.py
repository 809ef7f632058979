"""Tables in Redis or Valkey: a server, a cluster, or what Sentinels watch."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import redis

from connector.batching import capped, gathered
from connector.errors import OptionError, SchemaError, TableNotFoundError
from connector.pace import Pace
from connector.redis import saved
from connector.redis.deleting import delete_keys, others
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace
from connector.redis.link import translated
from connector.redis.models import build, spec_of
from connector.redis.models.model import Model
from connector.redis.options import ModelName, OnBadKey, RedisOptions
from connector.redis.partitions import partition_keys, plan, whole
from connector.redis.reading import METADATA, TTL, ReadCounts, RowReader, is_wrong_type
from connector.redis.servers import Servers, connect, has_command, single
from connector.redis.writing import RowWriter
from connector.scan import Partition, Scan, unpack_keys
from connector.schema import check_append, check_key, check_names, key_of, keyed
from connector.store import (
    Keys,
    SchemaEvolution,
    Store,
    WriteJob,
    WriteMode,
    WriteOptions,
    WriteResult,
    encoded,
)

log = logging.getLogger(__name__)


class RedisStore(Store):
    """Tables in Redis or Valkey.

    Row ``k`` of table ``t`` lies under the key ``t:k``; how, is the model's to say. The table's
    schema is saved under ``_kvlake:schema:t`` at the first write.

    Attributes:
        counts: what the reads of this store met in this process, of partitions read to the end.
    """

    options_class = RedisOptions
    metadata = METADATA

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self.counts = ReadCounts()

    def __reduce__(self) -> tuple[type[RedisStore], tuple[RedisOptions]]:
        return type(self), (self._options,)  # connections and counts do not travel

    @property
    def location(self) -> str:
        pattern = self._options.keys_pattern
        return self._options.location + (f"#{pattern}" if pattern else "")

    def schema(self, table: str, key: Sequence[str] = ()) -> pa.Schema:
        """The saved schema; without one, inferred from a sample, its key column named ``_id``."""
        if not (self._options.infer_schema or self._options.keys_pattern):
            found = self._saved(table)
            if found is not None:
                self._model(table, found)
                return found
        if len(key) > 1:
            raise SchemaError(
                f"table {table!r} has no saved schema, and one with several key columns cannot be "
                f"inferred; give the schema"
            )
        keyspace, model = self._keyspace(table), self._model(table)
        doing = f"looking at table {table!r} in {self.location}"
        with translated(doing), Links(self._servers, doing, replica=True) as links:
            part = whole(self._servers, keyspace)
            pages = partition_keys(part, keyspace, self._servers, links, self._options, doing)
            try:
                rows = saved.sample(
                    self._servers,
                    model,
                    pages,
                    self._options.schema_sample,
                    skip_others=self._options.on_bad_key is OnBadKey.SKIP,
                )
            except redis.ResponseError as error:
                if not is_wrong_type(str(error)):
                    raise
                raise SchemaError(
                    f"{doing}: keys that match {keyspace.pattern!r} hold no {model.kinds[0]}: {error}; "
                    f"set option 'model' to what they hold, or on.bad.key to skip"
                ) from error
        if not rows:
            raise TableNotFoundError(
                f"there is no table {table!r} in {self.location}: no saved schema, and no key "
                f"matches {keyspace.pattern.decode(errors='replace')!r}"
            )
        columns = model.infer(table, rows)
        return saved.inferred(table, columns, key[0] if key else saved.DEFAULT_KEY, model.spec)

    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        keyspace = self._keyspace(scan.table)
        with translated(f"planning table {scan.table!r} in {self.location}"):
            return plan(self._servers, keyspace, parts, scan.sample or 1.0)

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        doing = f"reading partition {partition.index} of table {scan.table!r} from {self.location}"
        keyspace = self._keyspace(scan.table)
        pace = Pace(self._options.rows_per_second)
        with translated(doing):
            servers = self._servers
        with Links(servers, doing, replica=True) as links:
            model = self._model(scan.table, scan.schema)
            reader = RowReader(
                scan=scan.unfiltered,
                keyspace=keyspace,
                model=model,
                servers=servers,
                links=links,
                doing=doing,
                on_bad_field=self._options.on_bad_field,
                on_bad_key=self._options.on_bad_key,
                window_rows=min(self._options.max_pipeline_size, scan.batch_rows),
                window_bytes=min(self._options.max_pipeline_bytes, scan.batch_bytes),
            )
            pages = partition_keys(
                partition,
                keyspace,
                servers,
                links,
                self._options,
                doing,
                kind=model.kinds[0] if self._options.filter_keys_by_type else None,
            )
            wanted = (scan.filtered(batch) for batch in reader.batches(pages))
            batches = gathered(wanted, scan.batch_rows, scan.batch_bytes)
            for batch in capped(batches, scan.batch_rows, scan.batch_bytes):
                pace.wait(batch.num_rows)
                yield batch
        self.counts.add(reader.counts)
        _report(doing, reader.counts)

    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        self._keyspace(table)
        stored = self._saved(table)
        key = options.key or (key_of(stored) if stored is not None else ())
        if not key:
            raise OptionError(
                f"table {table!r} has no saved schema, so the columns that make its key must be "
                f"named: option 'key.column'"
            )
        check_names(table, schema)
        check_key(table, schema, key)
        ttl = options.ttl_column
        if ttl is None and TTL in schema.names and TTL not in key:
            ttl = TTL
        if ttl is not None:
            _check_ttl(table, schema, key, ttl, options)
        kept = pa.schema([item.remove_metadata() for item in schema if item.name != ttl])
        model = self._model(table, stored if options.mode is WriteMode.APPEND else None)
        plain = model.check(table, kept, key)
        if stored is not None and options.mode is WriteMode.APPEND:
            check_append(table, stored, plain, key, add=options.evolution is SchemaEvolution.ADD)
        if ttl is not None:
            plain = plain.append(schema.field(ttl).remove_metadata())
        return WriteJob(table, saved.with_model(plain, model.spec), key, options, ttl)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        if job.options.mode is WriteMode.APPEND:
            self._extend(job)
        doing = f"writing table {job.table!r} to {self.location}"
        with translated(doing):
            servers = self._servers
        keyspace = Keyspace.of_table(job.table)
        model = self._model(job.table, job.schema)
        return RowWriter(job, keyspace, model, servers, self._options, doing).write(batches)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """Save the schema; then, for an overwrite, delete the rows that it did not write.

        Every task's result brings the keys that it wrote, compressed; they are held here at once.
        """
        rows = sum(result.rows + result.rejected for result in results)
        written = unpack_keys(block for result in results for block in result.keys)
        if job.options.mode is WriteMode.APPEND:
            self._extend(job)
            return
        if len(written) != rows:
            raise SchemaError(
                f"overwriting table {job.table!r}: the results name {len(written)} keys for {rows} "
                f"rows; nothing was deleted"
            )
        with translated(f"saving the schema of table {job.table!r} to {self.location}"):
            saved.replace(self._servers, job.table, _saved_schema(job))
        deleted = self._delete(Keyspace.of_table(job.table), job.table, written)
        log.info("overwrote table %r: %d rows, %d old ones deleted", job.table, rows, deleted)

    def abort(self, job: WriteJob) -> None:
        """Nothing to undo: an aborted job's rows stay, and no row was deleted."""

    def delete(self, table: str, keys: Keys) -> int:
        schema = self.schema(table)
        names = encoded(keys, schema, key_of(schema))
        doing = f"deleting rows of table {table!r} in {self.location}"
        with translated(doing):
            servers = self._servers
        pages = [self._keyspace(table).keys(names.unique())]
        return delete_keys(table, pages, servers, doing, self._options.max_pipeline_size)

    def delete_matching(self, table: str, pattern: str) -> int:
        """Delete the rows whose keys, without the table's name, match a glob pattern.

        Args:
            table: name of the table.
            pattern: as the server's KEYS takes it, such as ``2013-*``.

        Returns:
            How many rows were deleted.
        """
        return self._delete(Keyspace.of_table(table).narrowed(pattern), table)

    def drop(self, table: str) -> int:
        rows = self.delete_matching(table, "*")
        key = saved.schema_key(table)
        with translated(f"dropping table {table!r} in {self.location}"):
            known = single(self._servers, key, lambda client: client.delete(key))
        if not (rows or known):
            raise TableNotFoundError(f"there is no table {table!r} in {self.location}")
        return rows

    def close(self) -> None:
        if "_servers" in self.__dict__:
            self._servers.close()
            del self._servers

    @functools.cached_property
    def _servers(self) -> Servers:
        return connect(self._options)

    def _model(self, table: str, schema: pa.Schema | None = None) -> Model:
        """How a table's rows lie: as its schema notes, or as the option says; as hashes by default.

        Raises:
            SchemaError: the two contradict each other.
        """
        noted = None if schema is None else saved.model_of(schema)
        asked = spec_of(self._options, lambda: has_command(self._servers, "JSON.GET"))
        if noted and asked and noted != asked:
            raise SchemaError(
                f"table {table!r} was written with model {noted!r}, and the options ask for {asked!r}; "
                f"leave option 'model' out, or write with mode overwrite"
            )
        return build(noted or asked or ModelName.HASH.value)

    def _keyspace(self, table: str) -> Keyspace:
        pattern = self._options.keys_pattern
        return Keyspace.of_table(table) if pattern is None else Keyspace.of_pattern(pattern)

    def _saved(self, table: str) -> pa.Schema | None:
        self._keyspace(table)
        with translated(f"reading the schema of table {table!r} from {self.location}"):
            return saved.load(self._servers, table)

    def _extend(self, job: WriteJob) -> None:
        add = job.options.evolution is SchemaEvolution.ADD
        with translated(f"saving the schema of table {job.table!r} to {self.location}"):
            saved.extend(self._servers, job.table, _saved_schema(job), add=add)

    def _delete(self, keyspace: Keyspace, table: str, spared: pa.ChunkedArray | None = None) -> int:
        """Delete a table's rows with these keys, but for those that are spared."""
        doing = f"deleting rows of table {table!r} in {self.location}"
        with translated(doing):
            servers = self._servers
        with Links(servers, doing) as links:
            part = whole(servers, keyspace)
            pages = partition_keys(part, keyspace, servers, links, self._options, doing)
            doomed = pages if spared is None else others(pages, spared)
            return delete_keys(table, doomed, servers, doing, self._options.max_pipeline_size)


def _saved_schema(job: WriteJob) -> pa.Schema:
    model = saved.model_of(job.schema)
    assert model is not None
    return saved.with_model(keyed(job.stored, job.key), model)


def _check_ttl(
    table: str, schema: pa.Schema, key: Sequence[str], column: str, options: WriteOptions
) -> None:
    if schema.get_field_index(column) < 0:
        raise SchemaError(f"table {table!r}: there is no column {column!r} to say when rows expire")
    if column in key:
        raise SchemaError(f"table {table!r}: key column {column!r} cannot say when rows expire")
    if options.ttl_seconds is not None:
        raise OptionError(
            f"table {table!r}: both a ttl for all rows and column {column!r} say when they expire; "
            f"drop one of them"
        )


def _report(doing: str, counts: ReadCounts) -> None:
    """Say what was not handed on as it stood; silence is for reads without loss."""
    if counts.bad_fields or counts.dropped_rows or counts.bad_keys:
        log.warning(
            "%s: %d rows; %d values did not parse and were read as null; %d rows left out; %d keys of "
            "other types skipped",
            doing,
            counts.rows,
            counts.bad_fields,
            counts.dropped_rows,
            counts.bad_keys,
        )
    elif counts.vanished:
        log.info(
            "%s: %d rows; %d keys had gone meanwhile",
            doing,
            counts.rows,
            counts.vanished,
        )
