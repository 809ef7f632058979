"""Arrow columns to NumPy arrays, zero copy where the layout allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from connector.errors import SchemaError

Array = NDArray[Any]


def item_type(column: str, kind: pa.DataType) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    """NumPy type and shape of one value; None where values become Python objects in a list.

    Raises:
        SchemaError: no array or list holds values of this type.
    """
    if pt.is_dictionary(kind):
        return item_type(column, kind.value_type)
    if _is_text(kind):
        return None
    if pt.is_fixed_size_list(kind):
        inner = item_type(column, kind.value_type)
        if inner is not None:
            return inner[0], (kind.list_size, *inner[1])
    elif pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype()), ()
    elif pt.is_temporal(kind) and not pt.is_interval(kind):
        return np.dtype(np.int32 if kind.bit_width == 32 else np.int64), ()
    raise SchemaError(
        f"column {column!r} of type {kind} does not become an array: cast it to numbers or text, make "
        f"its lists of fixed size, or drop it, in the transform"
    )


def to_numpy(column: str, values: pa.Array) -> Array | list[Any]:
    """One column as an array of shape (rows, ...), or as a list of str or bytes.

    Dates, times and timestamps become their int32 or int64 values; fixed-size lists a 2-D array;
    null floats NaN. A null in a list of objects stays None.

    Raises:
        SchemaError: a null where the array's type has none, or a type that has no array.
    """
    if pt.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = item_type(column, values.type)
    if kind is None:
        return list(values.to_pylist())
    if values.null_count and not pt.is_floating(values.type):
        raise SchemaError(
            f"column {column!r} of type {values.type} has {values.null_count} nulls, which its array "
            f"cannot hold; fill them in the transform, e.g. by pyarrow.compute.fill_null"
        )
    if pt.is_fixed_size_list(values.type):
        flat = to_numpy(column, values.flatten())
        assert isinstance(flat, np.ndarray)
        return flat.reshape(len(values), *kind[1])
    if pt.is_temporal(values.type):
        values = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    array: Array = values.to_numpy(zero_copy_only=False)
    return array


def view(column: str, values: pa.Array) -> Array | None:
    """The column's own memory as an array; None where that needs a copy or fails."""
    kind = values.type
    inner = values
    while pt.is_fixed_size_list(kind):
        if inner.null_count:
            return None
        inner, kind = inner.flatten(), kind.value_type
    copied = pt.is_dictionary(kind) or pt.is_boolean(kind) or _is_text(kind) or inner.null_count
    if copied:
        return None
    array = to_numpy(column, values)
    assert isinstance(array, np.ndarray)
    return array


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
