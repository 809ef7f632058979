"""Requests for whole batches of rows, built by array kernels: one buffer, ready to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Text: TypeAlias = "pa.Scalar | pa.Array"

_HEADERS = pa.array([b"$%d\r\n" % length for length in range(1000)])

PRESENT = b""
"""Name of the field by which a row lives that has nothing but nulls: a hash cannot be empty."""


def bulk(text: bytes) -> bytes:
    """One argument of a command."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def keyed_request(name: bytes, keys: pa.Array, arguments: Sequence[bytes] = ()) -> memoryview:
    """``name key argument ...`` for every key, with the same arguments for all."""
    opening = b"*%d\r\n%b" % (2 + len(arguments), bulk(name))
    closing = b"".join(bulk(argument) for argument in arguments)
    return _buffer(_joined([_const(opening), *_argument(keys), _const(closing)]))


@dataclass(frozen=True)
class Upsert:
    """A request that writes rows, and how its replies belong to them.

    Attributes:
        request: the bytes to send.
        replies: number of one-line replies before each row's, and in all; length rows + 1.
        queued: commands in each row's transaction; 0 where there is none.
    """

    request: memoryview
    replies: np.ndarray[Any, np.dtype[np.int64]]
    queued: int


def upsert(
    keys: pa.Array,
    names: Sequence[bytes],
    columns: Sequence[pa.Array],
    *,
    ttl_seconds: int | None,
    replace: bool,
) -> Upsert:
    """Write one hash for every row.

    A null deletes its field. The row is set before its null fields are deleted, so that it never
    is without any field. With ``replace`` nothing else is left in the hash: then each row is one
    transaction, as another client must not see the key missing.

    Args:
        keys: the hashes' keys, complete; ``pa.binary()`` without nulls.
        names: the fields' names.
        columns: the fields' stored bytes; ``pa.binary()``, with nulls.
        ttl_seconds: when the rows expire; None to leave their expiry as it is.
        replace: whether fields that ``names`` lacks are removed.
    """
    rows = len(keys)
    key = _joined(_argument(keys))
    nulls = np.zeros(rows, np.int64)
    for column in columns:
        if column.null_count:
            nulls += np.asarray(column.is_null())
    parts: list[Text] = _set_row(key, names, columns, nulls)
    commands = np.ones(rows, np.int64)
    if nulls.any() and not replace:
        parts.append(_delete_nulls(key, names, columns, nulls))
        commands += nulls > 0
    if ttl_seconds is not None:
        parts += [_const(b"*3\r\n$6\r\nEXPIRE\r\n"), key, _const(bulk(b"%d" % ttl_seconds))]
        commands += 1
    queued = 0
    if replace:
        opening = [_const(b"*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n"), key]
        parts = [*opening, *parts, _const(b"*1\r\n$4\r\nEXEC\r\n")]
        queued = int(commands[0]) + 1
        # MULTI's reply, one for each command as it is queued, EXEC's header, and one more for each.
        commands[:] = 2 + 2 * queued
    replies = np.concatenate([[0], np.cumsum(commands)])
    return Upsert(_buffer(_joined(parts)), replies, queued)


def _set_row(
    key: pa.Array,
    names: Sequence[bytes],
    columns: Sequence[pa.Array],
    nulls: np.ndarray[Any, Any],
) -> list[Text]:
    """HSET of the fields that are not null; of the field PRESENT where all of them are."""
    bare = nulls == len(columns)
    if nulls.any() or bare.any():
        counts = pa.array(2 + 2 * np.where(bare, 1, len(columns) - nulls)).cast(pa.string())
        opening: list[Text] = [
            _const(b"*"),
            counts.view(pa.binary()),
            _const(b"\r\n$4\r\nHSET\r\n"),
        ]
    else:
        opening = [_const(b"*%d\r\n$4\r\nHSET\r\n" % (2 + 2 * len(columns)))]
    parts = [*opening, key]
    for name, column in zip(names, columns, strict=True):
        if column.null_count:
            pair = _joined([_const(bulk(name)), *_argument(column)])
            parts.append(pc.if_else(column.is_valid(), pair, _const(b"")))
        else:
            parts += [_const(bulk(name)), *_argument(column)]
    if bare.any():
        parts.append(pc.if_else(pa.array(bare), _const(bulk(PRESENT) + bulk(b"")), _const(b"")))
    return parts


def _delete_nulls(
    key: pa.Array,
    names: Sequence[bytes],
    columns: Sequence[pa.Array],
    nulls: np.ndarray[Any, Any],
) -> pa.Array:
    """HDEL of the fields that are null; nothing for a row without."""
    counts = pa.array(2 + nulls).cast(pa.string()).view(pa.binary())
    parts: list[Text] = [_const(b"*"), counts, _const(b"\r\n$4\r\nHDEL\r\n"), key]
    for name, column in zip(names, columns, strict=True):
        if column.null_count:
            parts.append(pc.if_else(column.is_null(), _const(bulk(name)), _const(b"")))
    return pc.if_else(pa.array(nulls > 0), _joined(parts), _const(b""))


def _argument(values: pa.Array) -> list[Text]:
    """Each value as an argument: its length and its bytes."""
    lengths = pc.binary_length(values)
    ends = pc.min_max(lengths)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if high is None or high >= len(_HEADERS):
        texts = lengths.cast(pa.string()).view(pa.binary())
        return [_const(b"$"), texts, _const(b"\r\n"), values, _const(b"\r\n")]
    header = _HEADERS[low] if low == high else _HEADERS.take(lengths)
    return [header, values, _const(b"\r\n")]


def _const(text: bytes) -> pa.Scalar:
    return pa.scalar(text, pa.binary())


def _joined(parts: Sequence[Text]) -> pa.Array:
    """The texts of each row, one after the other; neighbouring constants are joined first."""
    merged: list[Text] = []
    for part in parts:
        if merged and isinstance(part, pa.Scalar) and isinstance(merged[-1], pa.Scalar):
            merged[-1] = _const(merged[-1].as_py() + part.as_py())
        else:
            merged.append(part)
    return pc.binary_join_element_wise(*merged, b"")


def _buffer(rows: pa.Array) -> memoryview:
    """The bytes of all rows: the array's own value buffer."""
    data = rows.buffers()[2]
    return memoryview(data) if data is not None else memoryview(b"")
