"""Arrow columns to stored bytes and back, a column at a time.

Numbers, booleans, decimals, dates and timestamps are stored as text; strings and binary as they
are; lists of numbers as raw little-endian vectors; other lists, maps and structs as JSON text
(connector/json_text.py). A null stays a null: what it means is the store's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector import json_text
from connector.errors import DecodeError, SchemaError
from connector.texts import as_integer, parse, text

_Values = TypeVar("_Values", pa.Array, Sequence[Any])

_FIRST_DAY = -719_528  # 0000-01-01 in days since 1970: the range that ISO text with 4 digits holds
_LAST_DAY = 2_932_896  # 9999-12-31
_FIRST_NANOSECOND = -9_223_372_036 * 10**9  # Arrow parses whole seconds first: one before overflows
_UNITS_PER_DAY = {
    "s": 86_400,
    "ms": 86_400_000,
    "us": 86_400_000_000,
    "ns": 86_400_000_000_000,
}


def stored_type(column: str, kind: pa.DataType) -> pa.DataType:
    """The type that a column of type ``kind`` has when it is read back.

    Dictionaries, views and large types become the plain type of the same values.

    Raises:
        SchemaError: values of this type cannot be stored.
    """
    if pt.is_dictionary(kind):
        return stored_type(column, kind.value_type)
    if pt.is_run_end_encoded(kind):
        return stored_type(column, kind.value_type)
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_large_binary(kind) or pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_fixed_size_list(kind) and kind.list_size:
        return pa.list_(_stored_field(column, kind.value_field), kind.list_size)
    if pt.is_map(kind):
        return pa.map_(stored_type(column, kind.key_type), stored_type(column, kind.item_type))
    if _is_list(kind):
        return pa.list_(_stored_field(column, kind.value_field))
    if pt.is_struct(kind):
        return pa.struct([_stored_field(column, kind.field(i)) for i in range(kind.num_fields)])
    if any(test(kind) for test in (pt.is_null, pt.is_union, pt.is_interval, pt.is_fixed_size_list)):
        raise SchemaError(f"column {column!r} of type {kind} cannot be stored; cast it first")
    return kind


def _stored_field(column: str, field: pa.Field) -> pa.Field:
    return field.with_type(stored_type(column, field.type))


def encode(column: str, values: pa.Array) -> pa.Array:
    """Stored bytes of each value: an array of ``pa.binary()``, null where the value is null.

    Args:
        column: the column's name, for messages.
        values: any type that ``stored_type`` accepts.

    Raises:
        SchemaError: a value cannot be stored without loss.
    """
    kind = stored_type(column, values.type)
    if values.type != kind:
        values = values.cast(kind)
    if pt.is_binary(kind):
        return values
    if pt.is_string(kind):
        return values.view(pa.binary())
    if pt.is_fixed_size_binary(kind):
        return values.cast(pa.binary())
    if _is_vector(kind):
        return _encode_vectors(column, values)
    if pt.is_nested(kind):
        return json_text.encode(values).view(pa.binary())
    if pt.is_date(kind) or pt.is_timestamp(kind):
        _check_years(column, values)
    return text(values).view(pa.binary())


def decode(column: str, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values of type ``kind`` from their stored bytes; null where the bytes are null.

    Raises:
        DecodeError: a value does not parse; ``unparsable`` tells which.
    """
    try:
        return _decode(values, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise DecodeError(f"column {column!r} does not parse as {kind}: {error}") from error


def unparsable(values: _Values, parse: Callable[[_Values], object]) -> list[int]:
    """Positions of the values with which ``parse`` raises DecodeError, found by halving."""
    bad: list[int] = []
    todo = [(0, len(values))]
    while todo:
        start, stop = todo.pop()
        try:
            parse(values[start:stop])
        except DecodeError:
            if stop - start == 1:
                bad.append(start)
                continue
            middle = (start + stop) // 2
            todo += [(middle, stop), (start, middle)]
    return bad


def encode_keys(columns: Sequence[pa.Array], names: Sequence[str] = ()) -> pa.Array:
    """One ``pa.binary()`` key for each row of the key columns; null where any of them is null.

    A single column is stored as it is. Several are joined by ``:``, with ``%`` and ``:`` inside
    them written as ``%25`` and ``%3A``, so that the key can be taken apart again.

    Raises:
        SchemaError: a key column has a nested type.
    """
    names = names or [f"key {i}" for i in range(len(columns))]
    for name, column in zip(names, columns, strict=True):
        if pt.is_nested(column.type):
            raise SchemaError(f"column {name!r} of type {column.type} cannot be a key")
    parts = [encode(name, column) for name, column in zip(names, columns, strict=True)]
    if len(parts) == 1:
        return parts[0]
    escaped = [
        pc.replace_substring(pc.replace_substring(part, b"%", b"%25"), b":", b"%3A")
        for part in parts
    ]
    return pc.binary_join_element_wise(*escaped, b":")


def decode_keys(keys: pa.Array, fields: Sequence[pa.Field]) -> list[pa.Array]:
    """The key columns from encoded keys, the opposite of ``encode_keys``.

    Raises:
        DecodeError: a key does not have as many parts as there are fields, or one does not parse.
    """
    if len(fields) == 1:
        return [decode(fields[0].name, keys, fields[0].type)]
    lists = pc.split_pattern(keys, b":")
    if pc.any(pc.not_equal(pc.list_value_length(lists), len(fields))).as_py():
        raise DecodeError(f"a key does not have {len(fields)} parts joined by ':'")
    flat = lists.flatten()
    columns = []
    for i, field in enumerate(fields):
        part = flat.take(pa.array(np.arange(i, len(flat), len(fields))))
        part = pc.replace_substring(pc.replace_substring(part, b"%3A", b":"), b"%25", b"%")
        columns.append(decode(field.name, part, field.type))
    return columns


def _is_list(kind: pa.DataType) -> bool:
    tests = (pt.is_list, pt.is_large_list, pt.is_list_view, pt.is_large_list_view)
    return any(test(kind) for test in tests)


def _is_vector(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of numbers, stored as raw vectors."""
    if not (pt.is_list(kind) or pt.is_fixed_size_list(kind)):
        return False
    return bool(pt.is_integer(kind.value_type) or pt.is_floating(kind.value_type))


def _decode(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pt.is_binary(kind):
        return values
    if pt.is_string(kind) or pt.is_fixed_size_binary(kind) or pt.is_large_binary(kind):
        return values.cast(kind)
    if pt.is_large_string(kind) or pt.is_dictionary(kind):
        return values.cast(pa.string()).cast(kind)
    if _is_vector(kind):
        return _decode_vectors(values, kind)
    if pt.is_nested(kind):
        return json_text.decode(values.cast(pa.string()), kind)
    return parse(values.view(pa.string()), kind)


def _check_years(column: str, values: pa.Array) -> None:
    """Refuse years outside 0 to 9999: their text would not parse back."""
    kind = values.type
    per_day = 1 if pt.is_date32(kind) else _UNITS_PER_DAY["ms" if pt.is_date64(kind) else kind.unit]
    ends = pc.min_max(as_integer(values))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None:
        return
    if pt.is_timestamp(kind) and kind.unit == "ns" and low < _FIRST_NANOSECOND:
        raise SchemaError(
            f"column {column!r} has a time within the first second that nanoseconds can hold, in 1677, "
            f"which does not parse back; cast it to microseconds"
        )
    if low < _FIRST_DAY * per_day or high >= (_LAST_DAY + 1) * per_day:
        raise SchemaError(
            f"column {column!r} has a year outside 0 to 9999, which text cannot hold; "
            f"store it as an integer"
        )


def _encode_vectors(column: str, values: pa.Array) -> pa.Array:
    """View the elements' buffer as the bytes of the vectors; no copy, unless some row is null."""
    if pt.is_fixed_size_list(values.type):
        values = values.cast(pa.list_(values.type.value_field))
    if values.flatten().null_count:
        raise SchemaError(
            f"column {column!r} of type {values.type} has a null inside a list, which a raw vector "
            f"cannot hold; fill it, or cast the column to a list of strings"
        )
    elements = values.values
    width = elements.type.bit_width // 8
    offsets = (values.offsets.to_numpy().astype(np.int64) + elements.offset) * width
    if len(offsets) and offsets[-1] > np.iinfo(np.int32).max:
        raise SchemaError(
            f"column {column!r}: a batch holds more than 2 GiB of vectors; write fewer rows"
        )
    data = elements.buffers()[1] or pa.py_buffer(b"")
    plain = pa.BinaryArray.from_buffers(
        pa.binary(), len(values), [None, pa.py_buffer(offsets.astype(np.int32)), data]
    )
    return pc.if_else(values.is_valid(), plain, None) if values.null_count else plain


def _decode_vectors(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """View the bytes of the vectors as elements: no copy, unless they are not aligned."""
    element = kind.value_type
    width = element.bit_width // 8
    size = kind.list_size * width if pt.is_fixed_size_list(kind) else None
    filled = pc.fill_null(values, bytes(size or 0)) if values.null_count else values
    _, places, data = filled.buffers()
    ends = np.frombuffer(places, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    lengths = np.diff(ends)
    wrong = lengths % width != 0 if size is None else lengths != size
    if wrong.any():
        found = lengths[np.argmax(wrong)]
        raise pa.ArrowInvalid(f"{found} bytes are not a {kind} of raw {element} values")
    total = int(ends[-1] - ends[0])
    raw = data.slice(int(ends[0]), total) if total else pa.py_buffer(b"")
    if raw.address % width:
        raw = pa.py_buffer(raw.to_pybytes())
    elements = pa.Array.from_buffers(element, total // width, [None, raw])
    mask = values.is_null() if values.null_count else None
    if size is not None:
        return pa.FixedSizeListArray.from_arrays(elements, type=kind, mask=mask)
    starts = pa.array((ends - ends[0]) // width, pa.int32())
    return pa.ListArray.from_arrays(starts, elements, type=kind, mask=mask)
