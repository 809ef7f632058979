"""Requests for whole batches of rows, built by array kernels: one buffer, ready to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

Text: TypeAlias = "pa.Scalar | pa.Array"

_HEADERS = pa.array([b"$%d\r\n" % length for length in range(1000)])


def bulk(text: bytes) -> bytes:
    """One argument of a command."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def command(*words: bytes) -> memoryview:
    """One command."""
    return memoryview(b"*%d\r\n" % len(words) + b"".join(map(bulk, words)))


def keyed_request(name: bytes, keys: pa.Array, arguments: Sequence[bytes] = ()) -> memoryview:
    """``name key argument ...`` for every key, with the same arguments for all."""
    opening = b"*%d\r\n%b" % (2 + len(arguments), bulk(name))
    closing = b"".join(bulk(argument) for argument in arguments)
    return buffer(joined([const(opening), *argument(keys), const(closing)]))


def argument(values: pa.Array) -> list[Text]:
    """Each value as an argument: its length and its bytes."""
    lengths = pc.binary_length(values)
    ends = pc.min_max(lengths)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if high is None or high >= len(_HEADERS):
        texts = lengths.cast(pa.string()).view(pa.binary())
        return [const(b"$"), texts, const(b"\r\n"), values, const(b"\r\n")]
    header = _HEADERS[low] if low == high else _HEADERS.take(lengths)
    return [header, values, const(b"\r\n")]


def const(text: bytes) -> pa.Scalar:
    """The same text in every row."""
    return pa.scalar(text, pa.binary())


def joined(parts: Sequence[Text]) -> pa.Array:
    """The texts of each row, one after the other; neighbouring constants are joined first."""
    merged: list[Text] = []
    for part in parts:
        if merged and isinstance(part, pa.Scalar) and isinstance(merged[-1], pa.Scalar):
            merged[-1] = const(merged[-1].as_py() + part.as_py())
        else:
            merged.append(part)
    return pc.binary_join_element_wise(*merged, b"")


def buffer(rows: pa.Array) -> memoryview:
    """The bytes of all rows: the array's own value buffer."""
    data = rows.buffers()[2]
    return memoryview(data) if data is not None else memoryview(b"")
