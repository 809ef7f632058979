"""Arrow arrays of generated types, for property tests."""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pt
from hypothesis import strategies as st

Values = st.SearchStrategy[Any]

_UNITS = ("s", "ms", "us", "ns")
_ZONES = (None, "UTC", "America/New_York", "+05:30")
_FIRST = dt.datetime(1, 1, 1)
_EPOCH = dt.datetime(1970, 1, 1)
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

numbers = st.sampled_from(
    [
        *(pa.type_for_alias(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)),
        pa.float32(),
        pa.float64(),
    ]
)
flat = st.one_of(
    numbers,
    st.sampled_from([pa.bool_(), pa.string(), pa.binary(), pa.binary(3), pa.date32(), pa.date64()]),
    st.sampled_from([pa.decimal128(11, 2), pa.decimal128(38, 0), pa.decimal256(60, 5)]),
    st.sampled_from([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
    st.builds(pa.timestamp, st.sampled_from(_UNITS), st.sampled_from(_ZONES)),
    st.builds(pa.duration, st.sampled_from(_UNITS)),
)
_names = st.text(st.sampled_from(string.ascii_letters + ' "\\:{}[],.%é\n'), min_size=1, max_size=4)


def _wrapped(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.lists(st.tuples(_names, inner), min_size=1, max_size=3, unique_by=lambda it: it[0])
    return st.one_of(
        st.builds(pa.list_, inner),
        st.builds(pa.list_, inner, st.integers(1, 3)),
        fields.map(pa.struct),
        st.builds(pa.map_, flat, inner),
    )


nested = st.one_of(_wrapped(flat), _wrapped(_wrapped(flat)))
any_type = st.one_of(flat, nested)


def _between(low: dt.datetime, unit: str) -> Values:
    per = _NANOSECONDS[unit]
    most = min(int((dt.datetime(9999, 12, 31) - _EPOCH).total_seconds()) * 10**9, 2**63 - 1)
    # The first second that nanoseconds hold does not parse back, and is refused.
    least = max(int((low - _EPOCH).total_seconds()), -9_223_372_036) * 10**9
    return st.integers(least // per + 1, most // per)


def values(kind: pa.DataType, *, nulls: bool = True) -> Values:
    """Python values that make an array of this type; integers for times."""
    some = _some(kind)
    return st.none() | some if nulls else some


def _some(kind: pa.DataType) -> Values:
    if pt.is_list(kind) or pt.is_fixed_size_list(kind):
        vector = pt.is_integer(kind.value_type) or pt.is_floating(kind.value_type)
        item = values(kind.value_type, nulls=not vector)
        size = kind.list_size if pt.is_fixed_size_list(kind) else None
        return st.lists(item, min_size=size or 0, max_size=size or 3)
    if pt.is_map(kind):
        pair = st.tuples(values(kind.key_type, nulls=False), values(kind.item_type))
        return st.lists(pair, max_size=3)
    if pt.is_struct(kind):
        return st.fixed_dictionaries({field.name: values(field.type) for field in kind})
    return next(make(kind) for test, make in _FLAT if test(kind))


def _whole(kind: pa.DataType) -> Values:
    signed = pt.is_signed_integer(kind)
    low = -(1 << kind.bit_width - 1) if signed else 0
    return st.integers(low, low + (1 << kind.bit_width) - 1)


def _decimal(kind: pa.DataType) -> Values:
    most = 10**kind.precision - 1
    return st.integers(-most, most).map(lambda n: Decimal(n).scaleb(-kind.scale, _context(kind)))


def _context(kind: pa.DataType) -> Any:
    from decimal import Context

    return Context(prec=kind.precision)


_FLAT: list[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], Values]]] = [
    (pt.is_integer, _whole),
    (pt.is_floating, lambda kind: st.floats(width=kind.bit_width, allow_nan=False)),
    (pt.is_boolean, lambda kind: st.booleans()),
    (pt.is_string, lambda kind: st.text(max_size=8)),
    (pt.is_binary, lambda kind: st.binary(max_size=8)),
    (pt.is_fixed_size_binary, lambda kind: st.binary(min_size=3, max_size=3)),
    (pt.is_decimal, _decimal),
    (pt.is_date, lambda kind: st.dates()),
    (pt.is_timestamp, lambda kind: _between(_FIRST, kind.unit)),
    (pt.is_duration, lambda kind: st.integers(-(2**63) + 1, 2**63 - 1)),
    (pt.is_time, lambda kind: st.integers(0, 86_400 * 10**9 // _NANOSECONDS[kind.unit] - 1)),
]


@st.composite
def arrays(draw: st.DrawFn, kinds: st.SearchStrategy[pa.DataType]) -> pa.Array:
    """An array of a generated type; often a slice of a longer one."""
    kind = draw(kinds)
    whole = pa.array(draw(st.lists(values(kind), max_size=6)), kind)
    start = draw(st.integers(0, len(whole)))
    return whole.slice(start, draw(st.integers(0, len(whole) - start)))
