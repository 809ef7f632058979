"""Filters on the elements of lists and on the keys of maps, against a reader of single rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from core.filter_rows import BYTES, NUMBERS, TEXT, TIMES, filters, literals, truth, within
from hypothesis import given
from hypothesis import strategies as st

from connector.filters import (
    ArrayContains,
    Filter,
    IsNull,
    MapContainsKey,
    bind,
    column,
    evaluate,
    keep,
    parse_filter,
)

FLAT = [pa.bool_(), *NUMBERS, *TIMES, *TEXT, *BYTES]
Rows = list[tuple[bool, list[Any]]]


def built(rows: Rows, members: pa.Array, kind: pa.DataType) -> pa.Array:
    """An array of lists or maps, whose nulls hide what members they have."""
    mask = pa.array([not there for there, _ in rows], pa.bool_())
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(members, type=kind, mask=mask)
    offsets = np.cumsum([0, *(len(some) for _, some in rows)])
    if pa.types.is_map(kind):
        items = pa.nulls(len(members), kind.item_type)
        return pa.MapArray.from_arrays(
            pa.array(offsets, pa.int32()), members, items, kind, mask=mask
        )
    large = pa.types.is_large_list(kind)
    array = pa.LargeListArray if large else pa.ListArray
    return array.from_arrays(
        pa.array(offsets, pa.int64() if large else pa.int32()), members, kind, mask=mask
    )


def cells(rows: Rows, kind: pa.DataType) -> list[dict[str, Any]]:
    """The rows as a reader sees them."""

    def seen(some: list[Any]) -> list[Any]:
        plain = [float(one) if isinstance(one, np.float16) else one for one in some]
        return [(one, None) for one in plain] if pa.types.is_map(kind) else plain

    return [{"c": seen(some) if there else None} for there, some in rows]


@pytest.mark.parametrize("member", FLAT, ids=str)
@given(data=st.data())
def test_as_a_reader_of_rows_would_say(member: pa.DataType, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 3))
    kind = data.draw(
        st.sampled_from(
            [
                pa.list_(member),
                pa.large_list(member),
                pa.list_(member, size),
                pa.map_(member, pa.int8()),
            ]
        )
    )
    some = within(member)
    if member == pa.float16():
        some = some.map(np.float16)
    least, most = (size, size) if pa.types.is_fixed_size_list(kind) else (0, 3)
    has_key = pa.types.is_map(kind)
    lists = st.lists(some if has_key else st.none() | some, min_size=least, max_size=most)
    rows = data.draw(st.lists(st.tuples(st.booleans(), lists), max_size=6))
    skip = data.draw(st.integers(0, len(rows)))
    members = pa.array([one for _, some in rows for one in some], member)
    batch = pa.RecordBatch.from_arrays([built(rows, members, kind)], ["c"]).slice(skip)
    test = MapContainsKey if has_key else ArrayContains
    leaf = st.builds(test, st.just(("c",)), literals(member)) | st.just(IsNull(("c",)))
    filter: Filter = data.draw(filters(leaf))

    bound = bind(filter, batch.schema, "t")
    found = evaluate(bound, batch)
    expected = [truth(filter, row, member) for row in cells(rows[skip:], kind)]
    assert found.type == pa.bool_()
    assert found.to_pylist() == expected, str(bound)
    assert keep(bound, batch).num_rows == expected.count(True)
    assert bind(bound, batch.schema, "t") == bound
    assert parse_filter(str(bound)) == bound


def answers(array: pa.Array, filter: Filter | str) -> list[bool | None]:
    batch = pa.RecordBatch.from_arrays([array], ["c"])
    given = parse_filter(filter) if isinstance(filter, str) else filter
    found: list[bool | None] = evaluate(bind(given, batch.schema, "t"), batch).to_pylist()
    return found


def test_a_null_among_the_elements_may_be_the_value() -> None:
    tags = pa.array([["a", None], ["b", None], ["b"], [None], [], None])
    assert answers(tags, "array_contains(c, 'a')") == [True, None, False, None, False, None]
    assert answers(tags, "NOT array_contains(c, 'a')") == [False, None, True, None, True, None]


def test_a_value_that_no_element_can_equal_is_not_found() -> None:
    numbers = pa.array([[0, 1], [0, None], [], None], pa.list_(pa.int8()))
    for value in (0.5, 500, Decimal("1E+40"), float("inf")):
        assert answers(numbers, column("c").array_contains(value)) == [False, None, False, None]
    days = pa.array([[dt.date(2013, 1, 31)], [None]])
    assert answers(days, "array_contains(c, '2013-01-31')") == [True, None]
    assert answers(days, "array_contains(c, TIMESTAMP '2013-01-31 10:00:00')") == [False, None]
    keys = pa.array([[(0, 1)], [], None], pa.map_(pa.uint8(), pa.int8()))
    assert answers(keys, "map_contains_key(c, -1)") == [False, False, None]
    assert answers(keys, "map_contains_key(c, 0.0)") == [True, False, None]


def test_nans_are_one_and_zeros_are_one() -> None:
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    floats = pa.FixedSizeListArray.from_arrays(pa.array([*odd, 0.0, 1.0, -0.0, 1.0]), 2)
    assert answers(floats, "array_contains(c, double('nan'))") == [True, False, False]
    assert answers(floats, "array_contains(c, 0)") == [False, True, True]
    assert answers(floats, "array_contains(c, -0e0)") == [False, True, True]


NO_OFFSETS = pa.ListArray.from_buffers(
    pa.list_(pa.int8()), 0, [None, None], children=[pa.array([], pa.int8())]
)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (pa.array([], pa.list_(pa.int8())), []),
        (pa.array([[1]], pa.list_(pa.int8())).slice(1), []),
        (NO_OFFSETS, []),
        (pa.array([[], None], pa.list_(pa.int8(), 0)), [False, None]),
        (pa.array([[], []], pa.large_list(pa.int8())), [False, False]),
        (pa.nulls(2, pa.list_(pa.int8(), 3)), [None, None]),
        (pa.nulls(3, pa.list_(pa.int8())).slice(1), [None, None]),
        (pa.array([[None], [1, 1, 1], [0]], pa.list_(pa.int8())), [None, True, False]),
    ],
    ids=str,
)  # fmt: skip
def test_arrays_with_little_in_them(array: pa.Array, found: list[bool | None]) -> None:
    assert answers(array, "array_contains(c, 1)") == found


def test_elements_kept_in_dictionaries() -> None:
    words = pa.array(["a", "b", None, "a"]).dictionary_encode()
    tags = pa.ListArray.from_arrays(pa.array([0, 2, 3, 4], pa.int32()), words)
    assert answers(tags, "array_contains(c, 'b')") == [True, None, False]


@pytest.mark.parametrize("skip", [0, 1, 2, 4])
def test_lists_and_maps_in_structs(skip: int) -> None:
    """A list is null where the struct around it is, whatever Arrow keeps below."""
    tags = pa.array([["a"], ["a"], ["b"], None])
    sizes = pa.array([[("a", 1)], [("a", 1)], [], None], pa.map_(pa.string(), pa.int8()))
    inner = pa.StructArray.from_arrays([tags, sizes], ["tags", "sizes"])
    mask = pa.array([True, False, False, False])
    outer = pa.StructArray.from_arrays([inner], ["in"], mask=mask).slice(skip)
    expected = [None, True, False, None][skip:]
    assert answers(outer, column("c", "in", "tags").array_contains("a")) == expected
    assert answers(outer, column("c", "in", "sizes").map_contains_key("a")) == expected
