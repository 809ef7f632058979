"""Info requests, sets, truncation and indexes: the test server does what a real server does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import aerospike
import pytest
from aerospike import predicates
from aerospike_helpers import expressions as exp
from witness import KINDS, Witness, code, witness_of


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Witness]:
    with witness_of(request.param) as found:
        yield found


@pytest.fixture
def table(server: Witness) -> Iterator[str]:
    found = f"i{uuid.uuid4().hex[:8]}"
    yield found
    server.clear(found)


def fields(text: str, between: str = ":") -> dict[str, str]:
    pairs = (part.partition("=") for part in text.rstrip(";").split(between))
    return {name: value for name, _, value in pairs}


def eventually(holds: Callable[[], bool]) -> bool:
    """The real server deletes truncated and expired records, and indexes others, behind the scenes."""
    end = time.monotonic() + 15
    while not (done := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return done


def statistics(server: Witness, table: str) -> dict[str, str]:
    return fields(server.info(f"sets/{server.namespace}/{table}"))


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("status", "ok"),
        ("partitions", "4096"),
        ("edition", "Aerospike Community Edition"),
        ("namespace/nowhere", "type=unknown"),
        ("sets/nowhere/s", "ns_type=unknown"),
        ("service-clear-alt", ""),
    ],
)
def test_what_is_asked_of_a_node(server, request_text, expected):
    assert server.info(request_text) == expected


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("nonsense", "4:unrecognized command"),
        ("bins/test", "4:unrecognized command"),
        ("rack-ids", "25:enterprise only"),
        ("sindex/test/none", "201:no index"),
        ("sindex-stat:namespace=test;indexname=none", "201:no index"),
    ],
)
def test_errors_of_info(server, request_text, expected):
    assert server.info(request_text).startswith(expected)


def test_a_real_build(server):
    assert tuple(map(int, server.info("build").split("."))) >= (6, 0, 0, 0)


def test_a_namespace(server):
    assert server.namespace in server.info("namespaces").split(";")
    facts = fields(server.info(f"namespace/{server.namespace}"), between=";")
    for name in ("objects", "data_used_bytes", "stop_writes", "unavailable_partitions"):
        assert name in facts


def test_sets_are_counted(server, table):
    assert server.info(f"sets/{server.namespace}/{table}") == ""
    for i in range(10):
        server.raw.put(server.key(table, i), {"a": i})
    found = statistics(server, table)
    assert found["objects"] == "10" and found["truncate_lut"] == "0"
    server.raw.put(server.key(table, 0), {"a": 0, "b": 1})
    server.raw.remove(server.key(table, 1))
    assert statistics(server, table)["objects"] == "9"
    assert f"ns={server.namespace}:set={table}:objects=9:" in server.info(
        f"sets/{server.namespace}"
    )
    assert f"ns={server.namespace}:set={table}:objects=9:" in server.info("sets")


@pytest.mark.parametrize(
    "bins",
    [
        {"a": 1},
        {"a": 255, "b": 256, "c": -1, "d": 1 << 20},
        {"f": 1.5, "y": True},
        {"s": "x" * 100, "b": bytearray(1000)},
        {"l": [1, 2, 3], "m": {"k": [1]}},
        {f"bin{i}": i for i in range(200)},
    ],
)
@pytest.mark.parametrize("ttl", [aerospike.TTL_NEVER_EXPIRE, 1000])
@pytest.mark.parametrize("send_key", [False, True])
def test_how_many_bytes_a_record_takes(server, table, bins, ttl, send_key):
    key = aerospike.POLICY_KEY_SEND if send_key else aerospike.POLICY_KEY_DIGEST
    server.raw.put(server.key(table, "k"), bins, policy={"key": key, "ttl": ttl})
    with_key, with_ttl = 3 if send_key else 0, 4 if ttl > 0 and ttl < 1 << 31 else 0
    count = 1 if len(bins) < 128 else 2
    least = 35 + 1 + len(table) + count + with_key + with_ttl
    least += sum(1 + len(name) + flat_bytes(value) for name, value in bins.items())
    assert int(statistics(server, table)["data_used_bytes"]) == -(-(least + 4) // 16) * 16


def flat_bytes(value: object) -> int:
    match value:
        case bool():
            return 2
        case int():
            number = value % (1 << 64)
            return 2 + next(width for width in (1, 2, 4, 8) if number < 1 << 8 * width)
        case float():
            return 9
        case str() | bytearray():
            return 5 + len(value)
        case list():
            return 5 + 4
        case _:
            return 5 + 1 + 3 + 2


def test_truncate_empties_a_set_and_no_other(server, table):
    other = server.key(table + "x", 1)
    server.raw.put(other, {"a": 1})
    for i in range(100):
        server.raw.put(server.key(table, i), {"a": i})
    time.sleep(0.01)  # what was written in the truncation's own millisecond stays
    server.raw.truncate(server.namespace, table, 0)
    assert server.records(table) == []
    assert code(lambda: server.raw.get(server.key(table, 1))) == 2
    assert code(lambda: server.raw.get(other)) == 0
    assert eventually(lambda: statistics(server, table)["objects"] == "0")
    time.sleep(0.01)
    server.raw.put(server.key(table, 1), {"b": 1})
    assert server.raw.get(server.key(table, 1))[2] == {"b": 1}
    server.clear(table + "x")


def test_truncate_before_a_time(server, table):
    for i in range(5):
        server.raw.put(server.key(table, i), {"a": i})
    time.sleep(0.05)
    between = time.time_ns()
    time.sleep(0.05)
    for i in range(3, 8):
        server.raw.put(server.key(table, i), {"a": -i})
    server.raw.truncate(server.namespace, table, between)
    found = sorted(record[2]["a"] for record in server.records(table))
    assert found == [-7, -6, -5, -4, -3]
    assert int(statistics(server, table)["truncate_lut"]) > 0


@pytest.mark.parametrize(
    ("lut", "expected"),
    [("1900000000000000000", "future"), ("5", "truncate to 0"), ("abc", "truncate to 0")],
)
def test_truncate_refuses_times(server, table, lut, expected):
    request = f"truncate:namespace={server.namespace};set={table};lut={lut}"
    found = server.info(request)
    if lut == "1900000000000000000":
        assert found.startswith("4:") and expected in found
    else:
        assert expected in found


def test_the_times_of_records_are_the_servers(server, table):
    before = time.time_ns()
    server.raw.put(server.key(table, 1), {"a": 1})
    since = exp.GE(exp.LastUpdateTime(), before - 2_000_000).compile()
    until = exp.LE(exp.LastUpdateTime(), time.time_ns() + 2_000_000).compile()
    assert len(server.records(table, {"expressions": since})) == 1
    assert len(server.records(table, {"expressions": until})) == 1


def test_expired_records_are_not_counted_for_long(server, table):
    server.raw.put(server.key(table, 1), {"a": 1}, policy={"ttl": 1})
    server.raw.put(server.key(table, 2), {"a": 2})
    assert statistics(server, table)["objects"] == "2"
    assert eventually(lambda: statistics(server, table)["objects"] == "1")
    assert len(server.records(table)) == 1


def index_text(server: Witness, table: str, name: str, bin: str, kind: str) -> str:
    return (
        f"ns={server.namespace}:indexname={name}:set={table}:bin={bin}:type={kind}"
        ":indextype=default:context=null:exp=null:state=RW"
    )


def test_indexes(server, table):
    for i in range(5):
        server.raw.put(server.key(table, i), {"a": i, "s": "x"} if i else {"a": "x"})
    create = server.raw.index_single_value_create
    create(server.namespace, table, "a", aerospike.INDEX_NUMERIC, f"{table}_a")
    create(server.namespace, table, "s", aerospike.INDEX_STRING, f"{table}_s")
    numeric = index_text(server, table, f"{table}_a", "a", "numeric")
    string = index_text(server, table, f"{table}_s", "s", "string")
    assert eventually(lambda: {numeric, string} <= set(server.info("sindex-list").split(";")))
    assert statistics(server, table)["sindexes"] == "2"
    assert numeric in server.info(f"sindex/{server.namespace}")
    asked = f"sindex-stat:namespace={server.namespace};indexname={table}_a"
    assert eventually(lambda: fields(server.info(asked), ";")["entries"] == "4")
    assert fields(server.info(asked), ";")["load_pct"] == "100"
    exists = f"sindex-exists:namespace={server.namespace};indexname="
    assert server.info(f"{exists}{table}_a") == "true"
    server.raw.index_remove(server.namespace, f"{table}_a")
    server.raw.index_remove(server.namespace, f"{table}_s")
    assert eventually(lambda: table not in server.info("sindex-list"))
    assert server.info(f"{exists}{table}_a") == "false"


def test_index_definitions(server, table):
    server.raw.put(server.key(table, 1), {"a": 1})
    name = f"{table}_a"
    new = f"sindex-create:namespace={server.namespace};set={table};indexname={name}"
    assert server.info(f"{new};bin=a;type=numeric") == "ok"
    assert server.info(f"{new};bin=a;type=numeric") == "ok"
    assert server.info(f"{new};bin=b;type=numeric").startswith("200:")
    assert server.info(f"{new}x;bin=a;type=nonsense").startswith("4:bad 'type'")
    assert eventually(lambda: f"indexname={name}:" in server.info("sindex-list"))
    assert server.info(f"{new}2;bin=a;type=numeric") == "ok"
    assert eventually(lambda: f"indexname={name}2:" in server.info("sindex-list"))
    assert f"indexname={name}:" not in server.info("sindex-list")
    name += "2"
    server.raw.index_remove(server.namespace, name)
    assert eventually(lambda: name not in server.info("sindex-list"))
    assert server.info(f"sindex-delete:namespace={server.namespace};indexname={name}") == "ok"


def test_other_kinds_of_indexes(server, table):
    server.raw.put(server.key(table, 1), {"l": ["a", 1, "a"], "m": {"k": 5}, "b": bytearray(b"x")})
    raw, namespace = server.raw, server.namespace
    raw.index_list_create(namespace, table, "l", aerospike.INDEX_STRING, f"{table}1")
    raw.index_map_keys_create(namespace, table, "m", aerospike.INDEX_STRING, f"{table}2")
    raw.index_map_values_create(namespace, table, "m", aerospike.INDEX_NUMERIC, f"{table}3")
    raw.index_single_value_create(namespace, table, "b", aerospike.INDEX_BLOB, f"{table}4")
    raw.index_single_value_create(namespace, None, "n", aerospike.INDEX_STRING, f"{table}5")
    names = [f"{table}{i}" for i in range(1, 6)]

    def described(name: str) -> str:
        found = [one for one in server.info("sindex-list").split(";") if name in one]
        return found[0].partition(":bin=")[2] if found else ""

    assert eventually(lambda: all(described(name).endswith("state=RW") for name in names))
    between = "context=null:exp=null:state=RW"
    assert [described(name) for name in names] == [
        f"l:type=string:indextype=list:{between}",
        f"m:type=string:indextype=mapkeys:{between}",
        f"m:type=numeric:indextype=mapvalues:{between}",
        f"b:type=blob:indextype=default:{between}",
        f"n:type=string:indextype=default:{between}",
    ]
    assert f"indexname={table}5:set=null:" in server.info("sindex-list")
    assert statistics(server, table)["sindexes"] == "4"
    for predicate, expected in [
        (predicates.contains("l", aerospike.INDEX_TYPE_LIST, "a"), 1),
        (predicates.contains("l", aerospike.INDEX_TYPE_LIST, "b"), 0),
        (predicates.contains("m", aerospike.INDEX_TYPE_MAPKEYS, "k"), 1),
        (predicates.contains("m", aerospike.INDEX_TYPE_MAPKEYS, "j"), 0),
        (predicates.range("m", aerospike.INDEX_TYPE_MAPVALUES, 4, 6), 1),
        (predicates.range("m", aerospike.INDEX_TYPE_MAPVALUES, 6, 7), 0),
        (predicates.equals("b", bytearray(b"x")), 1),
        (predicates.equals("n", "x"), 0),
    ]:
        query = raw.query(namespace, table)
        query.where(predicate)
        assert len(query.results()) == expected, predicate
    for name in names:
        raw.index_remove(namespace, name)
    assert eventually(lambda: table not in server.info("sindex-list"))


def test_a_client_that_logs_in(server):
    config = {"hosts": [(server.host, server.port)], "user": "u", "password": "p"}
    assert code(lambda: aerospike.client(config).connect()) != 0
