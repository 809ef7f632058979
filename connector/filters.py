"""Predicates on rows: built as objects, fitted to a schema, and evaluated on batches.

    adults = (column("age") >= 18) & column("city").isin(["a", "b"])
    rows = keep(bind(adults, batch.schema, "people"), batch)

Comparisons mean what they mean in Spark SQL: NaN equals itself and is greater than every number,
-0.0 equals 0.0, text compares by its UTF-8 bytes, times compare as instants, and one without a zone
is in UTC. A number compares with an integer or a decimal column by its exact value, where Spark rounds
both to doubles if one is a double; and a null is never less than a number out of the column's range,
where Spark's optimizer takes ``n < 99999999999999999999`` for true.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import MAX_EMAX, MIN_EMIN, ROUND_FLOOR, Context, Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.errors import OptionError, SchemaError
from connector.filter_text import (
    And,
    Comparison,
    Filter,
    In,
    IsNull,
    Like,
    Match,
    Not,
    Operator,
    Or,
    TextMatch,
    Value,
    parse_filter,
    parse_time,
)

__all__ = [
    "And",
    "Column",
    "Comparison",
    "Filter",
    "In",
    "IsNull",
    "Like",
    "Match",
    "Not",
    "Operator",
    "Or",
    "TextMatch",
    "Value",
    "bind",
    "column",
    "columns_of",
    "conjuncts",
    "evaluate",
    "keep",
    "key_values",
    "parse_filter",
]

_LOOKUPS = 1_000_000
_EPOCH = dt.datetime(1970, 1, 1)
_STEPS = {"s": 10**6, "ms": 10**3, "us": 1}
_EXACT = Context(prec=2_000, Emax=MAX_EMAX, Emin=MIN_EMIN)  # no value has as many digits
_WILD = {"%": ".*", "_": "."}
_MATCHES = {
    Match.STARTS: pc.starts_with,
    Match.ENDS: pc.ends_with,
    Match.CONTAINS: pc.match_substring,
}
_COMPARE = {
    Operator.EQUAL: (pc.equal, False),
    Operator.NOT_EQUAL: (pc.equal, True),
    Operator.LESS: (pc.less, False),
    Operator.GREATER_EQUAL: (pc.less, True),
    Operator.LESS_EQUAL: (pc.less_equal, False),
    Operator.GREATER: (pc.less_equal, True),
}


@dataclass(frozen=True, eq=False)
class Column:
    """A column by its name, to build filters with: ``column("age") >= 18``."""

    name: str

    def __eq__(self, value: object) -> Comparison:  # type: ignore[override]
        return Comparison(self.name, Operator.EQUAL, value)  # type: ignore[arg-type]

    def __ne__(self, value: object) -> Comparison:  # type: ignore[override]
        return Comparison(self.name, Operator.NOT_EQUAL, value)  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, value: Value) -> Comparison:
        return Comparison(self.name, Operator.LESS, value)

    def __le__(self, value: Value) -> Comparison:
        return Comparison(self.name, Operator.LESS_EQUAL, value)

    def __gt__(self, value: Value) -> Comparison:
        return Comparison(self.name, Operator.GREATER, value)

    def __ge__(self, value: Value) -> Comparison:
        return Comparison(self.name, Operator.GREATER_EQUAL, value)

    def isin(self, values: Iterable[Value]) -> In:
        """One of the values."""
        if isinstance(values, str | bytes):
            raise OptionError(f"column {self.name!r}: isin takes a list of values, not {values!r}")
        return In(self.name, tuple(values))

    def between(self, low: Value, high: Value) -> Filter:
        """From low to high, both included."""
        return And((self >= low, self <= high))

    def is_null(self) -> IsNull:
        """Null; NaN is not."""
        return IsNull(self.name)

    def is_not_null(self) -> Not:
        """Anything but null."""
        return Not(IsNull(self.name))

    def startswith(self, text: str) -> TextMatch:
        """Text that begins so."""
        return TextMatch(self.name, Match.STARTS, text)

    def endswith(self, text: str) -> TextMatch:
        """Text that ends so."""
        return TextMatch(self.name, Match.ENDS, text)

    def contains(self, text: str) -> TextMatch:
        """Text that has this in it."""
        return TextMatch(self.name, Match.CONTAINS, text)

    def like(self, pattern: str) -> Like:
        """Text of this SQL pattern."""
        return Like(self.name, pattern)


def column(name: str) -> Column:
    """A column, to build filters with."""
    return Column(name)


def columns_of(filter: Filter) -> tuple[str, ...]:
    """The names of the filter's columns, in order of first use."""
    return tuple(dict.fromkeys(_names(filter)))


def _names(filter: Filter) -> Iterator[str]:
    if isinstance(filter, And | Or):
        for term in filter.terms:
            yield from _names(term)
    elif isinstance(filter, Not):
        yield from _names(filter.term)
    elif isinstance(filter, Comparison | In | IsNull | TextMatch | Like):
        yield filter.column


def conjuncts(filter: Filter) -> tuple[Filter, ...]:
    """The filters that must all hold for this one to hold."""
    return filter.terms if isinstance(filter, And) else (filter,)


def key_values(
    filter: Filter, key: Sequence[str]
) -> tuple[list[tuple[object, ...]] | None, Filter | None]:
    """The keys that alone can pass the filter, where it fixes every key column by = or IN.

    Args:
        filter: a filter that ``bind`` gave; key columns hold no nulls.
        key: the names of the key columns, in key order.

    Returns:
        The keys, distinct, and what of the filter is left to evaluate on their rows, None for
        nothing. Or None and the whole filter, where a key column is not fixed, is a floating-point
        number, or there would be more than a million keys.
    """
    fixed: dict[str, dict[object, None]] = {}
    rest = []
    for term in conjuncts(filter):
        name, values = _fixed(term) or ("", {})
        if name in key:
            before = fixed.get(name, values)
            fixed[name] = {value: None for value in before if value in values}
        else:
            rest.append(term)
    if not key or len(fixed) < len(key) or math.prod(map(len, fixed.values())) > _LOOKUPS:
        return None, filter
    left = And(tuple(rest)) if len(rest) > 1 else rest[0] if rest else None
    return list(itertools.product(*(fixed[name] for name in key))), left


def _fixed(term: Filter) -> tuple[str, dict[object, None]] | None:
    """The only column of the term and the only values with which it holds."""
    if isinstance(term, Or):
        found = [_fixed(one) for one in term.terms]
        if None in found or len({one[0] for one in found if one}) > 1:
            return None
        return found[0] and (found[0][0], {v: None for one in found if one for v in one[1]})
    if isinstance(term, In):
        values: tuple[Value, ...] = term.values
    elif isinstance(term, Comparison) and term.operator is Operator.EQUAL:
        values = (term.value,)
    else:
        return None
    if any(isinstance(value, float) for value in values):
        return None
    return term.column, dict.fromkeys(values)


def bind(filter: Filter, schema: pa.Schema, table: str) -> Filter:
    """The same filter with every value as its column's type holds it.

    Where no value of the type compares like the given one, the comparison changes instead: of an
    integer column, ``n < 1.5`` becomes ``n <= 1``. Binding again changes nothing.

    Args:
        filter: what rows to keep.
        schema: the table's columns.
        table: the table's name, for messages.

    Raises:
        SchemaError: there is no such column, or its type does not compare with the value.
    """
    if isinstance(filter, And | Or):
        return type(filter)(tuple(bind(term, schema, table) for term in filter.terms))
    if isinstance(filter, Not):
        return Not(bind(filter.term, schema, table))
    (name,) = columns_of(filter)
    at = schema.get_all_field_indices(name)
    if len(at) != 1:
        raise SchemaError(
            f"table {table!r} has {'no' if not at else 'more than one'} column {name!r}, "
            f"which the filter asks for; it has {', '.join(schema.names) or 'none'}"
        )
    kind = _plain_type(schema.field(at[0]).type)
    try:
        return _bound(filter, kind)
    except ValueError as error:
        shown = str(filter) if len(str(filter)) <= 200 else f"{str(filter)[:200]}..."
        raise SchemaError(
            f"table {table!r}: column {name!r} of type {kind} in the filter {shown}: {error}"
        ) from None


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that values of this type are compared as."""
    if pt.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pt.is_fixed_size_binary(kind):
        return pa.binary()
    if pt.is_decimal(kind) and kind.bit_width < 128:  # which Arrow compares, but finds in no list
        return pa.decimal128(kind.precision, kind.scale)
    return pa.float64() if pt.is_floating(kind) else kind


def _bound(filter: Filter, kind: pa.DataType) -> Filter:
    if isinstance(filter, IsNull):
        return filter
    if pt.is_nested(kind):
        raise ValueError("a nested column has no test but IS NULL")
    if isinstance(filter, Comparison):
        return _bound_comparison(filter, _spot(filter.value, kind), kind)
    if isinstance(filter, In) and filter.values:
        spots = [_spot(value, kind) for value in filter.values]
        values = dict.fromkeys(s.floor for s in spots if s.exact and s.floor is not None)
        return In(filter.column, tuple(values)) if values else _never(filter.column, kind)
    if isinstance(filter, TextMatch | Like) and not (_is_text(kind) or _is_bytes(kind)):
        raise ValueError("only text has parts to match")
    if isinstance(filter, Like) and _is_bytes(kind):
        raise ValueError("LIKE is for text; bytes have startswith, endswith and contains")
    return filter


@dataclass(frozen=True)
class _Spot:
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
        return _never(term.column, kind)
    if term.operator is Operator.NOT_EQUAL:
        return _always(term.column, kind)
    if spot.floor is None:
        return (_always if less == spot.above else _never)(term.column, kind)
    operator = Operator.LESS_EQUAL if less else Operator.GREATER
    return replace(term, operator=operator, value=spot.floor)


def _never(name: str, kind: pa.DataType) -> Filter:
    """False, and unknown for a null. As a key it is fixed to one value, which is quickly read."""
    return And(_either_way(name, kind))


def _always(name: str, kind: pa.DataType) -> Filter:
    """True, and unknown for a null."""
    return Or(_either_way(name, kind))


def _either_way(name: str, kind: pa.DataType) -> tuple[Filter, Filter]:
    zero = _spot(_EPOCH if pt.is_temporal(kind) else 0, kind).floor
    assert zero is not None
    return Comparison(name, Operator.EQUAL, zero), Comparison(name, Operator.NOT_EQUAL, zero)


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
    raise ValueError(f"the type does not compare with a {type(value).__name__}")


def _spot_of_number(value: int | float | Decimal, kind: pa.DataType) -> _Spot:
    if isinstance(value, float) and not math.isfinite(value):
        return _Spot(None, exact=False, above=value != -math.inf)
    # A float stands for the number it is written as: price = 0.1 means a tenth.
    written = isinstance(value, float) and not value.is_integer()
    number = Decimal(repr(value)) if written else Decimal(value)
    if pt.is_decimal(kind):
        scale, high = kind.scale, 10**kind.precision - 1
        low = -high
    else:
        scale, low = 0, -(1 << kind.bit_width - 1) if pt.is_signed_integer(kind) else 0
        high = low + (1 << kind.bit_width) - 1
    if not _scaled(low, -scale) <= number <= _scaled(high, -scale):
        return _Spot(None, exact=False, above=number > 0)
    steps = number.scaleb(scale, _EXACT)
    floor = int(steps.to_integral_value(ROUND_FLOOR))
    return _Spot(_scaled(floor, -scale) if pt.is_decimal(kind) else floor, exact=steps == floor)


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


def keep(filter: Filter, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows for which a bound filter is true."""
    return batch.filter(evaluate(filter, batch))


def evaluate(filter: Filter, batch: pa.RecordBatch) -> pa.BooleanArray:
    """Whether the filter holds for each row; null where that is unknown.

    Args:
        filter: a filter that ``bind`` gave for the batch's schema.
        batch: rows with at least the filter's columns.

    Raises:
        SchemaError: the batch lacks a column, or a value was not bound to its column's type.
    """
    if isinstance(filter, And):
        return functools.reduce(pc.and_kleene, (evaluate(term, batch) for term in filter.terms))
    if isinstance(filter, Or):
        return functools.reduce(pc.or_kleene, (evaluate(term, batch) for term in filter.terms))
    if isinstance(filter, Not):
        return pc.invert(evaluate(filter.term, batch))
    (name,) = columns_of(filter)
    at = batch.schema.get_field_index(name)
    if at < 0:
        raise SchemaError(
            f"a batch has no column {name!r}, which the filter asks for; "
            f"it has {', '.join(batch.schema.names) or 'none'}"
        )
    values = batch.column(at)
    if isinstance(filter, IsNull):
        return pc.is_null(values)
    return _test(filter, _plain(values))


def _plain(values: pa.Array) -> pa.Array:
    if pt.is_dictionary(values.type):
        return _plain(values.dictionary_decode())
    kind = _plain_type(values.type)
    return values if values.type == kind else values.cast(kind)


def _test(filter: Filter, values: pa.Array) -> pa.BooleanArray:
    if isinstance(filter, Comparison):
        return _compare(values, filter)
    if isinstance(filter, In):
        return _is_in(values, filter)
    if isinstance(filter, TextMatch):
        return _MATCHES[filter.match](values, filter.text)
    assert isinstance(filter, Like)
    return pc.match_substring_regex(values, _regex(filter.pattern))


def _compare(values: pa.Array, filter: Comparison) -> pa.BooleanArray:
    value = _values_of(filter, [filter.value], values.type)[0]
    if isinstance(filter.value, float) and math.isnan(filter.value):
        values, value = pc.is_nan(values), pa.scalar(True)  # NaN is the greatest, as True is
    # Greater is not-less-or-equal, which counts a NaN in the column among the greater.
    compare, negated = _COMPARE[filter.operator]
    found = compare(values, value)
    return pc.invert(found) if negated else found


def _is_in(values: pa.Array, filter: In) -> pa.BooleanArray:
    if not filter.values:
        return pa.repeat(False, len(values))
    wanted = _values_of(filter, list(filter.values), values.type)
    if not pt.is_floating(values.type):
        found = pc.is_in(values, value_set=wanted)
    else:  # adding 0.0 makes -0.0 and 0.0 one
        found = pc.is_in(pc.add(values, 0.0), value_set=pc.add(wanted, 0.0))
        if pc.any(pc.is_nan(wanted)).as_py():
            found = pc.or_(found, pc.is_nan(values))
    return pc.if_else(pc.is_valid(values), found, pa.scalar(None, pa.bool_()))


def _values_of(filter: Filter, given: list[Value], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(given, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        (name,) = columns_of(filter)
        raise SchemaError(
            f"column {name!r} of type {kind} meets a filter that is not bound to it: {error}"
        ) from None


def _regex(pattern: str) -> str:
    """A LIKE pattern as one of RE2."""
    parts = re.findall(r"\\?.", pattern, re.DOTALL)
    return f"(?s)\\A{''.join(_WILD.get(part) or _literal(part[-1]) for part in parts)}\\z"


def _literal(character: str) -> str:
    plain = character.isalnum() or not character.isascii()
    return character if plain else f"\\x{ord(character):02x}"
