"""Tables in a Redis or Valkey server: one hash a row."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector.batching import capped, gathered
from connector.codecs import encode, encode_keys, stored_type
from connector.errors import (
    OptionError,
    SchemaError,
    TableNotFoundError,
    WriteRejectedError,
)
from connector.options import url_location
from connector.redis import saved
from connector.redis.commands import Upsert, keyed_request, upsert
from connector.redis.cursor import CursorRange, node_ranges, scan_keys
from connector.redis.hashes import HashReader, ReadCounts
from connector.redis.link import Link, bulk_pool, reply_error, translated
from connector.redis.options import RedisOptions
from connector.scan import Partition, Scan
from connector.schema import (
    check_append,
    check_key,
    check_names,
    check_rows,
    conform,
    key_of,
    keyed,
)
from connector.store import Store, WriteJob, WriteMode, WriteOptions, WriteResult

_KEYS = pa.schema([("key", pa.binary())])
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")
_COMMIT_KEYS = (
    1 << 18
)  # least keys to look up at once: each look-up hashes all written keys

log = logging.getLogger(__name__)


class RedisStore(Store):
    """Tables in a standalone Redis or Valkey server.

    Row ``k`` of table ``t`` is the hash ``t:k``; its fields are the columns, null ones left out. The
    table's schema is saved under ``_kvlake:schema:t`` at the first write.
    """

    options_class = RedisOptions

    def __init__(self, options: RedisOptions) -> None:
        self._options = options

    def __getstate__(self) -> dict[str, Any]:
        return {"_options": self._options}  # connections do not travel

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
            return node_ranges(self._client, parts)

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, CursorRange)
        doing = f"reading partition {partition.index} of table {scan.table!r} from {self.location}"
        with contextlib.ExitStack() as links:
            keys = links.enter_context(Link(self._pool, doing))
            rows = links.enter_context(Link(self._pool, doing))
            reader = HashReader(
                scan=scan,
                prefix=_prefix(scan.table),
                link=rows,
                recheck=_once(lambda: links.enter_context(Link(self._pool, doing))),
                on_bad_field=self._options.on_bad_field,
                window_rows=min(self._options.max_pipeline_size, scan.batch_rows),
                window_bytes=min(self._options.max_pipeline_bytes, scan.batch_bytes),
            )
            pages = scan_keys(keys, partition, reader.prefix, self._options.scan_count)
            batches = gathered(reader.batches(pages), scan.batch_rows, scan.batch_bytes)
            yield from capped(batches, scan.batch_rows, scan.batch_bytes)
        _report(doing, reader.counts)

    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        saved.check_table(table)
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
            [
                item.with_type(stored_type(item.name, item.type)).remove_metadata()
                for item in schema
            ]
        )
        encode_keys([pa.array([], plain.field(name).type) for name in key], key)
        if stored is not None and options.mode is WriteMode.APPEND:
            check_append(table, stored, plain, key)
        return WriteJob(table, plain, key, options)

    def write_part(
        self, job: WriteJob, batches: Iterable[pa.RecordBatch]
    ) -> WriteResult:
        overwrite = job.options.mode is WriteMode.OVERWRITE
        rows, written = 0, []
        if not overwrite:
            self._save(job)
        with Link(
            self._pool, f"writing table {job.table!r} to {self.location}"
        ) as link:
            flying: deque[tuple[pa.Array, Upsert]] = deque()
            for keys, request in self._requests(job, batches):
                link.send(request.request)
                flying.append((keys, request))
                rows += len(keys)
                if overwrite:
                    written.append(_packed(keys))
                if len(flying) == 2:  # the server works on one while the next is built
                    _acknowledged(job, link, *flying.popleft())
            while flying:
                _acknowledged(job, link, *flying.popleft())
        return WriteResult(rows, tuple(written))

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        self._save(job)
        if job.options.mode is WriteMode.APPEND:
            return
        blocks = [_unpacked(block) for result in results for block in result.keys]
        written = pa.chunked_array(blocks, pa.binary())
        rows = sum(result.rows for result in results)
        if len(written) != rows:
            raise SchemaError(
                f"overwriting table {job.table!r}: the results name {len(written)} keys for {rows} "
                f"rows; nothing was deleted"
            )
        deleted = self._delete_others(job.table, written)
        log.info(
            "overwrote table %r with %d rows; %d old rows deleted",
            job.table,
            rows,
            deleted,
        )

    def abort(self, job: WriteJob) -> None:
        """Nothing to undo: an aborted job's rows stay, and no row was deleted."""

    def close(self) -> None:
        if "_pool" in self.__dict__:
            self._pool.disconnect()
            del self._pool
        self.__dict__.pop("_client", None)

    @cached_property
    def _pool(self) -> redis.ConnectionPool:
        options = self._options
        given = {"username": options.username, "password": options.password}
        return bulk_pool(
            options.url,
            socket_timeout=options.timeout,
            socket_connect_timeout=options.connect_timeout,
            **{name: value for name, value in given.items() if value is not None},
        )

    @cached_property
    def _client(self) -> redis.Redis:
        return redis.Redis(connection_pool=self._pool)

    def _saved(self, table: str) -> pa.Schema | None:
        saved.check_table(table)
        with translated(f"reading the schema of table {table!r} from {self.location}"):
            text = self._client.get(saved.schema_key(table))
        return None if text is None else saved.from_text(table, text)

    def _sample(self, table: str) -> list[Any]:
        try:
            return saved.sample_rows(
                self._client, _prefix(table), self._options.schema_sample
            )
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
            fresh = self._client.set(
                saved.schema_key(job.table), saved.to_text(schema), nx=append
            )
        if not fresh:
            stored = self._saved(job.table)
            if stored is not None:
                check_append(job.table, stored, schema, job.key)

    def _requests(
        self, job: WriteJob, batches: Iterable[pa.RecordBatch]
    ) -> Iterator[tuple[pa.Array, Upsert]]:
        """Keys of each piece of a batch, and the request that writes it."""
        prefix = pa.scalar(_prefix(job.table), pa.binary())
        names = [name for name in job.schema.names if name not in job.key]
        for whole in batches:
            fitted = conform(whole, job.schema)
            own = encode_keys([fitted.column(name) for name in job.key], job.key)
            check_rows(job.table, job.key, fitted, own)
            rows, limit = (
                self._options.max_pipeline_size,
                self._options.max_pipeline_bytes,
            )
            for batch in capped([fitted], rows, limit):
                part = encode_keys([batch.column(name) for name in job.key], job.key)
                keys = pc.binary_join_element_wise(prefix, part, b"")
                yield (
                    keys,
                    upsert(
                        keys,
                        [name.encode() for name in names],
                        [encode(name, batch.column(name)) for name in names],
                        ttl_seconds=job.options.ttl_seconds,
                        replace=job.options.mode is WriteMode.OVERWRITE,
                    ),
                )

    def _delete_others(self, table: str, written: pa.ChunkedArray) -> int:
        """Delete the table's rows whose keys were not written; return how many."""
        doing = f"deleting the old rows of table {table!r} in {self.location}"
        deleted = 0
        with Link(self._pool, doing) as scanning, Link(self._pool, doing) as deleting:
            pages = scan_keys(
                scanning, CursorRange(0), _prefix(table), self._options.scan_count
            )
            for keys in _chunked(pages, max(_COMMIT_KEYS, len(written))):
                stale = keys.filter(pc.invert(pc.is_in(keys, value_set=written)))
                for start in range(0, len(stale), self._options.max_pipeline_size):
                    some = stale.slice(start, self._options.max_pipeline_size)
                    deleting.send(keyed_request(b"UNLINK", some))
                    statuses = deleting.statuses(len(some))
                    _refuse(table, some, np.arange(len(some) + 1), statuses.errors)
                    deleted += int(statuses.numbers.sum())
        return deleted


def _prefix(table: str) -> bytes:
    return f"{table}:".encode()


def _once(make: Any) -> Any:
    """The result of ``make``, made at the first call."""
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get


def _acknowledged(job: WriteJob, link: Link, keys: pa.Array, request: Upsert) -> None:
    """Check every reply to a request."""
    queued = 0
    if job.options.mode is WriteMode.OVERWRITE:
        queued = 2 if job.options.ttl_seconds is None else 3
    statuses = link.statuses(int(request.replies[-1]), queued)
    _refuse(job.table, keys, request.replies, statuses.errors)


def _refuse(
    table: str, keys: pa.Array, replies: np.ndarray[Any, Any], errors: dict[int, str]
) -> None:
    if not errors:
        return
    rows = np.unique(np.searchsorted(replies, list(errors), side="right") - 1)
    text = next(iter(errors.values()))
    raise (reply_error(text) or WriteRejectedError)(
        f"writing table {table!r}: the server refused {len(rows)} of {len(keys)} rows of a request, "
        f"such as key {keys[int(rows[0])].as_py()!r}: {text}. Rows sent before them are stored; "
        f"writing again is safe"
    )


def _packed(keys: pa.Array) -> bytes:
    """Keys as compressed Arrow bytes: a few bytes a key where they are alike."""
    batch = pa.record_batch([keys], schema=_KEYS)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _KEYS, options=_COMPRESSED) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _unpacked(block: bytes) -> pa.Array:
    with pa.ipc.open_stream(block) as reader:
        return reader.read_all().column("key").combine_chunks()


def _chunked(pages: Iterable[pa.Array], keys: int) -> Iterator[pa.Array]:
    """Join pages to arrays of at least ``keys`` keys; the last may be shorter."""
    held: list[pa.Array] = []
    for page in pages:
        held.append(page)
        if sum(map(len, held)) >= keys:
            yield pa.concat_arrays(held)
            held = []
    if held:
        yield pa.concat_arrays(held)


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
