"""Which slot of a cluster a key belongs to, for arrays of keys.

A key's slot is CRC16 (XMODEM) of the key modulo 16384; of a key with a hash tag, which is what stands
between its first ``{`` and the next ``}`` if that is not empty, of the tag alone. The rule is that of
the Redis Cluster specification.
"""

from __future__ import annotations

import base64
import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.sampling import octets_of

SLOTS = 16384
_POLYNOMIAL = 0x1021

Slots = np.ndarray[Any, np.dtype[np.uint16]]


def key_slots(keys: pa.Array) -> Slots:
    """The slot of each key.

    Args:
        keys: ``pa.binary()`` without nulls.

    Returns:
        Numbers from 0 to 16383; shape (len(keys),).
    """
    return crc16(hash_tags(keys)) % np.uint16(SLOTS)


def hash_tags(keys: pa.Array) -> pa.Array:
    """What of each key is hashed: its hash tag, or the whole key where it has none."""
    if not pc.any(pc.match_substring(keys, b"{")).as_py():
        return keys
    _, behind = _cut(keys, b"{")
    tags, rest = _cut(behind, b"}")
    tagged = pc.and_(rest.is_valid(), pc.greater(pc.binary_length(tags), 0))
    return pc.if_else(pc.fill_null(tagged, False), tags, keys)


def _cut(values: pa.Array, mark: bytes) -> tuple[pa.Array, pa.Array]:
    """What stands before the first ``mark``, and what behind it: null where there is no mark."""
    pieces = pc.split_pattern(values, mark, max_splits=1)
    ends = np.asarray(pieces.offsets)
    flat = pieces.values
    valid = np.asarray(pieces.is_valid())
    before = pa.array(ends[:-1], mask=~valid)
    behind = pa.array(ends[1:] - 1, mask=~valid | (np.diff(ends) < 2))
    return flat.take(before), flat.take(behind)


def crc16(values: pa.Array) -> Slots:
    """CRC16 (XMODEM) of each value."""
    table = _table()
    found = np.zeros(len(values), np.uint16)
    for rows, octets in octets_of(values):
        crc = found[rows]
        found[rows] = (crc << np.uint16(8)) ^ table[(crc >> np.uint16(8)).astype(np.uint8) ^ octets]
    return found


@functools.cache
def _table() -> Slots:
    """CRC16 of each single byte."""
    crc = np.arange(256, dtype=np.uint16) << np.uint16(8)
    for _ in range(8):
        top = (crc & 0x8000) != 0
        crc = np.where(top, (crc << np.uint16(1)) ^ np.uint16(_POLYNOMIAL), crc << np.uint16(1))
    return crc


@functools.cache
def slot_tags() -> tuple[bytes, ...]:
    """For each slot a short text that hashes to it: in braces, a tag that puts a key there."""
    numbers = (number.to_bytes(3, "big") for number in range(1 << 17))
    texts = pa.array([base64.b64encode(number) for number in numbers], pa.binary())
    _, first = np.unique(crc16(texts) % SLOTS, return_index=True)
    assert len(first) == SLOTS
    return tuple(texts.take(pa.array(first)).to_pylist())
