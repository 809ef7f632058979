"""The tables that the Redis cases store."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

TABLE = "bench"
FIELDS = ("name", "qty", "price", "city", "total")
BATCH_ROWS = 16_384
KEY_DIGITS = 12
"""As redis-benchmark writes its random numbers."""

_STRIDE = 1_000_000_007


def table_of(rows: int) -> pa.Table:
    """All rows, their keys in random order, as redis-benchmark sends them."""
    return _table(np.random.default_rng(0).permutation(rows))


def batches_of(rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in another scattered order, made batch by batch.

    A prime above ``rows`` times every number, modulo ``rows``, meets each once: an order that takes
    no memory.
    """
    assert rows < _STRIDE
    for start in range(0, rows, BATCH_ROWS):
        number = np.arange(start, min(rows, start + BATCH_ROWS))
        yield from _table(number * _STRIDE % rows).to_batches()


def _table(number: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    names = pa.array([f"name-{i}" for i in range(1000)])
    cities = pa.array([f"city-{i}" for i in range(50)])
    return pa.table(
        {
            "id": _keys(number),
            "name": names.take(pa.array(number % 1000)),
            "qty": number % 10_000,
            "price": (number % 1000) * 0.25,
            "city": cities.take(pa.array(number % 50)),
            "total": number * 7,
        }
    )


def _keys(number: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    """The numbers in decimal with leading zeros, digit by digit."""
    digits = np.empty((len(number), KEY_DIGITS), np.uint8)
    for i in range(KEY_DIGITS):
        digits[:, -1 - i] = number // 10**i % 10 + ord("0")
    offsets = np.arange(0, digits.size + 1, KEY_DIGITS, dtype=np.int32)
    return pa.StringArray.from_buffers(len(number), pa.py_buffer(offsets), pa.py_buffer(digits))
