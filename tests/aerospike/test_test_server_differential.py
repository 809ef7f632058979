"""Random writes and expressions: the test server and a real one give the same answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import aerospike
import pytest
from aerospike_helpers import expressions as exp
from aerospike_helpers.expressions import list as lists
from aerospike_helpers.expressions import map as maps
from aerospike_helpers.expressions.resources import ResultType
from aerospike_helpers.operations import operations as op
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import Witness, code, witness_of
from witness import given as given_server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ["n", "f", "s", "y", "b", "l", "m"]
KEYS = list("abcdef")

integers = st.integers(-3, 3) | st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
floats = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.5, float("inf"), float("nan")])
texts = st.text("abAü.\n", max_size=4)
blobs = st.binary(max_size=3).map(bytearray)
flat = st.none() | st.booleans() | integers | floats | texts
values = (
    flat.filter(lambda value: value is not None)
    | blobs
    | st.lists(flat | st.lists(integers, max_size=2), max_size=4)
    | st.dictionaries(texts | integers, flat | st.lists(integers, max_size=2), max_size=3)
    | st.dictionaries(texts, flat, max_size=3).map(aerospike.KeyOrderedDict)
)
own = {
    "n": integers,
    "f": floats,
    "s": texts,
    "y": st.booleans(),
    "b": blobs,
    "l": st.lists(flat | st.lists(integers, max_size=2), max_size=4),
    "m": st.dictionaries(texts | integers, flat, max_size=3),
}
typical = st.fixed_dictionaries({}, optional=own).filter(bool)
strange = st.dictionaries(st.sampled_from(NAMES), values | st.none(), min_size=1, max_size=7)
bins = typical | typical | strange

puts = st.tuples(st.just("put"), st.sampled_from(KEYS), bins)
writes = st.one_of(
    puts,
    puts,
    puts,
    st.tuples(st.just("replace"), st.sampled_from(KEYS), bins),
    st.tuples(st.just("create"), st.sampled_from(KEYS), bins),
    st.tuples(st.just("update"), st.sampled_from(KEYS), bins),
    st.tuples(st.just("remove"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("touch"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("increment"), st.sampled_from(KEYS), st.sampled_from(NAMES)),
    st.tuples(st.just("append"), st.sampled_from(KEYS), st.sampled_from(NAMES)),
)

EXISTS = {
    "put": aerospike.POLICY_EXISTS_IGNORE,
    "replace": aerospike.POLICY_EXISTS_CREATE_OR_REPLACE,
    "create": aerospike.POLICY_EXISTS_CREATE,
    "update": aerospike.POLICY_EXISTS_UPDATE,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Witness]]:
    with given_server() as real, witness_of("test server") as ours:
        yield [ours, real]


def written(server: Witness, table: str, write: tuple[str, str, Any]) -> int:
    """Carry out a write; its result code."""
    how, name, what = write
    key = server.key(table, name)
    if how == "remove":
        return code(lambda: server.raw.remove(key))
    if how == "touch":
        return code(lambda: server.raw.touch(key))
    if how == "increment":
        return code(lambda: server.raw.operate(key, [op.increment(what, 2)]))
    if how == "append":
        return code(lambda: server.raw.operate(key, [op.append(what, "x")]))
    policy = {"exists": EXISTS[how], "key": aerospike.POLICY_KEY_SEND}
    return code(lambda: server.raw.put(key, what, policy=policy))


def contents(server: Witness, table: str, policy: dict[str, Any] | None = None) -> Any:
    """All records, or the error that a filter leads to."""
    found: Any = None

    def read() -> None:
        nonlocal found
        found = sorted(
            (record[0][2] or "", record[1]["gen"], repr(sorted(record[2].items())))
            for record in server.records(table, policy)
        )

    return code(read) or found


def ints(deeper: Any) -> Any:
    return st.one_of(
        integers,
        st.sampled_from(["n", "f"]).map(exp.IntBin),
        st.sampled_from(NAMES).map(exp.BinType),
        st.builds(lambda a, b: exp.Add(a, b), deeper, deeper),
        st.builds(lambda a, b: exp.Mul(a, b), deeper, deeper),
        st.builds(lambda a, b: exp.Sub(a, b), deeper, deeper),
        st.builds(lambda a, b: exp.Div(a, b), deeper, deeper),
        st.builds(lambda a, b: exp.Mod(a, b), deeper, deeper),
        st.builds(lambda a: lists.ListSize(None, exp.ListBin(a)), st.sampled_from(["l", "m"])),
        st.builds(
            lambda kind, value: lists.ListGetByValue(None, kind, value, exp.ListBin("l")),
            st.just(aerospike.LIST_RETURN_COUNT),
            flat,
        ),
        st.builds(
            lambda value, others: lists.ListGetByValueList(
                None, aerospike.LIST_RETURN_COUNT, [value, *others], exp.ListBin("l")
            ),
            flat,
            st.lists(flat, max_size=2),
        ),
        st.builds(
            lambda begin, end: lists.ListGetByValueRange(
                None, aerospike.LIST_RETURN_COUNT, begin, end, exp.ListBin("l")
            ),
            integers,
            integers,
        ),
        st.builds(
            lambda at: lists.ListGetByIndex(
                None, aerospike.LIST_RETURN_VALUE, ResultType.INTEGER, at, exp.ListBin("l")
            ),
            st.integers(-3, 3),
        ),
        st.builds(
            lambda key: maps.MapGetByKey(
                None, aerospike.MAP_RETURN_VALUE, ResultType.INTEGER, key, exp.MapBin("m")
            ),
            texts | integers,
        ),
        st.builds(
            lambda key: maps.MapGetByKey(
                None, aerospike.MAP_RETURN_COUNT, ResultType.INTEGER, key, exp.MapBin("m")
            ),
            texts | integers,
        ),
        st.builds(
            lambda value: maps.MapGetByValue(
                None, aerospike.MAP_RETURN_COUNT, value, exp.MapBin("m")
            ),
            flat,
        ),
    )


numbers = st.recursive(integers | st.just("n").map(exp.IntBin), ints, max_leaves=4)
comparers = st.sampled_from([exp.Eq, exp.NE, exp.LT, exp.LE, exp.GT, exp.GE])
comparisons = st.one_of(
    st.builds(lambda compare, a, b: compare(a, b), comparers, numbers, numbers),
    st.builds(lambda compare, b: compare(exp.FloatBin("f"), b), comparers, floats),
    st.builds(lambda compare, b: compare(exp.StrBin("s"), b), comparers, texts),
    st.builds(lambda compare, b: compare(exp.BlobBin("b"), b), comparers, blobs),
    st.builds(lambda compare, b: compare(exp.BoolBin("y"), b), comparers, st.booleans()),
    st.builds(
        lambda compare, b: compare(exp.ListBin("l"), b), comparers, st.lists(flat, max_size=3)
    ),
    st.builds(
        lambda compare, b: compare(exp.MapBin("m"), b),
        comparers,
        st.dictionaries(texts, flat, max_size=2).map(aerospike.KeyOrderedDict),
    ),
    st.builds(lambda name: exp.BinExists(name), st.sampled_from(NAMES)),
    st.builds(lambda compare, b: compare(exp.KeyStr(), b), comparers, st.sampled_from(KEYS)),
    st.builds(
        lambda flags, pattern: exp.CmpRegex(flags, pattern, exp.StrBin("s")),
        st.sampled_from([0, 1, 2, 3]),
        st.text("abA.*^$ü[]+()\\", max_size=4),
    ),
)
conditions = st.recursive(
    comparisons,
    lambda deeper: st.one_of(
        st.builds(lambda parts: exp.And(*parts), st.lists(deeper, min_size=2, max_size=3)),
        st.builds(lambda parts: exp.Or(*parts), st.lists(deeper, min_size=2, max_size=3)),
        st.builds(exp.Not, deeper),
        st.builds(lambda a, b: exp.Exclusive(a, b), deeper, deeper),
        st.builds(lambda a, b, c: exp.Cond(a, b, c), deeper, deeper, deeper),
    ),
    max_leaves=6,
)


@settings(max_examples=30)
@given(
    steps=st.lists(writes, min_size=4, max_size=15),
    filters=st.lists(conditions, min_size=4, max_size=12),
)
def test_the_same_answers(servers, steps, filters):
    table = f"d{uuid.uuid4().hex[:10]}"
    try:
        for step in steps:
            ours, real = (written(server, table, step) for server in servers)
            assert ours == real, step
        ours, real = (contents(server, table) for server in servers)
        assert ours == real
        for expression in filters:
            policy = {"expressions": expression.compile()}
            ours, real = (contents(server, table, policy) for server in servers)
            assert ours == real, policy
    finally:
        for server in servers:
            server.clear(table)
