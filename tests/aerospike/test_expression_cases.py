"""Server expressions: what they let through of keys, lists, fields and metadata, and nothing else."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import aerospike
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from aerospike_helpers import HyperLogLog
from aerospikes import Aerospike
from expression_rows import FAR, NOTHING, SEND, STRUCT, STRUCTS, TEXTS, passed, put, wanted

from connector.aerospike.expressions import compiled
from connector.aerospike.expressions.patterns import from_re2
from connector.filters import (
    ArrayContains,
    Filter,
    IsNull,
    MapContainsKey,
    Not,
    Or,
    bind,
    column,
    evaluate,
    parse_filter,
)

# The client wants the string operations that servers have from 8.2 on in its place.
pytestmark = pytest.mark.filterwarnings("ignore:CmpRegex expression is deprecated")

UTC = dt.UTC


def answer(
    server: Aerospike, table: str, text: str, columns: pa.Schema, key: tuple[str, ...] = ()
) -> list[Any]:
    """What a filter lets through, in order."""
    expression = compiled(bind(parse_filter(text), columns, table), columns, key)
    return sorted(passed(server, table, expression), key=repr)


WORDS = [
    "startswith(c, 'a')", "startswith(c, 'é')", "startswith(c, '\U0010ffff')", "startswith(c, '\ud7ff')",
    "NOT startswith(c, 'a')", "endswith(c, 'b')", "endswith(c, '$')", "NOT endswith(c, 'a')",
    "contains(c, '😀')",
    "contains(c, '.')", "contains(c, '{')", "contains(c, '[a')", "NOT contains(c, 'a')", "c LIKE 'a%b'",
    "c LIKE '%\\%%'",
    "NOT c LIKE 'a%'",
]  # fmt: skip


@pytest.mark.parametrize("text", WORDS)
def test_parts_of_texts_are_found_exactly(
    aerospike_server: Aerospike, table: str, text: str
) -> None:
    put(aerospike_server, table, [*TEXTS, NOTHING, 5, b"a"])
    columns = pa.schema({"c": pa.string()})
    bound = bind(parse_filter(text), columns, table)
    expected = wanted(bound, columns, enumerate([value] for value in TEXTS))
    assert expected
    assert answer(aerospike_server, table, text, columns) == sorted(expected, key=repr)


@pytest.mark.parametrize(
    ("text", "among"),
    [
        ("c < 'a\0b'", "a"),  # which the client would send as what is before the NUL
        ("c <= 'a\0b'", "a"),
        ("NOT rlike(c, 'a.b')", "a\nb"),  # RE2's dot is no line break
        ("NOT c LIKE '_'", "日本"),  # of one character a regular expression of bytes makes several
        ("NOT c LIKE '__'", "é"),
        ("c LIKE '_'", "😀"),
        ("rlike(c, '^.$')", "😀"),
    ],
)
def test_what_the_server_cannot_tell_exactly_is_let_through(
    aerospike_server: Aerospike, table: str, text: str, among: str
) -> None:
    put(aerospike_server, table, [among])
    columns = pa.schema({"c": pa.string()})
    bound = bind(parse_filter(text), columns, table)
    assert wanted(bound, columns, [(0, [among])]) == {0}
    assert answer(aerospike_server, table, text, columns) == [0]


def test_one_of_many(aerospike_server: Aerospike, table: str) -> None:
    """Lists on both sides of every limit, of every type that has lists of its own."""
    server, count = aerospike_server, 300
    put(server, table, [at * 3 for at in range(count)], "n")
    for at in range(count):
        bins = {"s": f"é{at * 3}", "b": b"\xff%d" % (at * 3), "x": at * 3 / 2}
        server.raw.put((server.namespace, table, at), bins)
    columns = pa.schema({"n": pa.int64(), "s": pa.string(), "b": pa.binary(), "x": pa.float64()})
    for size in (1, 2, 32, 33, 50, 51, 700, 10_000):
        hit = {at for at in range(count) if at * 3 in range(size)}
        every: list[tuple[Filter, set[int]]] = [
            (column("n").isin(range(size)), hit),
            (column("s").isin(f"é{n}" for n in range(size)), hit),
            (column("b").isin(b"\xff%d" % n for n in range(size)), hit),
            (column("x").isin(n / 2 for n in range(size)), hit),
        ]
        for filter, expected in every:
            bound = bind(filter, columns, table)
            assert passed(server, table, compiled(bound, columns, ())) == expected, str(bound)[:80]
            rest = compiled(bind(~filter, columns, table), columns, ())
            if filter is every[-1][0] and size > 50:
                continue
            assert passed(server, table, rest) == set(range(count)) - expected


def test_more_values_than_the_server_takes_are_their_span(
    aerospike_server: Aerospike, table: str
) -> None:
    put(aerospike_server, table, [5, 99_999, 100_001, -1, NOTHING])
    columns = pa.schema({"c": pa.int64()})
    many = bind(column("c").isin(range(0, 100_000, 3)), columns, table)
    assert passed(aerospike_server, table, compiled(many, columns, ())) == {0, 1}
    others = bind(~column("c").isin(range(0, 100_000, 3)), columns, table)
    assert passed(aerospike_server, table, compiled(others, columns, ())) == {0, 1, 2, 3}


def test_fields_are_left_out_by_the_server(aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, [NOTHING if one is None else one for one in STRUCTS])
    columns = pa.schema({"c": STRUCT})
    for text, expected in [
        ("c.n = 5", [2]),
        ("c.n IS NULL", [0, 1, 3]),
        ("c.n > 0 AND c.x < 10", [2, 6]),
        ("c.`in`.n IN (1, 7)", [2, 6]),
        ("c.`in`.deep.s LIKE 'a%'", [6]),
        ("c.`in`.deep.s IS NULL", [0, 1, 3, 4, 5]),
        ("c.`in` IS NULL", [0, 1, 3]),
        ("c.t = TIMESTAMP '2013-01-31'", [2]),
        ("c.b = TRUE", [2]),
    ]:
        assert answer(aerospike_server, table, text, columns) == expected, text


KEYS = [1, 2, -5, FAR, "a", "ab", "é", "1", "", b"a", b"\x00", b"\xff"]


def test_keys(aerospike_server: Aerospike, table: str) -> None:
    """User keys of every type, and a record that was written without its key."""
    server = aerospike_server
    for key in KEYS:
        client_key = bytearray(key) if isinstance(key, bytes) else key
        server.raw.put((server.namespace, table, client_key), {"k": 1}, policy=SEND)
    server.raw.put((server.namespace, table, 99), {"k": 1})
    number, text, data, day = (
        pa.schema({"k": kind}) for kind in (pa.int64(), pa.string(), pa.binary(), pa.date32())
    )
    for query, columns, expected in [
        ("k = 2", number, [2]),
        ("k > 1", number, [2, FAR]),
        ("k IN (1, -5, 99)", number, [-5, 1]),
        ("NOT k = 2", number, [-5, 1, FAR]),
        ("k = 'a'", text, ["a"]),
        ("startswith(k, 'a')", text, ["a", "ab"]),
        ("endswith(k, 'b')", text, ["ab"]),
        ("k LIKE '_'", text, ["1", "a", "ab", "é"]),
        ("k >= 'ab'", text, ["ab", "é"]),
        ("k IN (X'61', X'FF')", data, [b"a", b"\xff"]),
        ("k < X'61'", data, [b"\x00"]),
        ("k IS NULL", number, [None]),
        ("k IS NOT NULL", text, KEYS),
    ]:
        found = answer(server, table, query, columns, ("k",))
        assert found == sorted(expected, key=repr), query
    for query, columns in [("k = 2", pa.schema({"k": pa.float64()})), ("k > '2013-01-31'", day)]:
        assert compiled(bind(parse_filter(query), columns, table), columns, ("k",)) is None
    both = pa.schema({"k": pa.int64(), "j": pa.int64()})
    assert compiled(bind(parse_filter("k = 1 AND j = 1"), both, table), both, ("k", "j")) is None


METADATA = pa.schema(
    {
        "__ttl": pa.int64(),
        "__expiry": pa.timestamp("s", "UTC"),
        "__set": pa.string(),
        "__key": pa.string(),
        "__digest": pa.binary(20),
        "__generation": pa.int32(),
    }
)


def test_metadata(aerospike_server: Aerospike, table: str) -> None:
    server = aerospike_server
    for key, ttl in [("never", aerospike.TTL_NEVER_EXPIRE), ("hour", 3600), ("day", 86_400)]:
        server.raw.put((server.namespace, table, key), {"a": 1}, policy={**SEND, "ttl": ttl})
    soon = dt.datetime.fromtimestamp(int(time.time()), UTC)
    in_2_hours, tomorrow = soon + dt.timedelta(hours=2), soon + dt.timedelta(days=1)
    everything = ["day", "hour", "never"]
    for query, expected in [
        ("__ttl < 7200", ["hour"]),
        ("__ttl >= 7200", ["day"]),
        ("__ttl = 3600", ["hour"]),
        ("__ttl <> 5", ["day", "hour"]),
        ("__ttl IN (3500, 3590)", ["hour"]),
        ("NOT __ttl IN (3600)", ["day", "hour"]),
        ("__ttl IS NULL", ["never"]),
        ("__ttl IS NOT NULL", ["day", "hour"]),
        ("__ttl < 99999999999999999", ["day", "hour"]),
        ("__ttl > -99999999999999999", ["day", "hour"]),
        (f"__expiry < TIMESTAMP '{in_2_hours:%Y-%m-%d %H:%M:%S}Z'", ["hour"]),
        (f"__expiry = TIMESTAMP '{tomorrow:%Y-%m-%d %H:%M:%S}Z'", ["day"]),
        ("__expiry > TIMESTAMP '9000-01-01'", []),
        ("__expiry < TIMESTAMP '9000-01-01'", ["day", "hour"]),
        ("__expiry > TIMESTAMP '0001-01-01'", ["day", "hour"]),
        ("__expiry IS NULL", ["never"]),
        (f"__set = '{table}'", everything),
        ("__set = 'no'", []),
        ("NOT startswith(__set, 't')", []),
        ("__set IS NULL", []),
    ]:
        assert answer(server, table, query, METADATA) == expected, query
    for query in ["__key = 'never'", "__generation = 1", "__digest = X'00'", "__key IS NULL"]:
        assert compiled(bind(parse_filter(query), METADATA, table), METADATA, ("__key",)) is None


def test_members(aerospike_server: Aerospike, table: str) -> None:
    server = aerospike_server
    bins: list[dict[str, Any]] = [
        {"n": [1, 2, None], "s": ["a", "é"], "b": [b"x"], "m": {"a": 1}, "k": {5: "x"}},
        {"n": [], "s": [], "b": [], "m": {}, "k": {}},
        {"n": [2, 3], "s": ["b"], "b": [b"a", b"x"], "m": {"b": None}, "k": {-1: None, 6: "y"}},
        {"n": 2, "s": "a", "m": [1]},
    ]
    for at, one in enumerate(bins):
        server.raw.put((server.namespace, table, at), {"o": 1, **one}, policy=SEND)
    columns = pa.schema(
        {
            "n": pa.list_(pa.int16()),
            "s": pa.list_(pa.string()),
            "b": pa.list_(pa.binary()),
            "m": pa.map_(pa.string(), pa.int64()),
            "k": pa.map_(pa.int64(), pa.string()),
            "x": pa.list_(pa.float64()),
        }
    )
    cases: list[tuple[Filter, list[int]]] = [
        (ArrayContains(("n",), 2), [0, 2]),
        (ArrayContains(("n",), 1), [0]),
        (Not(ArrayContains(("n",), 3)), [0, 1]),
        (ArrayContains(("s",), "é"), [0]),
        (ArrayContains(("b",), b"x"), [0, 2]),
        (MapContainsKey(("m",), "b"), [2]),
        (Not(MapContainsKey(("m",), "b")), [0, 1]),
        (MapContainsKey(("k",), -1), [2]),
        (IsNull(("n",)), []),
        (Not(IsNull(("n",))), [0, 1, 2]),
        (ArrayContains(("n",), 1.5), [0, 1, 2]),
        (ArrayContains(("x",), 1.5), []),
    ]
    for filter, expected in cases:
        bound = bind(filter, columns, table)
        found = passed(server, table, compiled(bound, columns, ()))
        assert sorted(found) == expected, str(filter)


def test_a_hyperloglog_may_be_any_bytes(aerospike_server: Aerospike, table: str) -> None:
    server, key = aerospike_server, (aerospike_server.namespace, table, 7)
    put(server, table, [b"a", b"b"])
    server.raw.put(key, {"c": HyperLogLog(bytes([0, 4, 0]) + bytes(20))}, policy=SEND)
    assert isinstance(server.raw.get(key)[2]["c"], HyperLogLog)
    assert answer(server, table, "c = X'61'", pa.schema({"c": pa.binary()})) == [0, 7]


def test_bins_of_other_names(aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, [1, 2, NOTHING], "short")
    columns = pa.schema({"a_column_with_a_long_name": pa.int64()})
    bound = bind(column("a_column_with_a_long_name") >= 2, columns, table)
    bins = {"a_column_with_a_long_name": "short"}
    assert passed(aerospike_server, table, compiled(bound, columns, (), bins=bins)) == {1}


def test_what_the_server_cannot_tell(aerospike_server: Aerospike, table: str) -> None:
    """Is left out of an AND, and makes an OR useless."""
    put(aerospike_server, table, [1, 2, NOTHING])
    columns = pa.schema({"c": pa.int64(), "__generation": pa.int32()})
    assert answer(aerospike_server, table, "c = 2 AND __generation = 1", columns) == [1]
    either = bind(parse_filter("c = 2 OR __generation = 1"), columns, table)
    assert compiled(either, columns, ()) is None
    many = bind(Or(tuple(column("c") == n for n in range(201))), columns, table)
    assert compiled(many, columns, ()) is None
    for filter in (column("c").isin([]), ~column("c").isin([])):
        assert compiled(filter, columns, ()) is None


def test_as_many_and_as_deep_as_filters_may_be(aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, [1, 2, 201, NOTHING])
    columns = pa.schema({"c": pa.int64()})
    many = bind(Or(tuple(column("c") == n for n in range(2, 202))), columns, table)
    assert passed(aerospike_server, table, compiled(many, columns, ())) == {1, 2}
    deep: Filter = column("c") == 2
    for n in range(38):
        deep = ~((deep | (column("c") == -n)) & (column("c") < 201)) if n % 2 else ~~deep
    found = passed(aerospike_server, table, compiled(bind(deep, columns, table), columns, ()))
    batch = pa.record_batch({"c": pa.array([1, 2, 201, None], pa.int64())})
    expected = pc.indices_nonzero(evaluate(bind(deep, columns, table), batch)).to_pylist()
    assert sorted(found) == expected


@pytest.mark.parametrize(
    ("pattern", "posix"),
    [
        ("^ab[a-c]+.*$", "^ab[a-c]+.*$"),
        ("a.b", "a.{1,4}b"),
        (r"\.\+", r"\.\+"),
        ("(é|b)?", "(é|b)?"),
        (r"\<", "<"),
        ("é*", None),
        (r"\d", None),
        ("a{2}", None),
        ("a*?", None),
        ("(?i)a", None),
        ("[^a]", None),
        ("[a-c-e]", None),
        ("a|", None),
        ("|a", None),
        ("()", None),
        ("a\nb", None),
    ],
)
def test_regular_expressions_that_the_server_has(pattern: str, posix: str | None) -> None:
    assert from_re2(pattern) == posix
