"""Arrow columns to NumPy."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from connector import SchemaError
from loaders.convert import Form, form_of, to_numpy, to_ragged, view


def test_numbers_are_not_copied():
    values = pa.array([1, 2, 3], pa.int16())
    array = to_numpy("a", values)
    assert array.__array_interface__["data"][0] == values.buffers()[1].address


def test_types():
    assert to_numpy("a", pa.array([True, False])).tolist() == [True, False]
    assert to_numpy("a", pa.array([datetime.date(1970, 1, 3)])).dtype == np.int32
    assert to_numpy("a", pa.array([5], pa.timestamp("us", "UTC"))).tolist() == [5]
    assert to_numpy("a", pa.array([2, 1, 2]).dictionary_encode()).tolist() == [2, 1, 2]
    lists = pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2))
    assert to_numpy("a", lists.slice(1)).tolist() == [[3, 4], [5, 6]]
    assert view("a", lists.slice(1)).tolist() == [[3, 4], [5, 6]]


def test_null_floats_are_nan_and_other_nulls_are_refused():
    assert np.isnan(to_numpy("a", pa.array([1.0, None]))[1])
    with pytest.raises(SchemaError, match="'late'.*1 nulls.*transform"):
        to_numpy("late", pa.array([1, None]))
    with pytest.raises(SchemaError, match="'price'"):
        to_numpy("price", pa.array([1]).cast(pa.decimal128(30, 2)))


def test_lists_are_ragged_and_text_is_objects():
    lists = pa.array([[1.0], [2.0, 3.0], [], [4.0]], pa.list_(pa.float32()))
    assert form_of("a", lists.type) is Form.RAGGED
    for values, offsets, part in (
        ([1, 2, 3, 4], [0, 1, 3, 3, 4], lists),
        ([2, 3], [0, 2, 2], lists.slice(1, 2)),
    ):
        ragged = to_ragged("a", part)
        assert (ragged.values.tolist(), ragged.offsets.tolist()) == (values, offsets)
    pairs = pa.array([[[1, 2]], []], pa.list_(pa.list_(pa.int8(), 2)))
    assert to_ragged("a", pairs).values.tolist() == [[1, 2]]
    for kind in (
        pa.string(),
        pa.binary(4),
        pa.list_(pa.string()),
        pa.dictionary(pa.int8(), pa.string()),
    ):
        assert form_of("a", kind) is Form.OBJECTS
    with pytest.raises(SchemaError, match="'late'.*1 nulls.*transform"):
        to_ragged("late", pa.array([[1], None]))
    for kind in (
        pa.list_(pa.list_(pa.int8())),
        pa.struct([("a", pa.int8())]),
        pa.list_(pa.string(), 2),
    ):
        with pytest.raises(SchemaError, match="'deep'"):
            form_of("deep", kind)
