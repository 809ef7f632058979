"""Where the index of an Arrow table lies: one record beside the table, replaced by its generation."""

from __future__ import annotations

from typing import Any

import aerospike
import pyarrow as pa
from aerospike import exception

from connector import saved_schema
from connector.aerospike.connecting import Connection
from connector.aerospike.saved import SET
from connector.arrow_tables.index import Chunk, Index
from connector.errors import StoreError

_SCHEMA, _CHUNKS, _FENCE = "schema", "chunks", "aborted"
_ABSENT = 0  # the generation of a record that is not there
_LISTED = pa.schema(
    [("name", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64()), ("crc32", pa.uint32())]
)
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


def index_key(namespace: str, table: str) -> tuple[str, str, str]:
    """The record with a table's index: outside of the table's own set."""
    return namespace, SET, f"chunks:{table}"


def load(connection: Connection, namespace: str, table: str) -> tuple[Index | None, int]:
    """The index of a table, None where there is none; and its generation.

    Raises:
        StoreError: it was damaged, or written by something else.
    """
    key = index_key(namespace, table)
    try:
        _, told, bins = connection.client.get(key)
    except exception.RecordNotFound:
        return None, _ABSENT
    if _SCHEMA not in bins:
        return None, told["gen"]
    what = f"the index of table {table!r}, saved as {key[2]!r} in set {SET!r},"
    schema, _ = saved_schema.from_text(bins[_SCHEMA], what)
    try:
        with pa.ipc.open_stream(bins[_CHUNKS]) as reader:
            rows = reader.read_all().select(_LISTED.names).to_pylist()
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise StoreError(f"{what} cannot be read: {error}; overwrite the table") from error
    return Index.of(schema, (Chunk(*row.values()) for row in rows)), told["gen"]


def swap(connection: Connection, namespace: str, table: str, before: int, index: Index) -> bool:
    """Put an index in place of the one of this generation, if that is still there."""
    policy: dict[str, Any] = {
        "key": aerospike.POLICY_KEY_SEND,
        "ttl": aerospike.TTL_NEVER_EXPIRE,
        "exists": aerospike.POLICY_EXISTS_CREATE,
    }
    if before != _ABSENT:
        policy |= {"exists": aerospike.POLICY_EXISTS_REPLACE, "gen": aerospike.POLICY_GEN_EQ}
    bins = {_SCHEMA: saved_schema.to_text(index.schema, {}), _CHUNKS: _listed(index)}
    key = index_key(namespace, table)
    try:
        connection.client.put(key, bins, meta={"gen": before}, policy=policy)
    except (
        exception.RecordExistsError,
        exception.RecordGenerationError,
        exception.RecordNotFound,
    ):
        return False
    except exception.RecordTooBig as error:
        raise StoreError(
            f"table {table!r}: the index of {len(index.chunks)} chunks is larger than a record may be; "
            f"let max-record-size of namespace {namespace!r} be more, or write larger chunks. Nothing "
            f"was changed"
        ) from error
    return True


def fence(connection: Connection, namespace: str, table: str) -> set[str]:
    """Make every swap fail that has begun and not ended; return the chunks that are listed then.

    Where there is no index, a record without one stays: it is what a swap fails by.
    """
    policy = {"key": aerospike.POLICY_KEY_SEND, "ttl": aerospike.TTL_NEVER_EXPIRE}
    connection.client.put(index_key(namespace, table), {_FENCE: 1}, policy=policy)
    index, _ = load(connection, namespace, table)
    return set() if index is None else {*index.chunks}


def forget(connection: Connection, namespace: str, table: str) -> None:
    """Delete the index."""
    try:
        connection.client.remove(index_key(namespace, table))
    except exception.RecordNotFound:
        return


def _listed(index: Index) -> bytes:
    """The chunks as compressed Arrow bytes: their names are alike."""
    chunks = index.chunks.values()
    columns = [
        [chunk.name for chunk in chunks],
        [chunk.rows for chunk in chunks],
        [chunk.size for chunk in chunks],
        [chunk.crc for chunk in chunks],
    ]
    arrays = [pa.array(each, item.type) for each, item in zip(columns, _LISTED, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _LISTED, options=_COMPRESSED) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=_LISTED))
    return bytes(sink.getvalue())
