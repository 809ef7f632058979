"""Leaving out rows that were read twice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from loaders.repeats import RepeatFilter, hashes


def test_a_repeated_row_passes_once_and_a_row_new_since_the_first_reading_never() -> None:
    keys = pa.array([b"a", b"b", b"a", b"new", b"taken"])
    batch = pa.record_batch({"n": range(5)})
    known = hashes(pa.array([b"a", b"b", b"taken"]))
    passed = RepeatFilter(pa.array([b"a", b"taken"]), np.array([False, True]), known)
    assert passed(batch, keys).column("n").to_pylist() == [0, 1]
    assert passed(batch, keys).column("n").to_pylist() == [1]


def test_equal_keys_have_equal_hashes_wherever_they_lie() -> None:
    keys = pa.array([b"", b"a", b"ab", b"b", b"\x00", b"\x00\x00", b"ab"])
    found = hashes(keys)
    assert len(set(found.tolist())) == 6 and found[2] == found[6]
    assert (hashes(keys.slice(2)) == found[2:]).all()
