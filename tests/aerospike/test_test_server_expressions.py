"""Expressions: the test server does what a real server does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import aerospike
import pytest
from aerospike_helpers import cdt_ctx
from aerospike_helpers import expressions as exp
from aerospike_helpers.expressions import list as lists
from aerospike_helpers.operations import expression_operations, list_operations, map_operations
from witness import KINDS, Witness, code, witness_of
from witness_expected import EXPECTED
from witness_expressions import CASES, RECORDS

pytestmark = pytest.mark.filterwarnings("ignore:CmpRegex expression is dep:DeprecationWarning")


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Witness]:
    with witness_of(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def table(server: Witness) -> Iterator[str]:
    found = f"e{uuid.uuid4().hex[:8]}"
    for name, bins in RECORDS.items():
        policy = {"key": aerospike.POLICY_KEY_SEND} | ({"ttl": 1000} if name in "ab" else {})
        server.raw.put(server.key(found, name), bins, policy=policy)
    yield found
    server.clear(found)


@pytest.mark.parametrize(("name", "expression"), CASES, ids=[name for name, _ in CASES])
def test_a_filter_lets_through(server, table, name, expression):
    found = server.records(table, {"expressions": expression.compile()})
    assert "".join(sorted(record[0][2] for record in found)) == EXPECTED[name]


def test_a_filter_by_set(server, table):
    policy = {"expressions": exp.Eq(exp.SetName(), table).compile()}
    assert len(server.records(table, policy)) == len(RECORDS)


def test_empty_maps_are_equal(server, table):
    """Others can only be compared where they are ordered by key."""
    key = server.key(table + "m", 1)
    server.raw.put(key, {"m": {}, "n": {"a": 1}})
    for expression, expected in [
        (exp.Eq(exp.MapBin("m"), {}), 0),
        (exp.Eq(exp.MapBin("n"), {"a": 1}), 27),
        (exp.NE(exp.MapBin("n"), {"a": 1}), 27),
        (exp.LT(exp.MapBin("m"), exp.MapBin("n")), 27),
    ]:
        policy = {"expressions": expression.compile()}
        assert code(lambda policy=policy: server.raw.get(key, policy)) == expected
    server.raw.remove(key)


@pytest.mark.parametrize(
    "expression",
    [
        exp.Eq(exp.IntBin("n"), 1.0),
        exp.Eq(exp.IntBin("n"), exp.FloatBin("f")),
        exp.And(exp.Eq(exp.IntBin("n"), 1), exp.IntBin("n")),
        exp.Not(exp.IntBin("n")),
        exp.Eq(exp.Add(exp.IntBin("n"), 1.0), 2),
        exp.Eq(exp.ToInt(exp.IntBin("n")), 2),
        exp.Eq(exp.ToFloat(exp.FloatBin("f")), 2.0),
        exp.CmpRegex(0, "a", exp.IntBin("n")),
        exp.CmpRegex(aerospike.REGEX_EXTENDED, "(", exp.StrBin("s")),
        exp.Eq(exp.IntBin("n" * 16), 1),
        exp.Cond(exp.IntBin("n"), True, False),
        exp.Eq(exp.Cond(exp.BoolBin("y"), 1, 2.0), 1),
        exp.Eq(exp.GeoBin("g"), exp.GeoBin("g")),
        exp.Eq(exp.DigestMod(0), 1),
        exp.Eq(exp.Var("x"), 1),
        exp.Eq(lists.ListSize(None, exp.IntBin("n")), 1),
        exp.IntBin("n"),
        exp.StrBin("s"),
        exp.Add(exp.IntBin("n"), 1),
    ],
)
def test_what_is_no_filter(server, table, expression):
    assert code(lambda: server.records(table, {"expressions": expression.compile()})) == 4


def test_the_longest_filter(server, table):
    def terms(count: int) -> list[object]:
        size = lists.ListSize(None, exp.ListBin("l"))
        return list(exp.Or(*(exp.Eq(size, i) for i in range(count))).compile())

    # Compiled, a read takes 344 bytes, its bin 24, a number 16, what compares them and OR 8 each.
    most = ((1 << 20) - 8 - 1) // (344 + 24 + 16 + 8)
    assert code(lambda: server.raw.get(server.key(table, "a"), {"expressions": terms(most)})) == 0
    assert (
        code(lambda: server.raw.get(server.key(table, "a"), {"expressions": terms(most + 1)})) == 4
    )


@pytest.mark.parametrize("terms", [100, 3_000])
def test_many_terms(server, table, terms):
    expression = exp.Or(*(exp.Eq(exp.IntBin("n"), i) for i in range(terms)))
    found = server.records(table, {"expressions": expression.compile()})
    assert sorted(record[0][2] for record in found) == ["a", "g", "h"]


def test_deep_nesting(server, table):
    expression: Any = exp.Eq(exp.IntBin("n"), 1)
    for _ in range(50):
        expression = exp.Not(expression)
    found = server.records(table, {"expressions": expression.compile()})
    assert [record[0][2] for record in found] == ["a"]


@pytest.mark.parametrize(
    ("name", "expression", "expected"),
    [
        ("a", exp.Add(exp.IntBin("n"), 1), 2),
        ("a", exp.FloatBin("f"), 1.5),
        ("a", exp.StrBin("s"), "abc"),
        ("a", exp.BlobBin("b"), b"\x01\x02"),
        ("a", exp.BoolBin("y"), True),
        ("a", exp.GT(exp.IntBin("n"), 1), False),
        ("a", exp.ListBin("l"), [1, 2, 3]),
        ("d", exp.MapBin("m"), {"k": "v", "j": {"i": [5, 6]}}),
        (
            "a",
            lists.ListGetByIndexRange(None, aerospike.LIST_RETURN_VALUE, 1, 2, exp.ListBin("l")),
            [2, 3],
        ),
        ("a", exp.KeyStr(), "a"),
        ("a", exp.Val("text"), "text"),
    ],
)
def test_reading_an_expression(server, table, name, expression, expected):
    read = expression_operations.expression_read("x", expression.compile())
    assert server.raw.operate(server.key(table, name), [read])[2] == {"x": expected}


def test_reading_what_is_unknown(server, table):
    key = server.key(table, "f")
    read = expression_operations.expression_read
    unknown = exp.IntBin("n").compile()
    assert code(lambda: server.raw.operate(key, [read("x", unknown)])) == 26
    quiet = read("x", unknown, aerospike.EXP_READ_EVAL_NO_FAIL)
    assert server.raw.operate(key, [quiet])[2] == {"x": None}


def test_an_expression_beside_bins_in_a_query(server, table):
    query = server.raw.query(server.namespace, table)
    query.add_ops([expression_operations.expression_read("x", exp.BinType("n").compile())])
    assert sorted(record[2]["x"] for record in query.results()) == [0, 1, 1, 1, 1, 1, 1, 2]


VALUE, COUNT = aerospike.MAP_RETURN_VALUE, aerospike.MAP_RETURN_COUNT


@pytest.mark.parametrize(
    ("name", "operation", "expected"),
    [
        ("a", list_operations.list_size("l"), {"l": 3}),
        ("a", list_operations.list_get("l", 1), {"l": 2}),
        ("a", list_operations.list_get_range("l", 1, 2), {"l": [2, 3]}),
        ("a", list_operations.list_get_by_index("l", -1, VALUE), {"l": 3}),
        (
            "b",
            list_operations.list_get_by_value("l", "x", aerospike.LIST_RETURN_INDEX),
            {"l": [0, 2]},
        ),
        ("a", list_operations.list_get_by_rank("l", 0, VALUE), {"l": 1}),
        ("d", map_operations.map_size("m"), {"m": 2}),
        ("d", map_operations.map_get_by_key("m", "k", VALUE), {"m": "v"}),
        ("d", map_operations.map_get_by_key("m", "none", VALUE), {"m": None}),
        ("d", map_operations.map_get_by_key_list("m", ["k", "j"], COUNT), {"m": 2}),
        ("h", map_operations.map_get_by_key_range("m", "a", "l", VALUE), {"m": [7]}),
        (
            "d",
            map_operations.map_get_by_key("m", "i", VALUE, ctx=[cdt_ctx.cdt_ctx_map_key("j")]),
            {"m": [5, 6]},
        ),
        ("f", list_operations.list_size("l"), {}),
    ],
)
def test_reading_lists_and_maps(server, table, name, operation, expected):
    assert server.raw.operate(server.key(table, name), [operation])[2] == expected


@pytest.mark.parametrize(
    ("name", "operation", "expected"),
    [
        ("d", list_operations.list_size("m"), 12),
        ("a", map_operations.map_size("l"), 12),
        ("a", list_operations.list_size("n"), 12),
        ("a", list_operations.list_get_by_index("l", 9, VALUE), 26),
        ("d", map_operations.map_get_by_index("m", 9, VALUE), 26),
        ("d", map_operations.map_size("m", ctx=[cdt_ctx.cdt_ctx_map_key("none")]), 26),
    ],
)
def test_reading_what_is_no_list_or_map(server, table, name, operation, expected):
    key = server.key(table, name)
    assert code(lambda: server.raw.operate(key, [operation])) == expected
