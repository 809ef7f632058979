"""Tables in Redis or Valkey: a server, a cluster, or what Sentinels watch."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import redis

from connector.errors import OptionError, SchemaError, TableNotFoundError
from connector.jobs import (
    SchemaEvolution,
    WriteJob,
    WriteMode,
    WriteOptions,
    WriteResult,
    chosen_key,
    chosen_ttl_column,
)
from connector.lookup import Keys, Lookup, encoded
from connector.reads import OnBadField
from connector.redis import saved
from connector.redis.arrow import index as arrow_index
from connector.redis.arrow.tables import ArrowTables
from connector.redis.caching import LookupCache
from connector.redis.counting import count_rows
from connector.redis.keyspace import Keyspace
from connector.redis.link import translated
from connector.redis.lookups import HashFinder, check_caching
from connector.redis.models import build, spec_for
from connector.redis.models.hashes import HashModel
from connector.redis.options import RedisOptions
from connector.redis.reading import METADATA, RedisCounts
from connector.redis.row_tables import RowTables
from connector.redis.servers import Servers, connect, has_command, single
from connector.redis.statistics import table_statistics
from connector.scan import Partition, Scan
from connector.schema import check_append, key_of
from connector.statistics import Statistics
from connector.store import Store, StoreSource

log = logging.getLogger(__name__)


class RedisStore(Store):
    """Tables in Redis or Valkey.

    Row ``k`` of table ``t`` lies under the key ``t:k``; how, is the model's to say; or the table is kept
    as record batches. The table's schema is saved under ``_kvlake:schema:t`` at the first write.

    Attributes:
        counts: what the reads of this store met in this process, of partitions read to the end.
    """

    options_class = RedisOptions
    metadata = METADATA

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._caches: dict[int, LookupCache] = {}
        self.counts = RedisCounts()

    def __reduce__(self) -> tuple[type[RedisStore], tuple[RedisOptions]]:
        return type(self), (self._options,)  # connections and counts do not travel

    @property
    def location(self) -> str:
        pattern = self._options.keys_pattern
        return self._options.location + (f"#{pattern}" if pattern else "")

    def schema(self, table: str, key: Sequence[str] = ()) -> pa.Schema:
        """The saved schema; without one, inferred from a sample, its key column named ``_id``."""
        if not (self._options.infer_schema or self._options.keys_pattern):
            found = self._saved(table, needed=False)
            if found is not None:
                self._spec(table, found)
                return found
        if len(key) > 1:
            raise SchemaError(
                f"table {table!r} has no saved schema, and one with several key columns cannot be "
                f"inferred; give the schema"
            )
        tables = self._tables(table)
        columns = None if isinstance(tables, ArrowTables) else tables.infer(table)
        if columns is None:
            raise TableNotFoundError(
                f"there is no table {table!r} in {self.location}: no saved schema, and no key is its own"
            )
        name = key[0] if key else saved.DEFAULT_KEY
        return saved.inferred(table, columns, name, self._spec(table))

    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        return self._tables(scan.table, scan.schema).plan(scan, parts)

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        return self._tables(scan.table, scan.schema).read(scan, partition)

    def count(self, scan: Scan, partition: Partition) -> int:
        """How many rows there are, without reading a value where there is neither filter nor limit."""
        tables = self._tables(scan.table, scan.schema)
        found = count_rows(tables, self._countable(scan), partition)
        return super().count(scan, partition) if found is None else found

    def statistics(self, scan: Scan) -> Statistics | None:
        """Exact of few keys and of record batches; else, from a sample of keys, rather too many rows.

        None where the servers do not tell this user, and where several rows lie under each of many keys.
        """
        return table_statistics(self._tables(scan.table, scan.schema), scan)

    def finds_by_key(self, scan: Scan) -> bool:
        return isinstance(self._tables(scan.table, scan.schema), RowTables)

    def row_key(self, scan: Scan) -> tuple[str, ...]:
        tables = self._tables(scan.table, scan.schema)
        apart = () if isinstance(tables, ArrowTables) else tables.apart
        return (*scan.key, *(name for name in apart if name not in scan.key))

    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        Keyspace.of_table(table)
        stored = self._saved(table)
        key = chosen_key(table, schema, options, stored)
        known = stored if options.mode is WriteMode.APPEND else None
        # An overwrite may choose another model, and keeps the table's where it does not.
        spec = self._spec(table, stored if known or self._options.model is None else None)
        if spec == arrow_index.SPEC:
            ttl = None
            plain = ArrowTables.check(table, schema.remove_metadata(), options, known)
        else:
            ttl = chosen_ttl_column(table, schema, key, options)
            kept = [item.remove_metadata() for item in schema if item.name != ttl]
            plain = build(spec).check(table, pa.schema(kept), key)
        if known is not None:
            check_append(table, known, plain, key, add=options.evolution is SchemaEvolution.ADD)
        if ttl is not None:
            plain = plain.append(schema.field(ttl).remove_metadata())
        job = WriteJob(table, saved.with_model(plain, spec), key, options, ttl)
        tables = self._tables(table, job.schema)
        if isinstance(tables, RowTables):
            tables.check(job, known)
        return job

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        return self._tables(job.table, job.schema).write_part(job, batches)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """End a job; an overwrite saves the schema, then deletes the rows that it did not write."""
        self._tables(job.table, job.schema).commit(job, results)

    def abort(self, job: WriteJob) -> None:
        """Undo nothing: rows stay, and none was deleted. Chunks that nobody sees are deleted."""
        self._tables(job.table, job.schema).abort(job)

    def delete(self, table: str, keys: Keys) -> int:
        schema = self.schema(table)
        names = encoded(keys, schema, key_of(schema))
        return self._tables(table, schema).delete(table, names.unique())

    def delete_matching(self, table: str, pattern: str) -> int:
        """Delete the rows whose keys, without the table's name, match a glob pattern.

        Args:
            table: name of the table.
            pattern: as the server's KEYS takes it, such as ``2013-*``.

        Returns:
            How many keys were deleted.
        """
        tables = self._tables(table, self._saved(table))
        if isinstance(tables, ArrowTables):
            raise OptionError(
                f"table {table!r} is of model 'arrow', whose rows have no keys of their own to match a "
                f"pattern; delete by key"
            )
        return tables.delete_all(Keyspace.of_table(table).narrowed(pattern), table)

    def drop(self, table: str) -> int:
        listed = self._arrow.drop(table)
        rows = listed or 0
        keys = self._rows(HashModel.spec).drop(table)
        key = saved.schema_key(table)
        with translated(f"dropping table {table!r} in {self.location}"):
            known = single(self._servers, key, lambda client: client.delete(key))
        if not (rows or keys or known):
            raise TableNotFoundError(f"there is no table {table!r} in {self.location}")
        return rows or keys

    @property
    def lookup_cache(self) -> LookupCache | None:
        """What this process keeps of lookups; None where option ``lookup.cache.rows`` is 0."""
        most, process = self._options.lookup_cache_rows, os.getpid()
        if most and process not in self._caches:
            doing = f"looking up rows in {self.location}"
            # A new dictionary: a child does not use what its parent has.
            self._caches = {
                process: LookupCache(most, lambda: self._servers.pool("", replica=True), doing)
            }
        return self._caches.get(process)

    def close(self) -> None:
        if cache := self._caches.get(os.getpid()):
            cache.close()
        if "_servers" in self.__dict__:
            self._servers.close()
            del self._servers

    def _countable(self, scan: Scan) -> Scan:
        dropping = self._options.on_bad_field is OnBadField.DROP  # for a value of any column
        return scan if dropping else super()._countable(scan)

    def _lookup(self, source: StoreSource) -> Lookup:
        table, columns = source.scan.table, source.scan.output.names
        spec = self._spec(table, source.scan.schema)
        with translated(f"looking up rows of table {table!r} in {self.location}"):
            check_caching(self._options, table, spec, self._servers)
        if spec != HashModel.spec or not set(columns).isdisjoint(METADATA.names):
            return super()._lookup(source)
        find = HashFinder(
            source=source,
            keyspace=self._rows(spec).keyspace(table),
            model=HashModel(),
            servers=lambda: self._servers,
            cache=lambda: self.lookup_cache,
            window_rows=self._options.max_pipeline_size,
            doing=f"looking up rows of table {table!r} in {self.location}",
        )
        return Lookup(source.scan, find)

    @functools.cached_property
    def _servers(self) -> Servers:
        return connect(self._options)

    @functools.cached_property
    def _has_json(self) -> bool:
        return has_command(self._servers, "JSON.GET")

    @property
    def _arrow(self) -> ArrowTables:
        return ArrowTables(lambda: self._servers, self._options, self.location, self.counts)

    def _rows(self, spec: str) -> RowTables:
        model, options = build(spec), self._options
        return RowTables(model, lambda: self._servers, options, self.location, self.counts)

    def _tables(self, table: str, schema: pa.Schema | None = None) -> ArrowTables | RowTables:
        """How a table is kept."""
        spec = self._spec(table, schema)
        return self._arrow if spec == arrow_index.SPEC else self._rows(spec)

    def _spec(self, table: str, schema: pa.Schema | None = None) -> str:
        """The model of a table: as its schema notes, or as the option says; hashes by default.

        Raises:
            SchemaError: the two contradict each other.
        """
        noted = None if schema is None else saved.model_of(schema)
        spec = spec_for(table, self._options, noted, lambda: self._has_json)
        if spec == arrow_index.SPEC and self._options.keys_pattern is not None:
            raise OptionError(
                f"table {table!r} is of model 'arrow', whose rows have no keys of their own to match a "
                f"pattern; drop option 'keys.pattern'"
            )
        return spec

    def _saved(self, table: str, *, needed: bool = True) -> pa.Schema | None:
        """The saved schema; none, where it is not needed, for a user who may not read it."""
        if self._options.keys_pattern is None:
            Keyspace.of_table(table)
        doing = f"reading the schema of table {table!r} from {self.location}"
        with translated(doing):
            try:
                return saved.load(self._servers, table)
            except redis.exceptions.NoPermissionError as error:
                if needed:
                    raise
                log.warning(
                    "%s: %s; the columns are inferred from a sample. Let the user read the key %s, or "
                    "give the schema",
                    doing,
                    error,
                    saved.schema_key(table).decode(),
                )
                return None
