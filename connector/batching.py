"""Re-slicing record batches to caps of rows and bytes, without copying."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import pyarrow as pa


def capped(
    batches: Iterable[pa.RecordBatch], rows: int, limit_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Cut batches so that none is empty, longer than ``rows``, or larger than ``limit_bytes``.

    A single row larger than ``limit_bytes`` is handed on alone. Slices share the batch's memory.
    """
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield from _halved(batch.slice(start, rows), limit_bytes)


def _halved(batch: pa.RecordBatch, limit_bytes: int) -> Iterator[pa.RecordBatch]:
    if batch.num_rows <= 1 or batch.nbytes <= limit_bytes:
        yield batch
        return
    middle = batch.num_rows // 2
    yield from _halved(batch.slice(0, middle), limit_bytes)
    yield from _halved(batch.slice(middle), limit_bytes)


def gathered(
    batches: Iterable[pa.RecordBatch], rows: int, limit_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Join runs of small batches, as long as they stay within both caps.

    A batch that stands alone is handed on as it is, even one above the caps.
    """
    run: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in batches:
        size = batch.nbytes
        if run and (held_rows + batch.num_rows > rows or held_bytes + size > limit_bytes):
            yield _joined(run)
            run, held_rows, held_bytes = [], 0, 0
        run.append(batch)
        held_rows += batch.num_rows
        held_bytes += size
    if run:
        yield _joined(run)


def _joined(run: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(run) if len(run) > 1 else run[0]


def limited(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The first ``rows`` rows, and then no further: the iterator is closed."""
    with contextlib.closing(batches) as source:  # type: ignore[type-var]
        while rows > 0 and (batch := next(source, None)) is not None:
            yield batch.slice(0, rows)
            rows -= batch.num_rows
