"""Arrow columns to NumPy arrays, zero copy where the layout allows it."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from connector.errors import SchemaError

Array = NDArray[Any]


class Form(Enum):
    """What the rows of a column become."""

    ARRAY = "one array: numbers, or lists of one size"
    RAGGED = "the values of all rows, and where each row's begin"
    OBJECTS = "a Python list: text, bytes, and lists of these"


class Ragged(NamedTuple):
    """A column of lists of different lengths.

    Attributes:
        values: of all rows, one behind the other: shape (values, ...).
        offsets: shape (rows + 1,), int64; row i has ``values[offsets[i] : offsets[i + 1]]``.
    """

    values: Any
    offsets: Any


def form_of(column: str, kind: pa.DataType) -> Form:
    """What a column of this type becomes.

    Raises:
        SchemaError: no array or list holds values of this type.
    """
    if pt.is_dictionary(kind):
        return form_of(column, kind.value_type)
    if _is_text(kind):
        return Form.OBJECTS
    if pt.is_list(kind) or pt.is_large_list(kind):
        inner = form_of(column, kind.value_type)
        if inner is not Form.RAGGED:
            return Form.RAGGED if inner is Form.ARRAY else Form.OBJECTS
    else:
        item_type(column, kind)
        return Form.ARRAY
    raise _without_form(column, kind)


def item_type(column: str, kind: pa.DataType) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """NumPy type and shape of one value of a column that becomes an array.

    Raises:
        SchemaError: it does not become one.
    """
    if pt.is_dictionary(kind):
        return item_type(column, kind.value_type)
    if pt.is_fixed_size_list(kind):
        number, shape = item_type(column, kind.value_type)
        return number, (kind.list_size, *shape)
    if pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype()), ()
    if pt.is_temporal(kind) and not pt.is_interval(kind):
        return np.dtype(np.int32 if kind.bit_width == 32 else np.int64), ()
    raise _without_form(column, kind)


def to_numpy(column: str, values: pa.Array) -> Array:
    """One column as an array of shape (rows, ...).

    Dates, times and timestamps become their int32 or int64 values; lists of one size a 2-D array; null
    floats NaN.

    Raises:
        SchemaError: a null where the array's type has none, or a type that has no array.
    """
    values = plain(values)
    _, shape = item_type(column, values.type)
    if not pt.is_floating(values.type):
        _check_nulls(column, values)
    if pt.is_fixed_size_list(values.type):
        return to_numpy(column, values.flatten()).reshape(len(values), *shape)
    if pt.is_temporal(values.type):
        values = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    array: Array = values.to_numpy(zero_copy_only=False)
    return array


def to_ragged(column: str, values: pa.Array) -> Ragged:
    """One column of lists, as arrays.

    Raises:
        SchemaError: a null, or a type that has no array.
    """
    _check_nulls(column, values)
    offsets = values.offsets.to_numpy().astype(np.int64)
    return Ragged(to_numpy(column, values.flatten()), offsets - offsets[0])


def view(column: str, values: pa.Array) -> Array | None:
    """The column's own memory as an array; None where that needs a copy or fails."""
    kind = values.type
    inner = values
    while pt.is_fixed_size_list(kind):
        if inner.null_count:
            return None
        inner, kind = inner.flatten(), kind.value_type
    if pt.is_dictionary(kind) or pt.is_boolean(kind) or inner.null_count:
        return None
    return to_numpy(column, values)


def plain(values: pa.Array) -> pa.Array:
    """The values themselves, where they are numbers of a dictionary's."""
    return values.dictionary_decode() if pt.is_dictionary(values.type) else values


def column_of(batch: pa.RecordBatch, column: str) -> pa.Array:
    """A column's values themselves.

    Raises:
        SchemaError: there is no such column.
    """
    if column not in batch.schema.names:
        raise SchemaError(
            f"there is no column {column!r}; there are {', '.join(batch.schema.names)}"
        )
    return plain(batch.column(column))


def _check_nulls(column: str, values: pa.Array) -> None:
    if values.null_count:
        raise SchemaError(
            f"column {column!r} of type {values.type} has {values.null_count} nulls, which its array "
            f"cannot hold; fill them in the transform, e.g. by pyarrow.compute.fill_null"
        )


def _without_form(column: str, kind: pa.DataType) -> SchemaError:
    return SchemaError(
        f"column {column!r} of type {kind} does not become an array: cast it to numbers, text or lists of "
        f"these, or drop it, in the transform"
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pt.is_string(kind)
        or pt.is_large_string(kind)
        or pt.is_string_view(kind)
        or pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_binary_view(kind)
        or pt.is_fixed_size_binary(kind)
    )
