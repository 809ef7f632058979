"""Rows as msgpack maps: a column is an entry, a null is an entry that is not there.

Numbers, booleans, text, bytes, lists, maps of struct fields are msgpack's own; dates, timestamps and
decimals are text, times and durations integers of their unit, and an Arrow map an array of pairs. The
library packs and unpacks value by value: this is the one format with a Python loop over rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.errors import DecodeError, MissingDependencyError, SchemaError
from connector.places import places
from connector.texts import as_integer, parse, text


def to_maps(batch: pa.RecordBatch) -> pa.Array:
    """The msgpack map of each row, as ``pa.binary()``.

    Raises:
        SchemaError: a value cannot be stored.
        MissingDependencyError: msgpack is not installed.
    """
    pack = _msgpack().Packer(autoreset=True).pack
    plain = [_plain(name, batch.column(name)) for name in batch.schema.names]
    rows = pa.RecordBatch.from_arrays(plain, names=batch.schema.names).to_pylist()
    if not plain:
        rows = [{}] * batch.num_rows
    packed = [
        pack({name: value for name, value in row.items() if value is not None}) for row in rows
    ]
    return pa.array(packed, pa.binary())


def from_maps(values: pa.Array, columns: Sequence[pa.Field]) -> dict[str, pa.Array]:
    """The columns from the msgpack map of each row, a null being a row of nulls.

    Raises:
        DecodeError: a value is no map, or an entry does not fit its column.
        MissingDependencyError: msgpack is not installed.
    """
    rows = [{} if value is None else _unpacked(value) for value in values.to_pylist()]
    found = {}
    for column in columns:
        try:
            entries = [row.get(column.name) for row in rows]
            plain = pa.array(entries, _plain_type(column.type))
            found[column.name] = _parsed(plain, column.type)
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
            pa.ArrowNotImplementedError,
            OverflowError,
        ) as error:
            raise DecodeError(
                f"the msgpack map of a row does not have {column.name!r} as {column.type}: {error}"
            ) from error
    return found


def infer_maps(table: str, values: Sequence[bytes]) -> list[pa.Field]:
    """The columns that the entries of some msgpack maps fit into; string for entries of several kinds.

    Raises:
        SchemaError: a value is not a map.
    """
    entries: dict[str, list[Any]] = {}
    for value in values:
        try:
            row = _unpacked(value)
        except DecodeError as error:
            raise SchemaError(
                f"table {table!r}: {error}; give the schema, or set value.codec to what values are"
            ) from error
        for name, entry in row.items():
            entries.setdefault(str(name), []).append(entry)
    return [pa.field(name, _fitting(entries[name])) for name in sorted(entries)]


def _unpacked(value: bytes) -> dict[Any, Any]:
    msgpack = _msgpack()
    try:
        found = msgpack.unpackb(value, raw=False, use_list=False, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise DecodeError(f"{value[:60]!r} is not msgpack: {error}") from error
    if not isinstance(found, dict):
        raise DecodeError(f"{value[:60]!r} is not a map in msgpack")
    return found


def _fitting(entries: Sequence[Any]) -> pa.DataType:
    try:
        return _without_nulls(pa.array(entries).type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.string()


def _without_nulls(kind: pa.DataType) -> pa.DataType:
    """The type, string in place of what was null everywhere."""
    if pt.is_list(kind):
        return pa.list_(_without_nulls(kind.value_type))
    if pt.is_struct(kind):
        return pa.struct([(item.name, _without_nulls(item.type)) for item in kind])
    return pa.string() if pt.is_null(kind) else kind


def _plain(name: str, values: pa.Array) -> pa.Array:
    """The values in types that msgpack has.

    Raises:
        SchemaError: their text would not parse back.
    """
    plain = _spelled(values)
    if plain is not values:
        try:
            _parsed(plain, values.type)
        except pa.ArrowInvalid as error:
            raise SchemaError(
                f"column {name!r} of type {values.type} has a value that text cannot hold: {error}"
            ) from error
    return plain


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type in which msgpack holds values of another; fixed lists are any lists."""
    if pt.is_date(kind) or pt.is_timestamp(kind) or pt.is_decimal(kind):
        return pa.string()
    if pt.is_time(kind) or pt.is_duration(kind):
        return pa.int64()
    if pt.is_float16(kind):
        return pa.float32()
    if pt.is_struct(kind):
        return pa.struct([(item.name, _plain_type(item.type)) for item in kind])
    if pt.is_map(kind):
        return pa.map_(_plain_type(kind.key_type), _plain_type(kind.item_type))
    if pt.is_nested(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def _spelled(values: pa.Array) -> pa.Array:
    """The values as their plain type."""
    kind, plain = values.type, _plain_type(values.type)
    if kind == plain:
        return values
    mask = values.is_null() if values.null_count else None
    if pt.is_struct(kind):
        children = [_spelled(child) for child in values.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(plain), mask=mask)
    if pt.is_map(kind):
        keys, items = _spelled(values.keys), _spelled(values.items)
        return pa.MapArray.from_arrays(values.offsets, keys, items, type=plain, mask=mask)
    if pt.is_fixed_size_list(kind):
        return _spelled(values.cast(pa.list_(kind.value_field)))
    if pt.is_nested(kind):
        return pa.ListArray.from_arrays(
            values.offsets, _spelled(values.values), type=plain, mask=mask
        )
    if pt.is_time(kind) or pt.is_duration(kind):
        return as_integer(values).cast(plain)
    return values.cast(plain) if pt.is_float16(kind) else text(values)


def _parsed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """What is held as its plain type, as ``kind``; raises pa.ArrowInvalid where it does not fit."""
    if values.type == kind:
        return values
    mask = values.is_null() if values.null_count else None
    if pt.is_struct(kind):
        pairs = zip(values.flatten(), kind, strict=True)
        children = [_parsed(child, item.type) for child, item in pairs]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)
    if pt.is_map(kind):
        keys, items = _parsed(values.keys, kind.key_type), _parsed(values.items, kind.item_type)
        return pa.MapArray.from_arrays(values.offsets, keys, items, type=kind, mask=mask)
    if pt.is_fixed_size_list(kind):
        return _fixed(values, kind)
    if pt.is_nested(kind):
        items = _parsed(values.values, kind.value_type)
        return pa.ListArray.from_arrays(values.offsets, items, type=kind, mask=mask)
    if pt.is_time(kind) or pt.is_duration(kind):
        narrow = pt.is_time(kind) and kind.bit_width == 32
        return (values.cast(pa.int32()) if narrow else values).view(kind)
    return values.cast(kind) if pt.is_float16(kind) else parse(values, kind)


def _fixed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists as lists of one size, nulls in place of the elements of those that are null."""
    valid = np.asarray(values.is_valid())
    if np.any(np.asarray(pc.list_value_length(values.filter(pa.array(valid)))) != kind.list_size):
        raise pa.ArrowInvalid(f"a list does not have {kind.list_size} elements")
    present = np.repeat(valid, kind.list_size)
    items = _parsed(values.flatten().take(places(present)), kind.value_type)
    mask = values.is_null() if values.null_count else None
    return pa.FixedSizeListArray.from_arrays(items, type=kind, mask=mask)


def _msgpack() -> ModuleType:
    try:
        import msgpack
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "value.codec 'msgpack' needs the package 'msgpack': pip install 'kvlake[redis]'"
        ) from error
    found: ModuleType = msgpack
    return found
