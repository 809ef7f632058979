"""Tables in a Redis or Valkey server: one hash a row."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import redis

from connector.batching import capped, gathered
from connector.codecs import stored_type
from connector.errors import (
    OptionError,
    SchemaError,
    TableNotFoundError,
)
from connector.options import url_location
from connector.redis import saved
from connector.redis.cursor import (
    CursorRange,
    check_run,
    check_standalone,
    node_ranges,
    scan_keys,
)
from connector.redis.hashes import HashReader, ReadCounts
from connector.redis.link import Link, bulk_pool, translated
from connector.redis.options import RedisOptions
from connector.redis.writing import delete_others, table_prefix, unpacked, write_rows
from connector.scan import Partition, Scan
from connector.schema import (
    check_append,
    check_key,
    check_names,
    key_of,
    keyed,
)
from connector.store import Store, WriteJob, WriteMode, WriteOptions, WriteResult

log = logging.getLogger(__name__)


class RedisStore(Store):
    """Tables in a standalone Redis or Valkey server.

    Row ``k`` of table ``t`` is the hash ``t:k``; its fields are the columns, null ones left out. The
    table's schema is saved under ``_kvlake:schema:t`` at the first write.

    Attributes:
        counts: what the reads of this store met in this process, of partitions read to the end.
    """

    options_class = RedisOptions

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self.counts = ReadCounts()

    def __reduce__(self) -> tuple[type[RedisStore], tuple[RedisOptions]]:
        return type(self), (self._options,)  # connections and counts do not travel

    @property
    def location(self) -> str:
        return url_location(self._options.url)

    def schema(self, table: str, key: Sequence[str] = ()) -> pa.Schema:
        """The saved schema; without one, inferred from a sample, its key column named ``_id``."""
        found = self._saved(table)
        if found is not None:
            return found
        if len(key) > 1:
            raise SchemaError(
                f"table {table!r} has no saved schema, and one with several key columns cannot be "
                f"inferred; give the schema"
            )
        with translated(f"looking at table {table!r} in {self.location}"):
            rows = self._sample(table)
        if not rows:
            raise TableNotFoundError(
                f"there is no table {table!r} in {self.location}: no saved schema, and no key "
                f"begins with '{table}:'"
            )
        return saved.inferred(table, rows, key[0] if key else saved.DEFAULT_KEY)

    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        saved.check_table(scan.table)
        with translated(f"planning table {scan.table!r} in {self.location}"):
            check_standalone(self._client)
            return node_ranges(self._client, parts)

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, CursorRange)
        doing = f"reading partition {partition.index} of table {scan.table!r} from {self.location}"
        with contextlib.ExitStack() as links:
            keys = links.enter_context(Link(self._pool, doing))
            with translated(doing):  # after connecting: a later restart breaks the connection
                check_run(self._client, partition)
            rows = links.enter_context(Link(self._pool, doing))
            reader = HashReader(
                scan=scan,
                prefix=table_prefix(scan.table),
                link=rows,
                recheck=functools.cache(lambda: links.enter_context(Link(self._pool, doing))),
                on_bad_field=self._options.on_bad_field,
                window_rows=min(self._options.max_pipeline_size, scan.batch_rows),
                window_bytes=min(self._options.max_pipeline_bytes, scan.batch_bytes),
            )
            pages = scan_keys(keys, partition, reader.prefix, self._options.scan_count)
            batches = gathered(reader.batches(pages), scan.batch_rows, scan.batch_bytes)
            yield from capped(batches, scan.batch_rows, scan.batch_bytes)
        self.counts.add(reader.counts)
        _report(doing, reader.counts)

    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        with translated(f"writing table {table!r} to {self.location}"):
            check_standalone(self._client)
        stored = self._saved(table)
        key = options.key or (key_of(stored) if stored is not None else ())
        if not key:
            raise OptionError(
                f"table {table!r} has no saved schema, so the columns that make its key must be "
                f"named: option 'key.column'"
            )
        check_names(table, schema)
        check_key(table, schema, key)
        plain = pa.schema(
            [item.with_type(stored_type(item.name, item.type)).remove_metadata() for item in schema]
        )
        if stored is not None and options.mode is WriteMode.APPEND:
            check_append(table, stored, plain, key)
        return WriteJob(table, plain, key, options)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        if job.options.mode is WriteMode.APPEND:
            self._save(job)
        with Link(self._pool, f"writing table {job.table!r} to {self.location}") as link:
            return write_rows(link, job, batches, self._options)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """Save the schema; then, for an overwrite, delete the rows that it did not write.

        Every task's result brings the keys that it wrote, compressed; they are held here at once.
        """
        rows = sum(result.rows for result in results)
        written = unpacked(block for result in results for block in result.keys)
        overwrite = job.options.mode is WriteMode.OVERWRITE
        if overwrite and len(written) != rows:
            raise SchemaError(
                f"overwriting table {job.table!r}: the results name {len(written)} keys for {rows} "
                f"rows; nothing was deleted"
            )
        self._save(job)
        if overwrite:
            deleted = self._delete_others(job.table, written)
            log.info("overwrote table %r: %d rows, %d old ones deleted", job.table, rows, deleted)

    def abort(self, job: WriteJob) -> None:
        """Nothing to undo: an aborted job's rows stay, and no row was deleted."""

    def close(self) -> None:
        if "_pool" in self.__dict__:
            self._pool.disconnect()
            del self._pool
        self.__dict__.pop("_client", None)

    @functools.cached_property
    def _pool(self) -> redis.ConnectionPool:
        options = self._options
        given = {"username": options.username, "password": options.password}
        return bulk_pool(
            options.url,
            socket_timeout=options.timeout,
            socket_connect_timeout=options.connect_timeout,
            **{name: value for name, value in given.items() if value is not None},
        )

    @functools.cached_property
    def _client(self) -> redis.Redis:
        return redis.Redis(connection_pool=self._pool)

    def _saved(self, table: str) -> pa.Schema | None:
        saved.check_table(table)
        with translated(f"reading the schema of table {table!r} from {self.location}"):
            text = self._client.get(saved.schema_key(table))
        return None if text is None else saved.from_text(table, text)

    def _sample(self, table: str) -> list[Any]:
        try:
            return saved.sample_rows(self._client, table_prefix(table), self._options.schema_sample)
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            raise SchemaError(
                f"table {table!r} in {self.location}: a key under '{table}:' holds no hash: {error}"
            ) from error

    def _save(self, job: WriteJob) -> None:
        """Save the job's schema: an append keeps one that is there, if it agrees."""
        schema = keyed(job.schema, job.key)
        append = job.options.mode is WriteMode.APPEND
        with translated(f"saving the schema of table {job.table!r} to {self.location}"):
            fresh = self._client.set(saved.schema_key(job.table), saved.to_text(schema), nx=append)
        if not fresh:
            stored = self._saved(job.table)
            if stored is not None:
                check_append(job.table, stored, schema, job.key)

    def _delete_others(self, table: str, written: pa.ChunkedArray) -> int:
        doing = f"deleting the old rows of table {table!r} in {self.location}"
        with Link(self._pool, doing) as scanning, Link(self._pool, doing) as deleting:
            count = self._options.scan_count
            pages = scan_keys(scanning, CursorRange(0), table_prefix(table), count)
            return delete_others(table, pages, written, deleting, self._options)


def _report(doing: str, counts: ReadCounts) -> None:
    """Say what was not handed on as it stood; silence is for reads without loss."""
    if counts.bad_fields or counts.dropped_rows:
        log.warning(
            "%s: %d rows; %d values did not parse and were read as null; %d rows left out",
            doing,
            counts.rows,
            counts.bad_fields,
            counts.dropped_rows,
        )
    elif counts.vanished:
        log.info(
            "%s: %d rows; %d keys had gone meanwhile",
            doing,
            counts.rows,
            counts.vanished,
        )
