"""Fitting a filter to a schema: every value as its column's type holds it."""

from __future__ import annotations

import datetime as dt
import functools
import math
from dataclasses import replace
from decimal import MAX_EMAX, MIN_EMIN, ROUND_FLOOR, Context, Decimal
from typing import NamedTuple

import pyarrow as pa
import pyarrow.types as pt

from connector.errors import SchemaError
from connector.filters.fields import FieldPath, locate, path_text
from connector.filters.literals import Value, parse_time, shown
from connector.filters.values import (
    And,
    ArrayContains,
    Comparison,
    FieldTest,
    Filter,
    In,
    IsNull,
    Like,
    MapContainsKey,
    Not,
    Operator,
    Or,
    Regex,
    TextMatch,
)

_EPOCH = dt.datetime(1970, 1, 1)
_STEPS = {"s": 10**6, "ms": 10**3, "us": 1}
_EXACT = Context(prec=2_000, Emax=MAX_EMAX, Emin=MIN_EMIN)  # no value has as many digits


def bind(filter: Filter, schema: pa.Schema, table: str) -> Filter:
    """The same filter with every value as its column's type holds it.

    Where no value of the type compares like the given one, the comparison changes instead: of an
    integer column, ``n < 1.5`` becomes ``n <= 1``. A value that no element of a list, or no key of a map,
    can equal stays as given. Binding again changes nothing.

    Args:
        filter: what rows to keep.
        schema: the table's columns.
        table: the table's name, for messages.

    Raises:
        SchemaError: there is no such column or field, or its type does not compare with the value.
    """
    if isinstance(filter, And | Or):
        return type(filter)(tuple(bind(term, schema, table) for term in filter.terms))
    if isinstance(filter, Not):
        return Not(bind(filter.term, schema, table))
    assert isinstance(filter, FieldTest)
    _, kind = locate(filter.path, schema, f"table {table!r}")
    kind = plain_type(kind)
    try:
        return _bound(filter, kind)
    except ValueError as error:
        raise SchemaError(
            f"table {table!r}: column {path_text(filter.path)!r} of type {kind} in the filter "
            f"{shown(str(filter))}: {error}"
        ) from None


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that values of this type are compared as."""
    if pt.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pt.is_fixed_size_binary(kind):
        return pa.binary()
    if pt.is_decimal(kind) and kind.bit_width < 128:  # which Arrow compares, but finds in no list
        return pa.decimal128(kind.precision, kind.scale)
    return pa.float64() if pt.is_floating(kind) else kind


def _bound(filter: FieldTest, kind: pa.DataType) -> Filter:
    if isinstance(filter, IsNull):
        return filter
    if isinstance(filter, ArrayContains | MapContainsKey):
        found = member(filter, kind)
        return filter if found is None else replace(filter, value=found)
    if pt.is_nested(kind):
        raise ValueError(
            "a nested column has no test but IS NULL, of lists array_contains, and of maps "
            "map_contains_key"
        )
    if isinstance(filter, Comparison):
        return _bound_comparison(filter, _spot(filter.value, kind), kind)
    if isinstance(filter, In) and filter.values:
        spots = [_spot(value, kind) for value in filter.values]
        values = dict.fromkeys(s.floor for s in spots if s.exact and s.floor is not None)
        return In(filter.path, tuple(values)) if values else _never(filter.path, kind)
    if isinstance(filter, TextMatch | Like | Regex) and not (_is_text(kind) or _is_bytes(kind)):
        raise ValueError("only text has parts to match")
    if isinstance(filter, Like | Regex) and _is_bytes(kind):
        raise ValueError(
            "LIKE and RLIKE are for text; bytes have startswith, endswith and contains"
        )
    return filter


def member(filter: ArrayContains | MapContainsKey, kind: pa.DataType) -> Value | None:
    """The filter's value as an element of a list type, or as a key of a map type, holds it.

    Returns:
        The value, or None where no element or key can equal it.

    Raises:
        ValueError: the type is no list, or no map, or its elements or keys do not compare with the value.
    """
    if isinstance(filter, MapContainsKey):
        if not pt.is_map(kind):
            raise ValueError("only a map has keys")
        spot = _spot(filter.value, plain_type(kind.key_type))
    elif pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        spot = _spot(filter.value, plain_type(kind.value_type))
    else:
        raise ValueError("only a list has elements")
    return spot.floor if spot.exact else None


class _Spot(NamedTuple):
    """Where a value stands among those of a type.

    Attributes:
        floor: the greatest value of the type that is not above it; None if it is out of range.
        exact: whether ``floor`` is the value.
        above: of one out of range, whether it is above all values rather than below.
    """

    floor: Value | None
    exact: bool = True
    above: bool = False


def _bound_comparison(term: Comparison, spot: _Spot, kind: pa.DataType) -> Filter:
    if spot.exact and spot.floor is not None:
        return replace(term, value=spot.floor)
    less = term.operator in (Operator.LESS, Operator.LESS_EQUAL)
    if term.operator is Operator.EQUAL:
        return _never(term.path, kind)
    if term.operator is Operator.NOT_EQUAL:
        return _always(term.path, kind)
    if spot.floor is None:
        return (_always if less == spot.above else _never)(term.path, kind)
    operator = Operator.LESS_EQUAL if less else Operator.GREATER
    return replace(term, operator=operator, value=spot.floor)


def _never(path: FieldPath, kind: pa.DataType) -> Filter:
    """False, and unknown for a null. As a key it is fixed to one value, which is quickly read."""
    return And(_either_way(path, kind))


def _always(path: FieldPath, kind: pa.DataType) -> Filter:
    """True, and unknown for a null."""
    return Or(_either_way(path, kind))


def _either_way(path: FieldPath, kind: pa.DataType) -> tuple[Filter, Filter]:
    zero = _spot(_EPOCH if pt.is_temporal(kind) else 0, kind).floor
    assert zero is not None
    return Comparison(path, Operator.EQUAL, zero), Comparison(path, Operator.NOT_EQUAL, zero)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind))


def _spot(value: Value, kind: pa.DataType) -> _Spot:
    """Where the value stands; raises ValueError where it does not compare with the type."""
    if isinstance(value, bool) or pt.is_boolean(kind):
        if isinstance(value, bool) and pt.is_boolean(kind):
            return _Spot(value)
    elif _is_text(kind):
        if isinstance(value, str):
            return _Spot(value)
    elif _is_bytes(kind):
        if isinstance(value, str | bytes):
            return _Spot(value.encode() if isinstance(value, str) else value)
    elif pt.is_date(kind) or pt.is_timestamp(kind):
        if isinstance(value, str | dt.date):
            return _spot_of_time(value, kind)
    elif isinstance(value, int | float | Decimal):
        if pt.is_floating(kind):
            return _Spot(float(Decimal(value)))
        if pt.is_integer(kind) or pt.is_decimal(kind):
            return _spot_of_number(value, kind)
    raise ValueError(f"type {kind} does not compare with a {type(value).__name__}")


def _spot_of_number(value: int | float | Decimal, kind: pa.DataType) -> _Spot:
    if isinstance(value, float) and not math.isfinite(value):
        return _Spot(None, exact=False, above=value != -math.inf)
    # A float stands for the number it is written as: price = 0.1 means a tenth.
    written = isinstance(value, float) and not value.is_integer()
    number = value if isinstance(value, int) else Decimal(repr(value) if written else value)
    low, high = _range(kind)
    if not low <= number <= high:
        return _Spot(None, exact=False, above=number > 0)
    if isinstance(number, int) and pt.is_integer(kind):
        return _Spot(number)
    scale = kind.scale if pt.is_decimal(kind) else 0
    steps = Decimal(number).scaleb(scale, _EXACT)
    floor = int(steps.to_integral_value(ROUND_FLOOR))
    return _Spot(_scaled(floor, -scale) if pt.is_decimal(kind) else floor, exact=steps == floor)


def _range(kind: pa.DataType) -> tuple[int | Decimal, int | Decimal]:
    """The least and the greatest number of an integer or a decimal type."""
    if pt.is_decimal(kind):
        return _decimals(kind.precision, kind.scale)
    low = -(1 << kind.bit_width - 1) if pt.is_signed_integer(kind) else 0
    return low, low + (1 << kind.bit_width) - 1


@functools.cache
def _decimals(precision: int, scale: int) -> tuple[Decimal, Decimal]:
    steps = 10**precision - 1
    return _scaled(-steps, -scale), _scaled(steps, -scale)


def _scaled(number: int, power: int) -> Decimal:
    return Decimal(number).scaleb(power, _EXACT)


def _spot_of_time(value: str | dt.date, kind: pa.DataType) -> _Spot:
    time = parse_time(value) if isinstance(value, str) else value
    if isinstance(value, str) and isinstance(time, dt.datetime) and pt.is_date(kind):
        raise ValueError(f"{value!r} is not a date; for a time write TIMESTAMP {value!r}")
    if not isinstance(time, dt.datetime):
        time = dt.datetime(time.year, time.month, time.day)
    if time.tzinfo is not None:
        time = time.astimezone(dt.UTC).replace(tzinfo=None)
    microseconds = (time - _EPOCH) // dt.timedelta(microseconds=1)
    if pt.is_timestamp(kind) and kind.unit == "ns":
        if not -(2**63) <= microseconds * 1000 < 2**63:
            return _Spot(None, exact=False, above=microseconds > 0)
        step = 1
    else:
        step = 86_400 * 10**6 if pt.is_date(kind) else _STEPS[kind.unit]
    past = microseconds % step
    floor = time - dt.timedelta(microseconds=past)
    if pt.is_date(kind):
        return _Spot(floor.date(), exact=not past)
    return _Spot(floor.replace(tzinfo=dt.UTC) if kind.tz else floor, exact=not past)
