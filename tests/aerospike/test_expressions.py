"""Server expressions against a reader of single rows: every wanted record comes, of any filter."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import aerospike
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import pytest
from aerospikes import Aerospike
from expression_rows import (
    BLOBS,
    NOTHING,
    NUMBERS,
    POINT,
    STRUCT,
    STRUCTS,
    TEXTS,
    decoded,
    passed,
    put,
    stored_values,
    wanted,
)
from hypothesis import given
from hypothesis import strategies as st

from connector.aerospike.expressions import compiled
from connector.filters import (
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
    Regex,
    TextMatch,
    bind,
    evaluate,
)

# The client wants the string operations that servers have from 8.2 on in its place.
pytestmark = pytest.mark.filterwarnings("ignore:CmpRegex expression is deprecated")


def filters(leaf: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    def joined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.one_of(terms.map(And), terms.map(Or), inner.map(Not))

    return st.recursive(leaf, joined, max_leaves=5)


def literals(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pt.is_boolean(kind):
        return st.booleans()
    if pt.is_string(kind):
        return st.sampled_from([*TEXTS, "a\x00b", "\x00", POINT, "{z"])
    if pt.is_binary(kind) or pt.is_fixed_size_binary(kind):
        return st.sampled_from(BLOBS)
    if pt.is_temporal(kind):
        days = [dt.date(2013, 1, 31), dt.date(1970, 1, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31)]
        times = [dt.datetime(2013, 1, 31, 0, 0, 0, us) for us in (0, 1, 1000)]
        return st.sampled_from([*days, *times, dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)])
    if pt.is_decimal(kind):
        return st.sampled_from(
            [Decimal(text) for text in ("1.5", "0", "1", "-1.50", "100", "0.01")]
        )
    return st.sampled_from([*NUMBERS, 2**63, 2**64 - 1, Decimal("0.1"), 3.5, 255.5])


PATTERNS = st.lists(
    st.sampled_from(["%", "_", "\\%", "\\_", "\\\\", "a", "b", "é", "\n", ".", "+", "{", "^", "$"]),
    max_size=5,
).map("".join)
EXPRESSIONS = st.lists(
    st.sampled_from(
        ["a", "b", "é", ".", ".*", "a?", "a+", ".+", ".?", "[a-c]", "[ab]+", "^", "$", "(a|b)", "(é)*", "\\.",
         "\\+?", "\\\\", "\\|", "\\^", " ", "[A-Z]", "|b", "日", "(^a)", "\\s", "a{2}", "[^a]", "\n"]
    ),
    max_size=5,
).map("".join)  # fmt: skip


def leaves(kind: pa.DataType, path: tuple[str, ...] = ("c",)) -> st.SearchStrategy[Filter]:
    at, some = st.just(path), literals(kind)
    kinds: list[st.SearchStrategy[Filter]] = [
        st.builds(Comparison, at, st.sampled_from(Operator), some),
        st.builds(In, at, st.lists(some, max_size=4).map(tuple)),
        st.just(IsNull(path)),
    ]
    if pt.is_string(kind) or pt.is_binary(kind) or pt.is_fixed_size_binary(kind):
        kinds.append(st.builds(TextMatch, at, st.sampled_from(Match), st.sampled_from(TEXTS)))
    if pt.is_string(kind):
        kinds.append(st.builds(Like, at, PATTERNS))
        kinds.append(st.builds(Regex, at, EXPRESSIONS))
    return st.one_of(kinds)


KINDS = [
    pa.bool_(), *(pa.type_for_alias(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 32, 64)),
    pa.float16(), pa.float32(), pa.float64(), pa.decimal128(5, 2), pa.decimal128(38, 10), pa.string(),
    pa.binary(), pa.binary(1), pa.date32(), pa.date64(), *(pa.timestamp(u) for u in ("s", "ms", "us", "ns")),
    pa.timestamp("us", "Europe/Berlin"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_no_wanted_record_is_left_out(
    aerospike_server: Aerospike, table: str, kind: pa.DataType
) -> None:
    values = stored_values(kind)
    put(aerospike_server, table, values)
    columns = pa.schema({"c": kind})

    @given(filters(leaves(kind)))
    def check(filter: Filter) -> None:
        bound = bind(filter, columns, table)
        found = passed(aerospike_server, table, compiled(bound, columns, ()))
        missed = wanted(bound, columns, enumerate([value] for value in values)) - found
        assert not missed, [values[at] for at in missed]

    check()


EXACT = [pa.int64(), pa.float64(), pa.string(), pa.timestamp("us")]


@pytest.mark.parametrize("kind", EXACT, ids=str)
def test_comparisons_are_answered_exactly(
    aerospike_server: Aerospike, table: str, kind: pa.DataType
) -> None:
    """Of bins of the column's type and of others, missing ones, and any AND, OR and NOT."""
    values = [value for value in stored_values(kind) if not isinstance(value, aerospike.GeoJSON)]
    values = [v for v in values if not pt.is_floating(kind) or type(v) is not int or abs(v) < 2**53]
    put(aerospike_server, table, values)
    columns = pa.schema({"c": kind})
    plain = literals(kind).filter(lambda v: not (isinstance(v, str) and "\0" in v))
    plain = plain.filter(lambda v: not (isinstance(v, float) and math.isinf(v)))
    leaf = st.one_of(
        st.builds(Comparison, st.just(("c",)), st.sampled_from(Operator), plain),
        st.builds(In, st.just(("c",)), st.lists(plain, min_size=1, max_size=4).map(tuple)),
        st.just(IsNull(("c",))),
    )
    rows = [(at, [value]) for at, value in enumerate(values)]
    bad = {at for at, (value,) in rows if decoded(value, kind) is None}

    @given(filters(leaf))
    def check(filter: Filter) -> None:
        bound = bind(filter, columns, table)
        expression = compiled(bound, columns, ())
        found = passed(aerospike_server, table, expression)
        if expression is None:  # every value of the type passes, or none of those that are there
            return
        assert found - bad == wanted(bound, columns, rows), str(bound)

    check()


PATHS: list[tuple[tuple[str, ...], pa.DataType]] = [
    (("c", "n"), pa.int64()), (("c", "x"), pa.float64()), (("c", "s"), pa.string()), (("c", "b"), pa.bool_()),
    (("c", "t"), pa.timestamp("ms")), (("c", "in", "n"), pa.int32()), (("c", "in", "deep", "s"), pa.string()),
]  # fmt: skip


def test_fields_of_structs(aerospike_server: Aerospike, table: str) -> None:
    stored = [NOTHING if one is None else one for one in STRUCTS]
    put(aerospike_server, table, [*stored, 5, "a", [1]])  # and three bad fields
    columns = pa.schema({"c": STRUCT})
    batch = pa.RecordBatch.from_arrays([pa.array(STRUCTS, STRUCT)], schema=columns)
    nulls = st.sampled_from([IsNull(("c", "in")), IsNull(("c", "in", "deep")), IsNull(("c",))])
    leaf = st.one_of(nulls, *(leaves(kind, path) for path, kind in PATHS))

    @given(filters(leaf))
    def check(filter: Filter) -> None:
        bound = bind(filter, columns, table)
        found = passed(aerospike_server, table, compiled(bound, columns, ()))
        missed = set(pc.indices_nonzero(evaluate(bound, batch)).to_pylist()) - found
        assert not missed, [STRUCTS[at] for at in missed]

    check()
