"""One record at a time: the test server does what a real server does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import aerospike
import pytest
from aerospike_helpers import HyperLogLog
from aerospike_helpers.expressions import base as exp
from aerospike_helpers.operations import hll_operations
from aerospike_helpers.operations import operations as op
from witness import KINDS, Witness, code, witness_of

# The client warns of what it will lose, but put takes a generation in no other way.
GENERATIONS = pytest.mark.filterwarnings("ignore:meta parameter is dep:DeprecationWarning")
APPENDS = pytest.mark.filterwarnings("ignore:.*deprecated for strings.*:DeprecationWarning")


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Witness]:
    with witness_of(request.param) as found:
        yield found


@pytest.fixture
def key(server: Witness) -> Iterator[tuple[str, str, str]]:
    found = server.key("records", uuid.uuid4().hex)
    yield found
    code(lambda: server.raw.remove(found))


VALUES = {
    "int": -(2**63),
    "big": 2**63 - 1,
    "float": -0.5,
    "nan": float("inf"),
    "text": "Grüße",
    "empty": "",
    "blob": bytearray(b"\0\xff"),
    "yes": True,
    "list": [1, "a", None, 2.5, [True, {"k": 1}], bytearray(b"x")],
    "map": {"a": 1, "b": {"c": [1]}, 3: "three"},
}


def test_every_type_comes_back(server, key):
    server.raw.put(key, VALUES)
    _, meta, bins = server.raw.get(key)
    assert bins == VALUES
    assert [type(value) for value in bins.values()] == [type(bins[name]) for name in bins]
    assert bins["yes"] is True
    assert meta["gen"] == 1


def test_hyperloglogs(server, key):
    server.raw.operate(key, [hll_operations.hll_init("h", 4), hll_operations.hll_init("i", 5, 6)])
    bins = server.raw.get(key)[2]
    assert bins == {"h": bytes([0, 4, 0]) + bytes(20), "i": bytes([0, 5, 6]) + bytes(56)}
    server.raw.put(key, {"j": bins["h"], "b": bytearray(bins["h"])})
    found = server.raw.get(key)[2]
    assert type(found["j"]) is HyperLogLog and type(found["b"]) is bytes
    assert code(lambda: server.raw.put(key, {"h": HyperLogLog(b"abc")})) == 4


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (hll_operations.hll_init("s", 4), 12),
        (hll_operations.hll_init("q", 3), 4),
        (hll_operations.hll_init("q", 4, 99), 4),
        (hll_operations.hll_init("q"), 26),
        (hll_operations.hll_init("h"), 0),
    ],
)
def test_what_is_no_hyperloglog(server, key, operation, expected):
    server.raw.put(key, {"s": "x"})
    server.raw.operate(key, [hll_operations.hll_init("h", 5)])
    assert code(lambda: server.raw.operate(key, [operation])) == expected


def test_a_geojson_value_comes_back(server, key):
    point = aerospike.GeoJSON({"type": "Point", "coordinates": [1.0, 2.0]})
    server.raw.put(key, {"where": point})
    found = server.raw.get(key)[2]["where"]
    assert isinstance(found, aerospike.GeoJSON) and found.unwrap() == point.unwrap()


def test_ordered_maps_come_back_in_their_order(server, key):
    server.raw.put(key, {"m": aerospike.KeyOrderedDict({"b": 1, "a": 2})})
    found = server.raw.get(key)[2]["m"]
    assert list(found) == ["a", "b"]


def test_put_merges_bins_and_counts_generations(server, key):
    server.raw.put(key, {"a": 1, "b": 2})
    server.raw.put(key, {"b": 3, "c": 4})
    _, meta, bins = server.raw.get(key)
    assert bins == {"a": 1, "b": 3, "c": 4} and meta["gen"] == 2


def test_select_gives_the_bins_that_are_there(server, key):
    server.raw.put(key, {"a": 1, "b": 2})
    assert server.raw.select(key, ["b", "none"])[2] == {"b": 2}
    assert server.raw.select(key, ["none"])[2] == {}


def test_what_is_not_there(server, key):
    assert code(lambda: server.raw.get(key)) == 2
    assert code(lambda: server.raw.select(key, ["a"])) == 2
    assert code(lambda: server.raw.remove(key)) == 2
    assert code(lambda: server.raw.touch(key)) == 2
    assert server.raw.exists(key)[1] is None


def test_another_namespace_is_refused(server):
    assert code(lambda: server.raw.put(("nowhere", "s", 1), {"a": 1})) == 20


def test_remove(server, key):
    server.raw.put(key, {"a": 1})
    server.raw.remove(key)
    assert code(lambda: server.raw.get(key)) == 2


def test_durable_delete_is_for_the_enterprise(server, key):
    server.raw.put(key, {"a": 1})
    assert code(lambda: server.raw.remove(key, policy={"durable_delete": True})) == 25


def test_null_deletes_a_bin_and_the_last_one_the_record(server, key):
    server.raw.put(key, {"a": 1, "b": 2})
    server.raw.put(key, {"a": aerospike.null()})
    assert server.raw.get(key)[2] == {"b": 2}
    server.raw.put(key, {"b": None})
    assert code(lambda: server.raw.get(key)) == 2


def test_null_of_a_record_that_is_not_there(server, key):
    assert code(lambda: server.raw.put(key, {"a": None})) == 2


@pytest.mark.parametrize(
    ("policy", "absent", "present"),
    [
        (aerospike.POLICY_EXISTS_IGNORE, 0, 0),
        (aerospike.POLICY_EXISTS_CREATE, 0, 5),
        (aerospike.POLICY_EXISTS_UPDATE, 2, 0),
        (aerospike.POLICY_EXISTS_REPLACE, 2, 0),
        (aerospike.POLICY_EXISTS_CREATE_OR_REPLACE, 0, 0),
    ],
)
def test_existence_policies(server, key, policy, absent, present):
    def put() -> int:
        return code(lambda: server.raw.put(key, {"b": 2}, policy={"exists": policy}))

    assert put() == absent
    server.raw.put(key, {"a": 1})
    assert put() == present


def test_replace_drops_the_old_bins(server, key):
    server.raw.put(key, {"a": 1})
    replace = {"exists": aerospike.POLICY_EXISTS_REPLACE}
    server.raw.put(key, {"b": 2}, policy=replace)
    assert server.raw.get(key)[2] == {"b": 2}
    assert code(lambda: server.raw.put(key, {"c": None}, policy=replace)) == 4


@pytest.mark.parametrize(
    ("policy", "given", "expected"),
    [
        (aerospike.POLICY_GEN_EQ, 2, 0),
        (aerospike.POLICY_GEN_EQ, 1, 3),
        (aerospike.POLICY_GEN_GT, 3, 0),
        (aerospike.POLICY_GEN_GT, 2, 3),
        (aerospike.POLICY_GEN_IGNORE, 9, 0),
    ],
)
@GENERATIONS
def test_generation_policies(server, key, policy, given, expected):
    server.raw.put(key, {"a": 1})
    server.raw.put(key, {"a": 2})
    policies = {"gen": policy, "generation": given}
    if policy == aerospike.POLICY_GEN_EQ and expected:
        assert code(lambda: server.raw.remove(key, policy=policies)) == expected
    assert code(lambda: server.raw.put(key, {"a": 3}, {"gen": given}, {"gen": policy})) == expected


@GENERATIONS
def test_a_record_that_is_not_there_has_generation_0(server, key):
    policy = {"gen": aerospike.POLICY_GEN_EQ}
    assert code(lambda: server.raw.put(key, {"a": 1}, {"gen": 1}, policy)) == 3
    assert code(lambda: server.raw.put(key, {"a": 1}, {"gen": 0}, policy)) == 0


def test_times_to_live(server, key):
    def ttl() -> int:
        return int(server.raw.exists(key)[1]["ttl"])

    server.raw.put(key, {"a": 1}, policy={"ttl": 1000})
    assert 998 <= ttl() <= 1000
    server.raw.put(key, {"a": 2}, policy={"ttl": aerospike.TTL_DONT_UPDATE})
    assert 998 <= ttl() <= 1000
    server.raw.touch(key, 500)
    assert 498 <= ttl() <= 500
    server.raw.put(key, {"a": 3}, policy={"ttl": aerospike.TTL_NEVER_EXPIRE})
    assert ttl() == 0xFFFFFFFF
    server.raw.put(key, {"a": 3}, policy={"ttl": 100})
    server.raw.put(key, {"a": 3}, policy={"ttl": aerospike.TTL_NAMESPACE_DEFAULT})
    assert ttl() == 0xFFFFFFFF


def test_a_ttl_of_more_than_ten_years_is_refused(server, key):
    most = 10 * 365 * 24 * 3600
    assert code(lambda: server.raw.put(key, {"a": 1}, policy={"ttl": most})) == 0
    assert code(lambda: server.raw.put(key, {"a": 1}, policy={"ttl": most + 1})) == 4


def test_keeping_the_ttl_of_nothing_is_the_default(server, key):
    server.raw.put(key, {"a": 1}, policy={"ttl": aerospike.TTL_DONT_UPDATE})
    assert server.raw.exists(key)[1]["ttl"] == 0xFFFFFFFF


def test_records_expire(server, key):
    server.raw.put(key, {"a": 1}, policy={"ttl": 1})
    server.raw.get(key)
    time.sleep(2.5)
    assert code(lambda: server.raw.get(key)) == 2
    create = {"exists": aerospike.POLICY_EXISTS_CREATE}
    server.raw.put(key, {"b": 1}, policy=create)
    _, meta, bins = server.raw.get(key)
    assert bins == {"b": 1} and meta["gen"] == 1


def test_a_sent_key_is_kept_and_checked_by_scans_only(server, key):
    server.raw.put(key, {"a": 1}, policy={"key": aerospike.POLICY_KEY_SEND})
    server.raw.put(key, {"b": 1})
    found = server.raw.query(server.namespace, "records").results(
        {"expressions": exp.Eq(exp.KeyStr(), key[2]).compile()}
    )
    assert [record[0][2] for record in found] == [key[2]]


@pytest.mark.parametrize(("size", "expected"), [(1, 0), (15, 0), (16, 21)])
def test_bin_names(server, key, size, expected):
    # The client itself refuses 16, with the server's code.
    assert code(lambda: server.raw.put(key, {"n" * size: 1})) == expected


def test_the_greatest_record(server, key):
    # 35 bytes, the set's name and 1, 1 for the count of bins, 2 and 5 for the bin, 4 for the end.
    most = (1 << 20) - 35 - len("records") - 1 - 1 - 2 - 5 - 4
    assert code(lambda: server.raw.put(key, {"b": bytearray(most + 1)})) == 13
    assert code(lambda: server.raw.get(key)) == 2
    assert code(lambda: server.raw.put(key, {"b": bytearray(most)})) == 0
    assert code(lambda: server.raw.put(key, {"c": 1})) == 13
    assert list(server.raw.get(key)[2]) == ["b"]


@APPENDS
def test_operate_reads_and_writes_in_order(server, key):
    server.raw.put(key, {"n": 1, "s": "b", "f": 0.5})
    _, meta, bins = server.raw.operate(
        key,
        [
            op.increment("n", 4),
            op.append("s", "c"),
            op.prepend("s", "a"),
            op.increment("f", 0.25),
            op.write("new", 7),
            op.read("n"),
            op.read("s"),
            op.read("f"),
            op.read("none"),
        ],
    )
    assert bins == {"n": 5, "s": "abc", "f": 0.75}
    assert meta["gen"] == 2
    assert server.raw.get(key)[2]["new"] == 7


def test_operate_ordered_answers_what_finds_a_value(server, key):
    server.raw.put(key, {"n": 1})
    _, _, answers = server.raw.operate_ordered(
        key, [op.increment("n", 1), op.read("n"), op.read("none"), op.write("n", 9), op.read("n")]
    )
    assert answers == [("n", 2), ("n", 9)]


@APPENDS
def test_operations_create_what_they_modify(server, key):
    server.raw.operate(key, [op.increment("n", 4), op.append("s", "x"), op.prepend("b", b"y")])
    assert server.raw.get(key)[2] == {"n": 4, "s": "x", "b": b"y"}


def test_increments_wrap(server, key):
    server.raw.put(key, {"n": 2**63 - 1})
    server.raw.operate(key, [op.increment("n", 1)])
    assert server.raw.get(key)[2] == {"n": -(2**63)}


@pytest.mark.parametrize(
    "operation",
    [
        op.increment("s", 1),
        op.increment("f", 1),
        op.increment("n", 0.5),
        op.append("n", "x"),
        op.append("l", "x"),
        op.append("s", b"x"),
        op.prepend("b", "x"),
        op.increment("y", 1),
    ],
)
@APPENDS
def test_operations_on_other_types(server, key, operation):
    bins = {"n": 1, "s": "x", "f": 1.5, "b": b"x", "l": [1], "y": True}
    server.raw.put(key, bins)
    assert code(lambda: server.raw.operate(key, [op.write("o", 1), operation])) == 12
    assert server.raw.get(key)[2] == bins


def test_delete_in_operate(server, key):
    server.raw.put(key, {"n": 1})
    server.raw.operate(key, [op.read("n"), op.delete()])
    assert code(lambda: server.raw.get(key)) == 2


def test_delete_and_write_replaces(server, key):
    server.raw.put(key, {"n": 1})
    server.raw.operate(key, [op.delete(), op.write("m", 2)])
    assert server.raw.get(key)[2] == {"m": 2}


def test_touch_counts_a_generation(server, key):
    server.raw.put(key, {"n": 1})
    server.raw.touch(key)
    _, meta, bins = server.raw.get(key)
    assert meta["gen"] == 2 and bins == {"n": 1}


def test_filters_on_one_record(server, key):
    passing = {"expressions": exp.Eq(exp.IntBin("n"), 1).compile()}
    failing = {"expressions": exp.Eq(exp.IntBin("n"), 2).compile()}
    unknown = {"expressions": exp.Eq(exp.IntBin("none"), 2).compile()}
    assert code(lambda: server.raw.get(key, failing)) == 2
    assert code(lambda: server.raw.put(key, {"n": 1}, policy=failing)) == 0
    raw = server.raw
    for policy, expected in ((passing, 0), (failing, 27), (unknown, 27)):
        assert code(lambda policy=policy: raw.get(key, policy)) == expected
        assert code(lambda policy=policy: raw.select(key, ["n"], policy)) == expected
        assert code(lambda policy=policy: raw.put(key, {"n": 1}, policy=policy)) == expected
    assert code(lambda: server.raw.remove(key, policy=failing)) == 27
    assert code(lambda: server.raw.remove(key, policy=passing)) == 0


def test_a_filter_that_is_none(server, key):
    server.raw.put(key, {"n": 1})
    mixed = {"expressions": exp.Eq(exp.IntBin("n"), exp.StrBin("n")).compile()}
    assert code(lambda: server.raw.get(key, mixed)) == 4


def test_a_digest_finds_the_record(server, key):
    server.raw.put(key, {"n": 1}, policy={"key": aerospike.POLICY_KEY_SEND})
    digest = aerospike.calc_digest(*key)
    assert server.raw.get((key[0], key[1], None, digest))[2] == {"n": 1}


def test_compressed_requests_are_for_the_enterprise(server, key):
    bins = {"s": "abc" * 1000}
    assert code(lambda: server.raw.put(key, bins, policy={"compress": True})) == 25
    server.raw.put(key, bins)
    assert server.raw.get(key, {"compress": True})[2] == bins
