"""A reader of single rows, which knows neither Arrow nor binding; and what to ask of it."""

from __future__ import annotations

import datetime as dt
import math
import operator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from connector.filters import (
    And,
    ArrayContains,
    Comparison,
    FieldTest,
    Filter,
    In,
    IsNull,
    Like,
    MapContainsKey,
    Match,
    Not,
    Operator,
    Or,
    TextMatch,
)

NAN = math.nan
UTC = dt.UTC

patterns = st.lists(st.sampled_from(["%", "_", "\\%", "\\_", "\\\\", "a", "é", "\n", "."])).map(
    "".join
)


def filters(leaf: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    def joined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.one_of(terms.map(And), terms.map(Or), inner.map(Not))

    return st.recursive(leaf, joined, max_leaves=6)


def number(value: Any) -> Any:
    """A key that orders numbers exactly, NaN above infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return (2 if math.isnan(value) else math.copysign(1, value), Fraction(0))
    return (0, Fraction(value))


def order(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_floating(kind):
        return number(float(value))
    if pa.types.is_decimal(kind) and isinstance(value, float) and math.isfinite(value):
        # of floats, the one with the fewest digits is meant
        return number(value if value.is_integer() else Decimal(repr(value)))
    if isinstance(value, int | float | Decimal):
        return number(value)
    if isinstance(value, str):
        if pa.types.is_temporal(kind):
            return order(dt.datetime.fromisoformat(value), kind)
        return value.encode()
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)) - dt.datetime(
            1970, 1, 1, tzinfo=UTC
        )
    if isinstance(value, dt.date):
        return order(dt.datetime(value.year, value.month, value.day), kind)
    return value


def like(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(pattern[1:], text[i:]) for i in range(len(text) + 1))
    wanted, rest = (pattern[1], pattern[2:]) if pattern[0] == "\\" else (pattern[0], pattern[1:])
    free = pattern[0] == "_"
    return bool(text) and (free or text[0] == wanted) and like(rest, text[1:])


COMPARE = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
}


def truth(filter: Filter, row: dict[str, Any], kind: pa.DataType) -> bool | None:
    if isinstance(filter, And | Or):
        decisive = isinstance(filter, Or)
        found = [truth(term, row, kind) for term in filter.terms]
        return decisive if decisive in found else None if None in found else not decisive
    if isinstance(filter, Not):
        inner = truth(filter.term, row, kind)
        return None if inner is None else not inner
    assert isinstance(filter, FieldTest)
    value: Any = row
    for name in filter.path:
        value = None if value is None else value[name]
    if isinstance(filter, IsNull):
        return value is None
    if isinstance(filter, In) and not filter.values:
        return False
    if value is None:
        return None
    if isinstance(filter, ArrayContains | MapContainsKey):
        wanted = order(filter.value, kind)
        members = dict(value) if isinstance(filter, MapContainsKey) else value
        equal = [None if one is None else order(one, kind) == wanted for one in members]
        return True if True in equal else None if None in equal else False
    if isinstance(filter, Comparison):
        return COMPARE[filter.operator](order(value, kind), order(filter.value, kind))
    if isinstance(filter, In):
        return any(order(value, kind) == order(one, kind) for one in filter.values)
    if isinstance(filter, Like):
        return like(filter.pattern, value)
    assert isinstance(filter, TextMatch)
    text = filter.text.encode() if isinstance(value, bytes) else filter.text
    if filter.match is Match.CONTAINS:
        return text in value
    return value.startswith(text) if filter.match is Match.STARTS else value.endswith(text)


edges = st.sampled_from(
    [0, 1, -1, 127, -128, 255, 256, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64]
)
fractions = st.sampled_from(["1.5", "-0.5", "0.001", "1E+40", "-1E+40", "1E-40", "0.10"]).map(
    Decimal
)
floats = (
    st.sampled_from([0.0, -0.0, 1.5, NAN, math.inf, -math.inf, 1e300, 2.0**53, 0.1, 255.0, 5e-324])
    | st.floats()
)
some_numbers = st.one_of(edges, st.integers(-3, 3), fractions, floats)
some_times = st.one_of(
    st.sampled_from(
        [
            dt.datetime(2013, 1, 31),
            dt.datetime(2013, 1, 31, 0, 0, 0, 1),
            dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
            dt.datetime(1, 1, 1),
            dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
            dt.datetime(2013, 1, 31, tzinfo=UTC),
        ]
    ),
    st.sampled_from([dt.date(2013, 1, 31), dt.date(1, 1, 1), dt.date(9999, 12, 31), "2013-01-31"]),
    st.datetimes(),
)
words = st.text(st.sampled_from("ab%_\\\né😀\uffff"), max_size=3)


def within(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Python values of the type, near the edges that the literals are drawn from."""
    if pa.types.is_integer(kind):
        low = -(1 << kind.bit_width - 1) if pa.types.is_signed_integer(kind) else 0
        high = low + (1 << kind.bit_width) - 1
        return edges.filter(lambda n: low <= n <= high) | st.integers(max(low, -3), 3)
    if pa.types.is_floating(kind):
        wide = st.floats(width=kind.bit_width)
        return wide | st.sampled_from([0.0, -0.0, 1.5, NAN, math.inf, -math.inf])
    if pa.types.is_decimal(kind):
        most = 10**kind.precision - 1
        steps = st.integers(-most, most) | st.integers(-200, 200) | st.sampled_from([most, -most])
        return steps.map(lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -kind.scale)))
    if pa.types.is_timestamp(kind):
        zone = UTC if kind.tz else None
        low, high = (1700, 2200) if kind.unit == "ns" else (1, 9999)
        near = st.sampled_from([dt.datetime(2013, 1, 31), dt.datetime(1969, 12, 31, 23, 59, 59)])
        every = near | st.datetimes(dt.datetime(low, 1, 1), dt.datetime(high, 12, 31))
        rough = {"s": 10**6, "ms": 1000}.get(kind.unit, 1)
        return every.map(
            lambda t: t.replace(microsecond=t.microsecond // rough * rough, tzinfo=zone)
        )
    if pa.types.is_date(kind):
        return st.dates() | st.sampled_from([dt.date(2013, 1, 31), dt.date(1, 1, 1)])
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_fixed_size_binary(kind):
        return st.sampled_from([b"a", b"%", b"\xff"])
    return words.map(str.encode) if kind in BYTES else words


BYTES = [pa.binary(), pa.large_binary(), pa.binary(1)]
TEXT = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
NUMBERS = [
    *(pa.type_for_alias(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)),
    pa.float16(), pa.float32(), pa.float64(), pa.decimal128(5, 2), pa.decimal128(38, 0),
    pa.decimal128(38, 38), pa.decimal256(60, 5), pa.decimal64(10, 3),
]  # fmt: skip
TIMES = [
    pa.date32(), pa.date64(), *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    pa.timestamp("us", "UTC"), pa.timestamp("s", "America/New_York"), pa.timestamp("ns", "+05:30"),
]  # fmt: skip


def literals(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Values to compare with the type, among them such as no value of the type equals."""
    if kind in NUMBERS:
        return some_numbers
    if kind in TIMES:
        return some_times
    return st.booleans() if pa.types.is_boolean(kind) else words
