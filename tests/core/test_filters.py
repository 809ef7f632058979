"""Filters: their text, their binding to types, and their answers against a reader of single rows."""

from __future__ import annotations

import datetime as dt
import functools
import operator
import pickle
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from core.filter_rows import (
    BYTES,
    NAN,
    NUMBERS,
    TEXT,
    TIMES,
    UTC,
    edges,
    filters,
    fractions,
    literals,
    patterns,
    truth,
    within,
    words,
)
from hypothesis import given
from hypothesis import strategies as st

from connector import OptionError, SchemaError
from connector.filters import (
    And,
    ArrayContains,
    Comparison,
    Filter,
    In,
    IsNull,
    Like,
    MapContainsKey,
    Match,
    Not,
    Operator,
    Or,
    Regex,
    TextMatch,
    bind,
    column,
    columns_of,
    conjuncts,
    evaluate,
    keep,
    key_values,
    parse_filter,
)

names = st.text(st.sampled_from("ab_1 `\"é'.\n"), min_size=1, max_size=3) | st.sampled_from(
    ["a", "date", "and", "NOT", "double", "x", "startswith", "rlike", "array_contains", "timestamp"]
)
paths = st.lists(names, min_size=1, max_size=3).map(tuple)
texts = st.text(max_size=4) | st.sampled_from(["it's", "''", "\\", "a\n", "%", "\x00"])
any_value = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-(10**60), 10**60),
    st.floats(),
    st.decimals(allow_nan=False, allow_infinity=False),
    texts,
    st.binary(max_size=3),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
)
any_filter = filters(
    st.one_of(
        st.builds(Comparison, paths, st.sampled_from(Operator), any_value),
        st.builds(In, paths, st.lists(any_value, max_size=3).map(tuple)),
        st.builds(IsNull, paths),
        st.builds(TextMatch, paths, st.sampled_from(Match), texts),
        st.builds(Like, paths, patterns),
        st.builds(Regex, paths, st.sampled_from(["", "^a'", r"\d+\.$", "(?i)é|\n", "x{2,3}?"])),
        st.builds(ArrayContains, paths, any_value),
        st.builds(MapContainsKey, paths, any_value),
    )
)


@given(any_filter)
def test_text_parses_back_to_the_same(filter: Filter) -> None:
    again = parse_filter(str(filter))
    assert again == filter
    assert repr(again) == repr(filter)  # which tells 1 from True and 1.0
    assert hash(again) == hash(filter)


@given(any_filter)
def test_pickles(filter: Filter) -> None:
    again = pickle.loads(pickle.dumps(filter))
    assert again == filter
    assert again.depth == filter.depth


@given(st.text(st.sampled_from("ab'`\"()=<>!,.%+-\\ 019eEXx\n") | st.characters(), max_size=12))
def test_any_text_parses_or_is_refused_by_name(text: str) -> None:
    refused = refusal(text)
    if refused is None:
        assert parse_filter(str(parse_filter(text))) == parse_filter(text)
    else:
        assert "at character" in refused or "backslash" in refused


def refusal(text: str) -> str | None:
    try:
        parse_filter(text)
    except OptionError as error:
        return str(error)
    return None


@given(st.data())
def test_mangled_filters_parse_or_are_refused_by_name(data: st.DataObject) -> None:
    text = "NOT (a >= -1.5e3 AND b IN ('x', X'00', DATE '2013-01-31')) OR c BETWEEN 1 AND 2"
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 5))
    mangled = (
        text[:at] + data.draw(st.sampled_from(["", "'", "(", "AND", ",", "é"])) + text[at + cut :]
    )
    refused = refusal(mangled)
    assert refused is None or "at character" in refused


SPELLINGS = [
    ("age >= 18", column("age") >= 18),
    ("18 <= age", column("age") >= 18),
    ("18 > age", column("age") < 18),
    ("1 = age", column("age") == 1),
    ("a != 1", column("a") != 1),
    ("a <> 1", column("a") != 1),
    ("a == 1", column("a") == 1),
    ("`a b` = 'it''s'", column("a b") == "it's"),
    ('"a""b" = 1', column('a"b') == 1),
    ("`a``b` = 1", column("a`b") == 1),
    ("A = 1", column("A") == 1),
    ("a.b = 1", column("a", "b") == 1),
    ("`a.b` = 1", column("a.b") == 1),
    ("a.`b.c`.d = 1", column("a", "b.c", "d") == 1),
    ("`a`.`b``` = 1", column("a", "b`") == 1),
    ('"a.b"."c" = 1', column("a.b", "c") == 1),
    ("a . b\n.c = .5", column("a", "b", "c") == Decimal("0.5")),
    ("a.`in` in (1)", column("a", "in").isin([1])),
    ("1.<= date.x", column("date", "x") >= Decimal("1")),
    ("a.b.c is not null", column("a", "b", "c").is_not_null()),
    ("a.b not between 1 and 3", ~column("a", "b").between(1, 3)),
    ("a.b LIKE 'x%'", column("a", "b").like("x%")),
    ("startswith(a.b, 'x')", column("a", "b").startswith("x")),
    ("startswith.contains = 'x'", column("startswith", "contains") == "x"),
    ("date < date '2013-01-31'", column("date") < dt.date(2013, 1, 31)),
    ("t = TIMESTAMP '2013-01-31 12:00:00'", column("t") == dt.datetime(2013, 1, 31, 12)),
    ("t = TIMESTAMP '2013-01-31T12:00:00.25Z'",
     column("t") == dt.datetime(2013, 1, 31, 12, 0, 0, 250000, UTC)),
    ("t = TIMESTAMP '2013-01-31 12:00+01:00'", column("t") == dt.datetime(2013, 1, 31, 11, tzinfo=UTC)),
    ("t = timestamp '2013-01-31'", column("t") == dt.datetime(2013, 1, 31)),
    ("a = 1.5", column("a") == Decimal("1.5")),
    ("a = .5", column("a") == Decimal("0.5")),
    ("a = 1e3", column("a") == 1000.0),
    ("a = -1", column("a") == -1),
    ("a = 1.50BD", column("a") == Decimal("1.50")),
    ("a = TRUE", column("a") == True),  # noqa: E712
    ("a is null", column("a").is_null()),
    ("a IS NOT NULL", column("a").is_not_null()),
    ("a in (1, 2)", column("a").isin([1, 2])),
    ("a not in ('x')", ~column("a").isin(["x"])),
    ("a between 1 and 3", column("a").between(1, 3)),
    ("a not between 1 and 3", ~column("a").between(1, 3)),
    ("a like 'x%'", column("a").like("x%")),
    ("a not like 'x%'", ~column("a").like("x%")),
    ("STARTSWITH(a, 'x')", column("a").startswith("x")),
    ("endswith(a, 'x')", column("a").endswith("x")),
    ("contains(a, 'x')", column("a").contains("x")),
    ("rlike(a, '^x')", column("a").rlike("^x")),
    ("a RLIKE '^it''s\\s'", column("a").rlike(r"^it's\s")),
    ("a.b not rlike 'x'", ~column("a", "b").rlike("x")),
    ("rlike rlike 'rlike'", column("rlike").rlike("rlike")),
    ("RLIKE(rlike, '')", column("rlike").rlike("")),
    ("rlike = 1", column("rlike") == 1),
    ("array_contains(a, 'x')", column("a").array_contains("x")),
    ("NOT Array_Contains (a.b, DATE '2013-01-31')",
     ~column("a", "b").array_contains(dt.date(2013, 1, 31))),
    ("array_contains(array_contains, -1.5)",
     column("array_contains").array_contains(Decimal("-1.5"))),
    ("array_contains.x IS NULL", column("array_contains", "x").is_null()),
    ("map_contains_key(a, TRUE)", column("a").map_contains_key(True)),
    ("MAP_CONTAINS_KEY(`a b`.c, X'00')", column("a b", "c").map_contains_key(b"\x00")),
    ("a = 1 or b = 2 and not c = 3", (column("a") == 1) | ((column("b") == 2) & ~(column("c") == 3))),
    ("(a = 1 or b = 2) and c = 3", ((column("a") == 1) | (column("b") == 2)) & (column("c") == 3)),
    ("a = 1 and b between 1 and 2 and c = 3",
     (column("a") == 1) & column("b").between(1, 2) & (column("c") == 3)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "filter"), SPELLINGS, ids=[text for text, _ in SPELLINGS])
def test_spelling(text: str, filter: Filter) -> None:
    assert parse_filter(text) == filter
    assert repr(parse_filter(text)) == repr(filter)


MALFORMED = [
    ("", "a column", 1),
    ("a", "=, <>", 2),
    ("a = ", "a number", 5),
    ("a = b", "a number, a 'text'", 5),
    ("a = NULL", "IS NULL", 5),
    ("a IN (1", "')' or ','", 8),
    ("a IN 1", "'('", 6),
    ("a = 'x", "a number", 5),
    ("a = 1 b = 2", "AND, OR or the end", 7),
    ("(a = 1", "')'", 7),
    ("1 = 1", "the name of a column", 5),
    ("a LIKE 5", "a pattern", 8),
    ("a = 1abc", "a number", 5),
    ("a IS 5", "NULL", 6),
    ("a NOT 3", "IN, LIKE, RLIKE or BETWEEN", 7),
    ("a RLIKE 5", "a pattern", 9),
    ("a RLIKE b", "a pattern", 9),
    ("rlike(a)", "','", 8),
    ("rlike(a, 5)", "a pattern", 10),
    ("rlike('a', 'x')", "the name of a column", 7),
    ("array_contains('x', a)", "the name of a column", 16),
    ("array_contains(a, b)", "a number, a 'text'", 19),
    ("array_contains(a, NULL)", "IS NULL", 19),
    ("array_contains(a, 1, 2)", "')'", 20),
    ("array_contains(a, 1) = TRUE", "AND, OR or the end", 22),
    ("map_contains_key(a)", "','", 19),
    ("map_contains_key(a, 'x'", "')'", 24),
    ("a BETWEEN 1 OR 2", "AND", 13),
    ("a = - b", "a number", 7),
    ("a = 1e999", "a double's range", 5),
    ("a = DATE '2013-02-31'", "day", 5),
    ("a = DATE '2013-01-31 10:00'", "no time", 5),
    ("a = TIMESTAMP '2013-01-31 12:00:00.1234567'", "2013-01-31", 5),
    ("a = X'0'", "a value of its type", 5),
    ("and = 1", "a column", 1),
    ("a. = 1", "the name of a field", 4),
    ("a..b = 1", "the name of a field", 3),
    (".a = 1", "a column", 1),
    ("a.in = 1", "the name of a field", 3),
    ("a.5 = 1", "=, <>", 2),
    ("a.'b' = 1", "the name of a field", 3),
    ("a.startswith(b, 'x')", "=, <>", 13),
    ("a = " + "9" * 5000, "fewer digits", 5),
    ("(" * 5000 + "a = 1", "at most 100 levels", 102),
    ("NOT " * 5000 + "a = 1", "at most 100 levels", 405),
]


@pytest.mark.parametrize(
    ("text", "expected", "at"), MALFORMED, ids=[t[:20] for t, _, _ in MALFORMED]
)
def test_malformed_text_is_shown_with_what_was_expected_where(
    text: str, expected: str, at: int
) -> None:
    with pytest.raises(OptionError) as raised:
        parse_filter(text)
    message = str(raised.value)
    assert repr(text[:200])[:-1] in message
    assert re.search(rf"{re.escape(expected)}.* at character {at},", message)


def test_long_chains_are_no_nesting() -> None:
    many = parse_filter(" OR ".join(f"a = {n}" for n in range(5000)))
    assert isinstance(many, Or)
    assert len(many.terms) == 5000
    assert functools.reduce(operator.or_, (column("a") == n for n in range(300))).depth == 1


def test_deep_objects_are_refused() -> None:
    filter: Filter = column("a") == 1
    for _ in range(100):
        filter = ~filter
    assert parse_filter(str(filter)) == filter
    with pytest.raises(OptionError, match="100 levels"):
        Not(filter)


def test_one_and_true_differ() -> None:
    assert (column("a") == 1) != (column("a") == True)  # noqa: E712
    assert (column("a") == 1) != (column("a") == 1.0)
    assert (column("a") == NAN) == (column("a") == float("nan"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: column("a") == None,  # noqa: E711
        lambda: column("a").isin([1, None]),
        lambda: column("a").isin("abc"),
        lambda: column("a") == [1],
        lambda: column("a") == "\ud800",
        lambda: column("a") == 10**2000,
        lambda: column("a") == Decimal("NaN"),
        lambda: column("a").like("x\\"),
        lambda: column("a").like("\\x"),
        lambda: column("a").rlike("("),
        lambda: column("a").rlike(5),  # type: ignore[arg-type]
        lambda: column("a").array_contains(None),  # type: ignore[arg-type]
        lambda: column("a").array_contains(["x"]),  # type: ignore[arg-type]
        lambda: column("a").map_contains_key("\ud800"),
        lambda: column("") == 1,
        lambda: column() == 1,
        lambda: column("a", "") == 1,
        lambda: IsNull("ab"),  # type: ignore[arg-type]
        lambda: IsNull(("a", 1)),  # type: ignore[arg-type]
        lambda: And((column("a") == 1,)),
        lambda: 1 < column("a") < 5,
        lambda: column("a") == dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))),
    ],
)
def test_what_is_no_filter_is_refused(make: Any) -> None:
    with pytest.raises(OptionError):
        make()


def test_numpy_values_become_pythons() -> None:
    values = [np.int64(3), np.float32(0.5), np.str_("x"), np.bool_(True)]
    assert [type(v) for v in In(("a",), tuple(values)).values] == [int, float, str, bool]


def test_columns_and_conjuncts() -> None:
    filter = parse_filter(
        "b = 1 AND (a IN (1) OR NOT a IS NULL) AND contains(c, 'x') AND d LIKE 'x'"
        " AND (array_contains(e.f, 1) OR NOT map_contains_key(g, 1)) AND rlike(h, 'x')"
    )
    assert columns_of(filter) == ("b", "a", "c", "d", "e", "g", "h")
    assert [str(term) for term in conjuncts(filter)] == [
        "b = 1",
        "a IN (1) OR a IS NOT NULL",
        "contains(c, 'x')",
        "d LIKE 'x'",
        "array_contains(e.f, 1) OR NOT map_contains_key(g, 1)",
        "rlike(h, 'x')",
    ]
    assert conjuncts(IsNull(("a",))) == (IsNull(("a",)),)
    assert columns_of(parse_filter("a.b = 1 OR `a.b` = 1 OR a.c.d IS NULL")) == ("a", "a.b")


def _leaves(kind: pa.DataType) -> st.SearchStrategy[Filter]:
    literal = literals(kind)
    kinds = [
        st.builds(Comparison, st.just(("c",)), st.sampled_from(Operator), literal),
        st.builds(In, st.just(("c",)), st.lists(literal, max_size=3).map(tuple)),
        st.just(IsNull(("c",))),
    ]
    if kind in TEXT:
        kinds.append(st.builds(Like, st.just(("c",)), patterns))
    if kind in TEXT + BYTES:
        kinds.append(st.builds(TextMatch, st.just(("c",)), st.sampled_from(Match), words))
    return st.one_of(kinds)


@pytest.mark.parametrize("kind", [pa.bool_(), *NUMBERS, *TIMES, *TEXT, *BYTES], ids=str)
@given(data=st.data())
def test_as_a_reader_of_rows_would_say(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | within(kind), max_size=8))
    if pa.types.is_floating(kind) and kind.bit_width == 16:
        values = [None if v is None else np.float16(v) for v in values]
    skip = data.draw(st.integers(0, 2))
    batch = pa.RecordBatch.from_arrays([pa.array([None] * skip + values, kind).slice(skip)], ["c"])
    filter = data.draw(filters(_leaves(kind)))
    bound = bind(filter, batch.schema, "t")
    found = evaluate(bound, batch)
    assert found.type == pa.bool_()
    rows = [{"c": float(v) if isinstance(v, np.float16) else v} for v in values]
    expected = [truth(filter, row, kind) for row in rows]
    assert found.to_pylist() == expected, str(bound)
    assert keep(bound, batch).num_rows == expected.count(True)
    assert bind(bound, batch.schema, "t") == bound
    assert parse_filter(str(bound)) == bound


nested = filters(
    st.one_of(
        st.builds(
            Comparison, st.just(("a", "b", "c")), st.sampled_from(Operator), fractions | edges
        ),
        st.builds(In, st.just(("a", "b", "c")), st.lists(st.integers(-2, 2)).map(tuple)),
        st.builds(IsNull, st.sampled_from([("a",), ("a", "b"), ("a", "b", "c")])),
    )
)


@given(
    nested,
    st.lists(st.tuples(st.booleans(), st.booleans(), st.none() | st.integers(-2, 2))),
    st.integers(0, 2),
)
def test_a_field_is_null_where_a_struct_around_it_is(
    filter: Filter, cells: list[tuple[bool, bool, int | None]], skip: int
) -> None:
    """Whatever Arrow keeps below a null struct; cells say whether the structs are there."""
    outer, inner, values = zip(*cells, strict=True) if cells else ((), (), ())
    array = pa.array(values, pa.int8())
    for name, there in (("c", inner), ("b", outer)):
        mask = pa.array([not one for one in there], pa.bool_())
        array = pa.StructArray.from_arrays([array], [name], mask=mask)
    batch = pa.RecordBatch.from_arrays([array], ["a"]).slice(skip)
    rows = [{"a": {"b": {"c": c} if b else None} if a else None} for a, b, c in cells][skip:]
    bound = bind(filter, batch.schema, "t")
    found = evaluate(bound, batch).to_pylist()
    assert found == [truth(filter, row, pa.int8()) for row in rows], str(bound)
    assert keep(bound, batch).num_rows == found.count(True)


def test_times_of_a_nanosecond_column_between_microseconds() -> None:
    last = 2**63 - 1  # 2262-04-11 23:47:16.854775807
    batch = pa.RecordBatch.from_arrays(
        [pa.array([1, 999, 1000, last, -1], pa.timestamp("ns"))], ["c"]
    )

    def answers(text: str) -> list[bool]:
        found: list[bool] = evaluate(bind(parse_filter(text), batch.schema, "t"), batch).to_pylist()
        return found

    assert answers("c > TIMESTAMP '1970-01-01'") == [True, True, True, True, False]
    assert answers("c <= TIMESTAMP '1970-01-01 00:00:00.000001'") == [True, True, True, False, True]
    assert answers("c < TIMESTAMP '3000-01-01'") == [True] * 5
    assert answers("c <> TIMESTAMP '3000-01-01'") == [True] * 5
    assert answers("c > TIMESTAMP '1000-01-01'") == [True] * 5
    assert answers("c IN (TIMESTAMP '3000-01-01')") == [False] * 5


def test_nans_of_other_bits_are_nan() -> None:
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    batch = pa.RecordBatch.from_arrays([pa.array(odd)], ["c"])
    for text in ("c = double('nan')", "c IN (1, double('nan'))", "c > 1"):
        assert (
            evaluate(bind(parse_filter(text), batch.schema, "t"), batch).to_pylist() == [True] * 2
        )


@pytest.mark.parametrize("text", ["c = 0", "c IN (0, 7)", "c IN (-0e0)", "c >= 0 AND c <= -0e0"])
@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_zeros_of_both_signs_are_one(text: str, kind: pa.DataType) -> None:
    zeros = pa.array(np.array([0.0, -0.0], kind.to_pandas_dtype()), kind)
    batch = pa.RecordBatch.from_arrays([zeros], ["c"])
    assert evaluate(bind(parse_filter(text), batch.schema, "t"), batch).to_pylist() == [True, True]


SCHEMA = pa.schema(
    {
        "id": pa.int32(),
        "name": pa.string(),
        "day": pa.date32(),
        "at": pa.timestamp("us", "UTC"),
        "ok": pa.bool_(),
        "x": pa.float64(),
        "raw": pa.binary(),
        "tags": pa.list_(pa.string()),
        "clock": pa.time64("us"),
        "clocks": pa.list_(pa.time64("us")),
        "price": pa.decimal128(10, 2),
        "days": pa.list_(pa.date32()),
        "prices": pa.map_(pa.decimal128(10, 2), pa.int8()),
        "home": pa.struct(
            {
                "city": pa.string(),
                "at": pa.struct({"x": pa.int8(), "is": pa.bool_()}),
                "tags": pa.list_(pa.struct({"x": pa.int8()})),
                "sizes": pa.map_(pa.string(), pa.int8()),
            }
        ),
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "id = 'x'", "id = '5'", "id = TRUE", "id IN (1, 'x')", "id LIKE 'x'", "startswith(id, 'x')",
        "name = 5", "name = DATE '2013-01-31'", "day = 5", "day = 'x'", "day = '2013-01-31 10:00'",
        "at = 'soon'", "ok = 1", "ok = 'true'", "x = 'nan'", "raw = 5", "raw LIKE 'x'", "tags = 'x'",
        "tags IN ()", "contains(tags, 'x')", "clock = '10:00'", "price = '1.5'",
        "price = X'00'", "id = DATE '2013-01-31'", "NOT (id = 1 OR id = 'x')", "home = 'x'",
        "home.at = 1", "home.city = 1", "home.at.x IN ('x')", "home.tags = 1", "home.at.x LIKE 'x'",
        "rlike(id, 'x')", "raw RLIKE 'x'", "rlike(tags, 'x')", "rlike(home, 'x')", "clock RLIKE 'x'",
        "array_contains(name, 'x')", "array_contains(tags, 1)", "array_contains(home, 'x')",
        "array_contains(home.tags, 1)", "array_contains(home.sizes, 'x')", "array_contains(clocks, 1)",
        "map_contains_key(tags, 'x')", "map_contains_key(home, 'city')", "map_contains_key(name, 'x')",
        "map_contains_key(home.sizes, 1)", "NOT (id = 1 OR array_contains(tags, TRUE))",
    ],
)  # fmt: skip
def test_types_that_do_not_compare_are_refused(text: str) -> None:
    with pytest.raises(SchemaError, match=r"table 'people': column '[\w.]+' of type"):
        bind(parse_filter(text), SCHEMA, "people")


def test_an_unknown_column_is_refused_with_those_there_are() -> None:
    with pytest.raises(SchemaError, match=r"'people' has no column 'ID'.* it has id, name, day"):
        bind(parse_filter("name = 'x' AND NOT ID = 1"), SCHEMA, "people")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "home.town = 'x'",
            "'people': column 'home' has no field 'town'.* it has city, at, tags, sizes",
        ),
        ("home.at.y IS NULL", "'people': column 'home.at' has no field 'y'.* it has x, is$"),
        ("`home.city` = 'x'", "'people' has no column 'home.city'"),
        ("house.city = 'x'", "'people' has no column 'house'"),
        ("id.x = 1", "column 'id' of type int32 is no struct, and has no field 'x'"),
        ("home.city.x = 1", "column 'home.city' of type string is no struct"),
        ("tags.x = 1", "column 'tags' of type list<.*> is no struct"),
        ("array_contains(home.tags.x, 1)", "column 'home.tags' of type list<.*> is no struct"),
        ("map_contains_key(home.size, 1)", "column 'home' has no field 'size'"),
        ("home.tags.x = 1", "column 'home.tags' of type list<.*> is no struct"),
        ("home.sizes.key = 'x'", "column 'home.sizes' of type map<.*> is no struct"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        bind(parse_filter(text), SCHEMA, "people")


def test_a_field_of_which_there_are_two_is_refused() -> None:
    kind = pa.struct([("x", pa.int8()), ("x", pa.int8())])
    with pytest.raises(SchemaError, match="'a' has more than one field 'x'"):
        bind(column("a", "x") == 1, pa.schema({"a": kind}), "t")


def test_nested_columns_can_be_null() -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array([["x"], None, []], SCHEMA.field("tags").type)], ["tags"]
    )
    filter = bind(parse_filter("tags IS NOT NULL"), SCHEMA, "t")
    assert evaluate(filter, batch).to_pylist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("id = 1.5", "id = 0 AND id <> 0"),
        ("id < 1.5", "id <= 1"),
        ("id >= -1.5", "id > -2"),
        ("id < 99999999999", "id = 0 OR id <> 0"),
        ("id IN (1, 1.0, 1e0, 2.5, 99999999999)", "id IN (1)"),
        ("x = 1", "x = 1.0e0"),
        ("price = 0.1", "price = 0.10"),
        ("price > 0.125", "price > 0.12"),
        ("raw = 'a'", "raw = X'61'"),
        ("day = '2013-01-31'", "day = DATE '2013-01-31'"),
        ("day < TIMESTAMP '2013-01-31 10:00:00'", "day <= DATE '2013-01-31'"),
        ("at >= '2013-01-31'", "at >= TIMESTAMP '2013-01-31 00:00:00Z'"),
        ("at = '2013-01-31 12:00:00+01:00'", "at = TIMESTAMP '2013-01-31 11:00:00Z'"),
        ("home.at.x < 1.5", "home.at.x <= 1"),
        ("home.at.x > 500", "home.at.x = 0 AND home.at.x <> 0"),
        ("home.at.x IN (1, 500)", "home.at.x IN (1)"),
        ("home.at.`is` = TRUE", "home.at.`is` = TRUE"),
        ("array_contains(days, '2013-01-31')", "array_contains(days, DATE '2013-01-31')"),
        (
            "array_contains(days, TIMESTAMP '2013-01-31 00:00:00')",
            "array_contains(days, DATE '2013-01-31')",
        ),
        (
            "array_contains(days, TIMESTAMP '2013-01-31 10:00:00')",
            "array_contains(days, TIMESTAMP '2013-01-31 10:00:00')",
        ),
        ("map_contains_key(prices, 1)", "map_contains_key(prices, 1.00)"),
        ("map_contains_key(prices, 0.125)", "map_contains_key(prices, 0.125)"),
        ("rlike(name, '^x')", "rlike(name, '^x')"),
    ],
)
def test_bound_text(text: str, bound: str) -> None:
    assert str(bind(parse_filter(text), SCHEMA, "t")) == bound


def test_a_tenth_is_a_tenth() -> None:
    assert str(bind(column("price") == 0.1, SCHEMA, "t")) == "price = 0.10"


def test_evaluating_what_is_not_bound_or_not_there() -> None:
    batch = pa.RecordBatch.from_pydict({"id": pa.array([1], pa.int32())})
    with pytest.raises(SchemaError, match="not bound"):
        evaluate(parse_filter("id = 'x'"), batch)
    with pytest.raises(SchemaError, match="not bound.* only a list has elements"):
        evaluate(parse_filter("array_contains(id, 1)"), batch)
    with pytest.raises(SchemaError, match="not bound.* only a map has keys"):
        evaluate(parse_filter("map_contains_key(id, 1)"), batch)
    with pytest.raises(SchemaError, match="no column 'name'"):
        evaluate(parse_filter("name = 'x'"), batch)
    with pytest.raises(SchemaError, match="column 'id' of type int32 is no struct"):
        evaluate(parse_filter("id.x = 1"), batch)


def lookups(text: str, key: Sequence[str]) -> tuple[list[tuple[object, ...]] | None, str | None]:
    keys, rest = key_values(bind(parse_filter(text), SCHEMA, "t"), key)
    return keys, None if rest is None else str(rest)


def test_fixed_keys() -> None:
    assert lookups("id = 5", ["id"]) == ([(5,)], None)
    assert lookups("id IN (3, 1, 3) AND x > 1", ["id"]) == ([(3,), (1,)], "x > 1.0e0")
    assert lookups("id IN (1, 2, 3) AND id IN (3, 2, 9) AND id <> 2", ["id"]) == (
        [(2,), (3,)],
        "id <> 2",
    )
    assert lookups("id = 1 AND id = 2", ["id"]) == ([], None)
    assert lookups("id = 1 OR id IN (2, 1)", ["id"]) == ([(1,), (2,)], None)
    assert lookups("id = 1 OR name = 'x'", ["id"]) == (None, "id = 1 OR name = 'x'")
    assert lookups("id IN ()", ["id"]) == ([], None)
    assert lookups("name IN ('a', 'b') AND id IN (1, 2)", ["id", "name"]) == (
        [(1, "a"), (1, "b"), (2, "a"), (2, "b")],
        None,
    )
    assert lookups("day = '2013-01-31'", ["day"]) == ([(dt.date(2013, 1, 31),)], None)
    assert lookups("price IN (1, 1.00)", ["price"]) == ([(Decimal("1.00"),)], None)


def test_a_field_is_no_key() -> None:
    """Not even one that has the key's name, or whose text the key's name is."""
    inner = pa.schema(
        {"id": pa.int32(), "home": pa.struct({"id": pa.int32()}), "home.id": pa.int32()}
    )

    def fixed(text: str, *key: str) -> list[tuple[object, ...]] | None:
        return key_values(bind(parse_filter(text), inner, "t"), key)[0]

    assert fixed("home.id = 5", "id") is None
    assert fixed("home.id IN (5, 6)", "home.id") is None
    assert fixed("home.id = 5 OR id = 5", "id") is None
    assert fixed("home.id = 5 OR `home.id` = 5", "home.id") is None
    assert fixed("home.id = 5 AND `home.id` = 6 AND id = 7", "home.id", "id") == [(6, 7)]


@pytest.mark.parametrize(
    "text",
    ["id > 5", "NOT id = 5", "name = 'x'", "id IS NULL", "id <> 1", "rlike(name, '^x$')",
     "array_contains(tags, 'x')", "map_contains_key(prices, 1.00)"],
)  # fmt: skip
def test_keys_that_are_not_fixed(text: str) -> None:
    assert lookups(text, ["id"]) == (None, text)
    assert lookups(text, ["id", "name"]) == (None, text)


def test_keys_that_are_no_lookups() -> None:
    assert lookups("x = 1", ["x"]) == (None, "x = 1.0e0")
    assert lookups("id = 1", []) == (None, "id = 1")
    many = bind(column("id").isin(range(1001)) & column("price").isin(range(1001)), SCHEMA, "t")
    assert key_values(many, ["id", "price"]) == (None, many)


def test_a_key_out_of_range_is_one_lookup_and_no_rows() -> None:
    assert lookups("id = 99999999999", ["id"]) == ([(0,)], "id <> 0")


@given(filters(_leaves(pa.int8())), st.lists(st.none() | st.integers(-3, 3), max_size=5))
def test_lookups_and_their_rest_are_the_filter(filter: Filter, values: list[int | None]) -> None:
    """Rows of the keys alone, after the rest, are those that the whole filter keeps."""
    batch = pa.RecordBatch.from_pydict(
        {"c": pa.array([v for v in values if v is not None], pa.int8())}
    )
    bound = bind(filter, batch.schema, "t")
    keys, rest = key_values(bound, ["c"])
    found = (
        batch
        if keys is None
        else batch.filter(pa.array([(v,) in keys for v in batch["c"].to_pylist()], pa.bool_()))
    )
    assert (found if rest is None else keep(rest, found)).equals(keep(bound, batch))
