"""Writing rows as hashes: requests in flight, every reply checked, keys kept for an overwrite."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.batching import capped
from connector.codecs import encode, encode_keys
from connector.errors import WriteRejectedError
from connector.redis.commands import Upsert, keyed_request, upsert
from connector.redis.link import Link, reply_error
from connector.redis.options import RedisOptions
from connector.schema import check_rows, conform
from connector.store import WriteJob, WriteMode, WriteResult

_AHEAD = 2  # requests in flight: the server works on one while the next is built
_KEYS = pa.schema([("key", pa.binary())])
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")
_COMMIT_KEYS = 1 << 18  # least keys to look up at once: each look-up hashes all written keys


def table_prefix(table: str) -> bytes:
    """What every key of a table's rows begins with."""
    return f"{table}:".encode()


def write_rows(
    link: Link, job: WriteJob, batches: Iterable[pa.RecordBatch], options: RedisOptions
) -> WriteResult:
    """Write a task's rows, and check that the server took each of them.

    Raises:
        SchemaError: a null key, one key twice in a batch, or a value that cannot be stored.
        WriteRejectedError: the server refused rows.
    """
    overwrite = job.options.mode is WriteMode.OVERWRITE
    rows, written = 0, []
    flying: deque[tuple[pa.Array, Upsert]] = deque()
    for keys, request in _requests(job, batches, options):
        link.send(request.request)
        flying.append((keys, request))
        rows += len(keys)
        if overwrite:
            written.append(packed(keys))
        if len(flying) == _AHEAD:
            _check(job, link, *flying.popleft())
    while flying:
        _check(job, link, *flying.popleft())
    return WriteResult(rows, tuple(written))


def _requests(
    job: WriteJob, batches: Iterable[pa.RecordBatch], options: RedisOptions
) -> Iterator[tuple[pa.Array, Upsert]]:
    """The keys of each piece of a batch, and the request that writes it."""
    prefix = pa.scalar(table_prefix(job.table), pa.binary())
    names = [name for name in job.schema.names if name not in job.key]
    for whole in batches:
        fitted = conform(whole, job.schema)
        own = encode_keys([fitted.column(name) for name in job.key], job.key)
        check_rows(job.table, job.key, fitted, own)
        start = 0
        for batch in capped([fitted], options.max_pipeline_size, options.max_pipeline_bytes):
            part = own.slice(start, batch.num_rows)
            start += batch.num_rows
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


def _check(job: WriteJob, link: Link, keys: pa.Array, request: Upsert) -> None:
    statuses = link.statuses(int(request.replies[-1]), request.queued)
    refuse(job.table, keys, request.replies, statuses.errors)


def refuse(
    table: str, keys: pa.Array, replies: np.ndarray[Any, Any], errors: dict[int, str]
) -> None:
    """Raise the error of a request in which the server refused rows, if it did.

    Args:
        table: for the message.
        keys: the key of each row.
        replies: the number of replies before each row's, and in all.
        errors: the replies that are errors.
    """
    if not errors:
        return
    rows = np.unique(np.searchsorted(replies, list(errors), side="right") - 1)
    text = next(iter(errors.values()))
    raise (reply_error(text) or WriteRejectedError)(
        f"writing table {table!r}: the server refused {len(rows)} of {len(keys)} rows of a request, "
        f"such as key {keys[int(rows[0])].as_py()!r}: {text}. Other rows of this write may be "
        f"stored; writing it again is safe"
    )


def delete_others(
    table: str,
    pages: Iterable[pa.Array],
    written: pa.ChunkedArray,
    deleting: Link,
    options: RedisOptions,
) -> int:
    """Delete the rows whose keys were not written, and return how many were.

    Args:
        table: for messages.
        pages: every key of the table.
        written: the keys to keep.
        deleting: the connection for deletes.
        options: sizes of requests.
    """
    deleted = 0
    for keys in _joined(pages, max(_COMMIT_KEYS, len(written))):
        stale = keys.filter(pc.invert(pc.is_in(keys, value_set=written)))
        for start in range(0, len(stale), options.max_pipeline_size):
            some = stale.slice(start, options.max_pipeline_size)
            deleting.send(keyed_request(b"UNLINK", some))
            statuses = deleting.statuses(len(some))
            refuse(table, some, np.arange(len(some) + 1), statuses.errors)
            deleted += int(statuses.numbers.sum())
    return deleted


def packed(keys: pa.Array) -> bytes:
    """Keys as compressed Arrow bytes: a few bytes a key where they are alike."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _KEYS, options=_COMPRESSED) as writer:
        writer.write_batch(pa.record_batch([keys], schema=_KEYS))
    return bytes(sink.getvalue())


def unpacked(blocks: Iterable[bytes]) -> pa.ChunkedArray:
    """The keys in all blocks that ``packed`` made."""
    chunks: list[pa.Array] = []
    for block in blocks:
        with pa.ipc.open_stream(block) as reader:
            chunks += reader.read_all().column("key").chunks
    return pa.chunked_array(chunks, pa.binary())


def _joined(pages: Iterable[pa.Array], keys: int) -> Iterator[pa.Array]:
    """Join pages to arrays of at least ``keys`` keys; the last may be shorter."""
    held: list[pa.Array] = []
    count = 0
    for page in pages:
        held.append(page)
        count += len(page)
        if count >= keys:
            yield pa.concat_arrays(held)
            held, count = [], 0
    if held:
        yield pa.concat_arrays(held)
