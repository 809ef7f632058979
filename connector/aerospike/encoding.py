"""Columns as what bins hold: the operations that write the rows of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import aerospike
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.aerospike.bins import FILLER, bin_type
from connector.aerospike.keys import MOST_INTEGER, unstorable
from connector.codecs import stored_type
from connector.errors import SchemaError

Operation: TypeAlias = "dict[str, Any]"

_FILLING: Operation = {"op": aerospike.OPERATOR_WRITE, "bin": FILLER, "val": 1}
_Change: TypeAlias = "Callable[[Any], Any]"


def check_type(column: str, kind: pa.DataType) -> None:
    """Refuse a type whose values bins cannot hold.

    Raises:
        SchemaError: naming the column, and why.
    """
    _check_bin_type(column, bin_type(stored_type(column, kind)))


def row_operations(
    rows: pa.RecordBatch, bins: Mapping[str, str], *, nulls: bool
) -> list[list[Operation]]:
    """For each row the operations that write its columns; at least one, as a record must have a bin.

    Args:
        rows: the columns that are bins.
        bins: the bin of each column.
        nulls: whether a null removes its bin; otherwise it is left out.

    Raises:
        SchemaError: a value cannot be stored.
    """
    if not rows.num_columns:
        return [[_FILLING] for _ in range(rows.num_rows)]
    columns = [
        _operations(bins[name], bin_values(name, rows.column(name)), nulls=nulls)
        for name in rows.schema.names
    ]
    sparse = [column.is_null() for column in rows.columns if column.null_count]
    if sparse and not nulls:
        return [
            [item for item in row if item is not None] or [_FILLING]
            for row in zip(*columns, strict=True)
        ]
    found: list[list[Operation]] = [*map(list, zip(*columns, strict=True))]
    if len(sparse) == len(columns):
        for row in np.flatnonzero(functools.reduce(pc.and_, sparse)):
            found[row].append(_FILLING)  # the server deletes a record without a bin
    return found


def bin_values(column: str, values: pa.Array) -> list[Any]:
    """The values of a column as the client stores them in a bin, None where they are null.

    Raises:
        SchemaError: a value cannot be stored without loss.
    """
    kind = stored_type(column, values.type)
    try:
        plain = values.cast(kind).cast(bin_type(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"column {column!r} of type {kind} cannot be stored: {error}") from error
    for leaf in _leaves(plain):
        _check_leaf(column, leaf)
    try:
        found: list[Any] = plain.to_pylist(maps_as_pydicts="strict")
    except KeyError as error:
        raise SchemaError(f"column {column!r} has a map with one key twice: {error}") from error
    except UnicodeDecodeError as error:
        raise SchemaError(f"column {column!r} has text that is not UTF-8: {error}") from error
    change = _without_nulls(plain.type)
    return found if change is None else [*map(change, found)]


def check_user_keys(table: str, fields: Sequence[pa.Field], names: pa.Array) -> None:
    """Refuse keys that the client does not take, or would change.

    Args:
        table: for the message.
        fields: the key columns.
        names: the rows' keys, as ``connector.codecs.encode_keys`` gives them.

    Raises:
        SchemaError: naming such a key.
    """
    bad, why = unstorable(names, fields)
    if pc.any(bad).as_py():
        raise SchemaError(f"table {table!r}: key {names.filter(bad)[0].as_py()!r} {why}")


def _operations(name: str, values: list[Any], *, nulls: bool) -> list[Operation | None]:
    write = aerospike.OPERATOR_WRITE
    if nulls:
        return [{"op": write, "bin": name, "val": value} for value in values]
    return [None if value is None else {"op": write, "bin": name, "val": value} for value in values]


def _check_bin_type(column: str, kind: pa.DataType) -> None:
    if pt.is_map(kind):
        keys = (pt.is_integer, pt.is_string, pt.is_binary)
        if not any(test(kind.key_type) for test in keys):  # the client leaves out others, silently
            raise SchemaError(
                f"column {column!r} has a map with keys that are stored as {kind.key_type}; the server "
                f"takes integers, text and bytes: cast them"
            )
        _check_bin_type(column, kind.item_type)
    elif pt.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        if len(set(names)) < len(names) or any("\0" in name for name in names):
            raise SchemaError(
                f"column {column!r} has a struct with fields {names}, whose names cannot be the keys of "
                f"a map; rename them"
            )
        for i in range(kind.num_fields):
            _check_bin_type(column, kind.field(i).type)
    elif pt.is_list(kind):
        _check_bin_type(column, kind.value_type)


def _leaves(values: pa.Array) -> Iterator[pa.Array]:
    """The flat arrays that values are made of, without what nulls hide."""
    kind = values.type
    if pt.is_map(kind):
        first, last = values.offsets[0].as_py(), values.offsets[-1].as_py()
        for part in (values.keys, values.items):
            yield from _leaves(part.slice(first, last - first))
    elif pt.is_list(kind) or pt.is_struct(kind):
        parts = values.flatten()
        for part in parts if pt.is_struct(kind) else [parts]:
            yield from _leaves(part)
    else:
        yield values


def _check_leaf(column: str, leaf: pa.Array) -> None:
    if pt.is_string(leaf.type) and pc.any(pc.match_substring(leaf, "\0")).as_py():
        raise SchemaError(
            f"column {column!r} has text with a NUL character, which the client cuts off there; remove "
            f"it, or cast the column to binary"
        )
    if pt.is_uint64(leaf.type) and (pc.max(leaf).as_py() or 0) > MOST_INTEGER:
        raise SchemaError(
            f"column {column!r} has the integer {pc.max(leaf).as_py()}; the server's end at "
            f"{MOST_INTEGER}: cast the column to decimal128(20, 0) or to text"
        )


def _without_nulls(kind: pa.DataType) -> _Change | None:
    """What leaves the null fields out of the structs in a value; None where there is no struct in it."""
    if pt.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        inner = {field.name: _without_nulls(field.type) or _same for field in fields}
        return _or_none(
            lambda value: {
                name: inner[name](item) for name, item in value.items() if item is not None
            }
        )
    if pt.is_list(kind) and (item := _without_nulls(kind.value_type)):
        return _or_none(functools.partial(_each_item, item))
    if pt.is_map(kind) and (item := _without_nulls(kind.item_type)):
        return _or_none(functools.partial(_each_value, item))
    return None


def _each_item(change: _Change, value: list[Any]) -> list[Any]:
    return [*map(change, value)]


def _each_value(change: _Change, value: dict[Any, Any]) -> dict[Any, Any]:
    return {key: change(item) for key, item in value.items()}


def _or_none(change: _Change) -> _Change:
    return lambda value: None if value is None else change(value)


def _same(value: Any) -> Any:
    return value
