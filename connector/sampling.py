"""Samples of rows by their keys: the same rows, however a table is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

_HASHES = 1 << 32

Rows = np.ndarray[Any, np.dtype[np.int64]]


def sampled(keys: pa.Array, share: float) -> pa.BooleanArray:
    """Which keys are in a sample of this share: those whose hashes are small enough."""
    return pa.array(key_hashes(keys) < share * _HASHES)


def key_hashes(keys: pa.Array) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """An even hash of each key, by FNV-1a.

    Args:
        keys: ``pa.binary()`` without nulls.

    Returns:
        Shape (len(keys),).
    """
    found = np.full(len(keys), 2166136261, np.uint32)
    for rows, octets in octets_of(keys):
        found[rows] = (found[rows] ^ octets) * np.uint32(16777619)
    found ^= found >> np.uint32(15)  # the last bytes of a key reach the upper bits only so
    found *= np.uint32(0x85EBCA6B)
    return found ^ (found >> np.uint32(13))


def octets_of(values: pa.Array) -> Iterator[tuple[Rows, np.ndarray[Any, np.dtype[np.uint8]]]]:
    """The first byte of every value, then the second, ...: which values have one, and the bytes."""
    _, places, data = values.buffers()
    ends = np.frombuffer(places, np.int32)[values.offset : values.offset + len(values) + 1]
    octets = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    at, stops = ends[:-1].astype(np.int64), ends[1:]
    left = np.flatnonzero(at < stops)
    while len(left):
        yield left, octets[at[left]]
        at[left] += 1
        left = left[at[left] < stops[left]]
