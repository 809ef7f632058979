"""Scans and partitions as data."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import Partition, Scan, SchemaError
from connector.scan import even_ranges
from connector.source import RowRange

SCHEMA = pa.schema([("id", pa.int64()), ("a", pa.string()), ("b", pa.float64())])


@given(st.integers(0, 10_000), st.integers(1, 200))
def test_ranges_cover_evenly(total: int, parts: int) -> None:
    ranges = even_ranges(total, parts)
    assert [n for piece in ranges for n in piece] == list(range(total))
    assert len(ranges) == min(total, parts)
    if ranges:
        assert 0 <= max(map(len, ranges)) - min(map(len, ranges)) <= 1


def test_the_output_is_what_was_selected() -> None:
    scan = Scan("t", SCHEMA.with_metadata({"a": "b"}), ("id",))
    assert scan.output.equals(SCHEMA, check_metadata=True)
    assert scan.select("b", "id").output.names == ["b", "id"]
    assert pickle.loads(pickle.dumps(scan)) == scan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ("c",)}, "table 't' has no column 'c'; it has id, a, b"),
        ({"key": ("nr",)}, "table 't' has no column 'nr'"),
        ({"columns": ("a", "a")}, "asked for twice"),
        ({"columns": ()}, "no column is asked for"),
        ({"batch_rows": 0}, "at least 1"),
        ({"batch_bytes": 0}, "at least 1"),
    ],
)
def test_scans_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Scan(**{"table": "t", "schema": SCHEMA, "key": ("id",), **changes})  # type: ignore[arg-type]


def test_partitions_are_equal_by_value() -> None:
    assert RowRange(1, 0, 5) == RowRange(1, 0, 5) != RowRange(1, 0, 6)
    assert Partition(1) == Partition(1)
    assert pickle.loads(pickle.dumps(RowRange(1, 0, 5))) == RowRange(1, 0, 5)
