"""Nested Arrow columns as JSON text and back, by array kernels.

Structs are objects; lists are arrays; maps are arrays of {"key": ..., "value": ...}; binary is a
string of hexadecimal digits; times and durations are integers of their unit; dates, timestamps and
decimals are text, as they are outside of JSON. Not-a-number and infinities are written as NaN,
Infinity and -Infinity, which JSON does not have but most readers know.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.types as pt

from connector.places import places
from connector.texts import parse, text

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def encode(values: pa.Array) -> pa.Array:
    """JSON text of each value; null where the value is null."""
    return pc.if_else(values.is_valid(), _encode(values), pa.scalar(None, pa.string()))


def decode(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values of type ``kind`` from JSON text; fields that ``kind`` lacks are left out.

    Raises:
        pa.ArrowInvalid: a text is not JSON, or does not fit ``kind``.
    """
    if not len(texts):
        return pa.array([], kind)
    lines = pc.binary_join_element_wise('{"v":', pc.fill_null(texts, "null"), "}\n", "")
    buffer = lines.buffers()[2]
    table = pj.read_json(
        pa.BufferReader(buffer),
        read_options=pj.ReadOptions(use_threads=False, block_size=buffer.size + 1),
        parse_options=pj.ParseOptions(
            explicit_schema=pa.schema([("v", _readable(kind))]),
            newlines_in_values=True,
            unexpected_field_behavior="ignore",
        ),
    )
    if table.num_rows != len(texts):
        raise pa.ArrowInvalid("a text holds more than one JSON value")
    return _rebuild(table.column("v").combine_chunks(), kind)


def _encode(values: pa.Array) -> pa.Array:
    """JSON text of each value, ``null`` where it is null."""
    kind = values.type
    if pt.is_struct(kind):
        made = _encode_struct(values)
    elif pt.is_nested(kind):
        made = _encode_list(values)
    elif pt.is_string(kind):
        made = pc.binary_join_element_wise('"', _escaped(values), '"', "")
    elif pt.is_binary(kind) or pt.is_fixed_size_binary(kind):
        made = pc.binary_join_element_wise('"', _hex(values.cast(pa.binary())), '"', "")
    elif pt.is_date(kind) or pt.is_timestamp(kind) or pt.is_decimal(kind):
        made = pc.binary_join_element_wise('"', text(values), '"', "")
    elif pt.is_floating(kind):
        made = text(values)
        for plain, ours in (("nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")):
            made = pc.if_else(pc.equal(made, plain), ours, made)
    else:
        made = text(values)
    return pc.if_else(values.is_valid(), made, "null")


def _encode_struct(values: pa.Array) -> pa.Array:
    parts: list[object] = []
    for i, field in enumerate(values.type):
        parts += [("," if i else "{") + json.dumps(field.name, ensure_ascii=False) + ":"]
        parts += [_encode(values.field(i))]
    if not parts:
        return pa.repeat(pa.scalar("{}"), len(values))
    return pc.binary_join_element_wise(*parts, "}", "")


def _encode_list(values: pa.Array) -> pa.Array:
    if pt.is_fixed_size_list(values.type):
        values = values.cast(pa.list_(values.type.value_field))
    items = pa.ListArray.from_arrays(values.offsets, _encode(values.values))
    return pc.binary_join_element_wise("[", pc.binary_join(items, ","), "]", "")


def _escaped(values: pa.Array) -> pa.Array:
    values = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
    data = values.buffers()[2]
    if data is None:
        return values
    present = np.bincount(np.frombuffer(data, np.uint8), minlength=256)[:32]
    for code in np.flatnonzero(present):
        values = pc.replace_substring(values, chr(code), f"\\u{code:04x}")
    return values


def _hex(values: pa.Array) -> pa.Array:
    values = pc.fill_null(values, b"")
    lengths = pc.binary_length(values).to_numpy()
    flat = np.frombuffer(pc.binary_join(_as_one_list(values), b"")[0].as_py(), np.uint8)
    digits = np.stack([_DIGITS[flat >> 4], _DIGITS[flat & 15]], axis=1)
    ends = np.concatenate([[0], np.cumsum(lengths * 2)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(digits.tobytes())]
    return pa.StringArray.from_buffers(len(values), buffers[1], buffers[2])


def _as_one_list(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def _unhex(texts: pa.Array) -> pa.Array:
    filled = pc.fill_null(texts, "")
    lengths = pc.binary_length(filled).to_numpy()
    if np.any(lengths % 2):
        raise pa.ArrowInvalid("an odd number of hexadecimal digits")
    joined = pc.binary_join(_as_one_list(filled), "")[0].as_py()
    try:
        data = bytes.fromhex(joined)
    except ValueError as error:
        raise pa.ArrowInvalid(f"not hexadecimal digits: {error}") from error
    ends = np.concatenate([[0], np.cumsum(lengths // 2)]).astype(np.int32)
    made = pa.BinaryArray.from_buffers(
        pa.binary(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(data)]
    )
    return pc.if_else(texts.is_valid(), made, pa.scalar(None, pa.binary()))


def _readable(kind: pa.DataType) -> pa.DataType:
    """The type as which Arrow's JSON reader can read what ``_encode`` wrote for ``kind``."""
    if pt.is_struct(kind):
        return pa.struct([(field.name, _readable(field.type)) for field in kind])
    if pt.is_map(kind):
        pair = [("key", _readable(kind.key_type)), ("value", _readable(kind.item_type))]
        return pa.list_(pa.struct(pair))
    if pt.is_nested(kind):
        return pa.list_(_readable(kind.value_type))
    if pt.is_float16(kind):
        return pa.float32()
    if pt.is_time(kind) or pt.is_duration(kind):
        return pa.int64()
    if pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind):
        return kind
    return pa.string()


def _rebuild(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """What was read as ``_readable(kind)``, as ``kind``."""
    if values.type == kind:
        return values
    mask = values.is_null() if values.null_count else None
    if pt.is_struct(kind):
        children = [_rebuild(values.field(i), kind.field(i).type) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)
    if pt.is_map(kind):
        keys = _rebuild(values.values.field(0), kind.key_type)
        items = _rebuild(values.values.field(1), kind.item_type)
        return pa.MapArray.from_arrays(values.offsets, keys, items, type=kind, mask=mask)
    if pt.is_fixed_size_list(kind):
        return _rebuild_fixed(values, kind)
    if pt.is_nested(kind):
        items = _rebuild(values.values, kind.value_type)
        return pa.ListArray.from_arrays(values.offsets, items, type=kind, mask=mask)
    if pt.is_binary(kind) or pt.is_fixed_size_binary(kind):
        return _unhex(values).cast(kind)
    if pt.is_time(kind) or pt.is_duration(kind) or pt.is_float16(kind):
        narrow = pt.is_time(kind) and kind.bit_width == 32
        return (
            (values.cast(pa.int32()) if narrow else values).view(kind)
            if not pt.is_float16(kind)
            else values.cast(kind)
        )
    return parse(values, kind)


def _rebuild_fixed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists as lists of one size; null rows hold nulls, where Arrow's cast leaves stray memory."""
    lengths = pc.fill_null(pc.list_value_length(values), kind.list_size).to_numpy()
    if np.any(lengths != kind.list_size):
        raise pa.ArrowInvalid(f"a list does not have {kind.list_size} elements")
    present = np.repeat(values.is_valid().to_numpy(zero_copy_only=False), kind.list_size)
    items = _rebuild(values.flatten().take(places(present)), kind.value_type)
    mask = values.is_null() if values.null_count else None
    return pa.FixedSizeListArray.from_arrays(items, type=kind, mask=mask)
