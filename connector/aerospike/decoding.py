"""What bins hold, as columns: Python values of one bin at a time, or particles where they were received."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import aerospike
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt
from aerospike_helpers import HyperLogLog

from connector.aerospike.bins import bin_type
from connector.aerospike.wire import particles
from connector.aerospike.wire.particles import Particles
from connector.errors import DecodeError

Values: TypeAlias = Sequence[Any] | Particles


def chosen(values: Values, rows: npt.NDArray[np.intp]) -> Values:
    """The values of some rows."""
    if isinstance(values, Particles):
        return values[rows]
    return [values[row] for row in rows.tolist()]


def decode_bin(column: str, values: Values, kind: pa.DataType) -> pa.Array:
    """A column from the values of its bin, None where a record has no such bin.

    Raises:
        DecodeError: a value is not one of the column's type; ``codecs.unparsable`` tells which.
    """
    if isinstance(values, Particles):
        return particles.decode(column, values, kind)
    kinds = {*map(type, values)} - {type(None)}
    native, others, convert = _expected(kind)
    if strange := kinds - {native, *others}:
        raise DecodeError(f"column {column!r} of type {kind}: a bin holds {_named(strange)}")
    if not kinds <= {native}:
        values = [None if value is None else convert(value) for value in values]
    if pt.is_nested(kind):
        _check_members(column, values, kind)
    try:
        if pt.is_nested(kind) and (parse := _decimals(kind)):
            return pa.array([*map(parse, values)], bin_type(kind, parsed=True)).cast(kind)
        return pa.array(values, bin_type(kind)).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ArithmeticError, TypeError) as error:
        raise DecodeError(f"column {column!r} of type {kind}: {error}") from error


def _expected(kind: pa.DataType) -> tuple[type, tuple[type, ...], Callable[[Any], Any]]:
    """The Python type of a column's bins, other types they may hold, and what makes the one of these."""
    if pt.is_boolean(kind):
        return bool, (int,), _truth
    if pt.is_floating(kind):
        return float, (int,), float
    if pt.is_integer(kind) or pt.is_temporal(kind):
        return int, (), int
    if pt.is_string(kind):
        return str, (aerospike.GeoJSON,), str
    if pt.is_decimal(kind):
        return str, (), str
    if pt.is_binary(kind) or pt.is_fixed_size_binary(kind):
        return bytes, (bytearray, HyperLogLog), bytes
    if pt.is_list(kind) or pt.is_fixed_size_list(kind):
        return list, (), list
    return dict, (aerospike.KeyOrderedDict,), dict


def _check_members(column: str, values: Sequence[Any], kind: pa.DataType) -> None:
    """Refuse what Arrow would make something else of, such as 1.0 among integers: level by level."""
    some = [value for value in values if value is not None]
    native, _, _ = _expected(kind)
    allowed = {float, int} if native is float else {native, aerospike.KeyOrderedDict}
    if strange := {*map(type, some)} - allowed:
        raise DecodeError(f"column {column!r}: {_named(strange)} among those of {kind}")
    if pt.is_struct(kind):
        for field in kind:
            _check_members(column, [value.get(field.name) for value in some], field.type)
    elif pt.is_map(kind):
        _check_members(column, [name for value in some for name in value], kind.key_type)
        _check_members(column, [item for value in some for item in value.values()], kind.item_type)
    elif pt.is_nested(kind):
        _check_members(column, [item for value in some for item in value], kind.value_type)


def _decimals(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What parses the decimals in a value of this type; None where there are none.

    Arrow's cast from text would also look at what lies behind nulls.
    """
    if pt.is_decimal(kind):
        return lambda value: None if value is None else Decimal(value)
    if pt.is_struct(kind):
        fields = {field.name: parse for field in kind if (parse := _decimals(field.type))}
        if not fields:
            return None
        return lambda value: (
            value
            and {
                name: fields[name](item) if name in fields else item for name, item in value.items()
            }
        )
    if not pt.is_nested(kind):
        return None
    parse = _decimals(kind.item_type if pt.is_map(kind) else kind.value_type)
    if parse is None:
        return None
    if pt.is_map(kind):
        return lambda value: value and {name: parse(item) for name, item in value.items()}
    return lambda value: value and [*map(parse, value)]


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise DecodeError(f"a bin holds the integer {value}, which is no boolean")
    return bool(value)


def _named(kinds: set[type]) -> str:
    return " and ".join(sorted(f"values of type {kind.__name__}" for kind in kinds))
