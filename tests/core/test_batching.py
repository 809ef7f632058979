"""Batches are cut and joined without losing, adding or turning around a row."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connector.batching import capped, gathered

sizes = st.lists(st.integers(0, 40), max_size=12)
caps = st.integers(1, 50)


def batches(sizes: list[int]) -> list[pa.RecordBatch]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        pa.RecordBatch.from_pydict({"n": range(start, start + size), "t": ["x" * (i % 5)] * size})
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]


def numbers(found: list[pa.RecordBatch]) -> list[int]:
    return [n for batch in found for n in batch.column("n").to_pylist()]


@given(sizes, caps, st.integers(1, 500))
def test_cut_batches_fit(sizes: list[int], rows: int, limit_bytes: int) -> None:
    found = list(capped(batches(sizes), rows, limit_bytes))
    assert numbers(found) == list(range(sum(sizes)))
    assert all(0 < batch.num_rows <= rows for batch in found)
    assert all(batch.num_rows == 1 or batch.nbytes <= limit_bytes for batch in found)


def test_cutting_copies_nothing() -> None:
    (whole,) = batches([40])
    cut = list(capped([whole], 7, 1 << 20))
    assert len(cut) == 6
    assert {part.column(0).buffers()[1].address for part in cut} == {
        whole.column(0).buffers()[1].address
    }


@given(sizes.map(lambda them: [size for size in them if size]), caps, st.integers(1, 900))
def test_joined_batches_fit(sizes: list[int], rows: int, limit_bytes: int) -> None:
    given_batches = batches(sizes)
    found = list(gathered(given_batches, rows, limit_bytes))
    assert numbers(found) == list(range(sum(sizes)))
    alone = {batch.num_rows for batch in given_batches}
    assert all(batch.num_rows <= rows or batch.num_rows in alone for batch in found)


def test_neighbours_are_joined_as_long_as_they_fit() -> None:
    found = [batch.num_rows for batch in gathered(batches([3, 3, 3, 20, 1, 1]), 7, 1 << 20)]
    assert found == [6, 3, 20, 2]
