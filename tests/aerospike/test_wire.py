"""Scans over the columnar wire: the same rows as by the official client, from the nodes that have them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import aerospike
import numpy as np
import pyarrow as pa
import pytest
from aerospikes import Aerospike
from servers.aerospike import AerospikeServer, serve

from connector import DecodeError, StoreError, StoreTimeoutError, open_store, read_all
from connector.aerospike.partitions import PARTITIONS
from connector.aerospike.wire.messages import Request
from connector.aerospike.wire.nodes import Owners, owners
from connector.aerospike.wire.scanning import Cluster, WireScan
from connector.aerospike.wire.sockets import Sockets

SEND = {"key": aerospike.POLICY_KEY_SEND}
METADATA = ["__key", "__digest", "__generation", "__ttl", "__expiry", "__set"]
SCHEMA = pa.schema(
    [
        ("__key", pa.string()),
        ("i", pa.int64()),
        ("small", pa.int16()),
        ("f", pa.float64()),
        ("b", pa.bool_()),
        ("s", pa.string()),
        ("raw", pa.binary()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("price", pa.decimal128(9, 2)),
        ("nothing", pa.string()),
    ]
)


def bins(i: int) -> dict[str, Any]:
    """The bins of a row: more and fewer, in another order, and with values of other types that fit."""
    found = {
        "i": i - 50,
        "small": i % 100,
        "f": i if i % 10 == 1 else i / 3,
        "b": i % 2 if i % 10 == 2 else i % 2 == 0,
        "s": aerospike.GeoJSON({"type": "Point", "coordinates": [i % 90, 1]})
        if i % 10 == 3
        else "é" * (i % 40),
        "raw": bytearray([i % 256] * (i % 7)),
        "day": 20_000 + i,
        "at": 1_700_000_000_000_000 + i,
        "price": f"{i}.25",
        "other": [1, {"x": i}],
    }
    kept = [name for at, name in enumerate(found) if (i * 7 + at) % 5]
    return {name: found[name] for name in (kept if i % 3 else reversed(kept))}


def put(server: Any, namespace: str, table: str, rows: dict[Any, dict[str, Any]]) -> None:
    for key, row in rows.items():
        ttl = 1000 if len(row) % 4 == 1 else aerospike.TTL_NEVER_EXPIRE
        server.put((namespace, table, key), row, policy={**SEND, "ttl": ttl})


def both(url: str, table: str, read: dict[str, Any], **options: Any) -> list[pa.Table]:
    """What is read over the wire, and by the client; sorted, as their pages are cut differently."""
    found = []
    for wire in ("auto", "client"):
        with open_store(url, wire=wire, **options) as store:
            rows = read_all(store.source(table, **read))
        by = "__digest" if "__digest" in rows.column_names else "__key"
        found.append(rows.sort_by(by))
    return found


@pytest.fixture
def url(aerospike_server: Aerospike, table: str) -> str:
    rows = {f"k{i}": bins(i) for i in range(700)}
    put(aerospike_server.raw, aerospike_server.namespace, table, rows)
    return aerospike_server.url


@pytest.mark.parametrize(
    "read",
    [
        {},
        {"columns": [*SCHEMA.names, *METADATA[1:]]},
        {"columns": ["s", "__key", "nothing"]},
        {"columns": ["__key"]},
        {"columns": ["__key", "nothing"]},
        {"columns": ["__key", "i"], "filter": "i > 100 AND s IS NOT NULL"},
        {"columns": ["__key", "i"], "filter": "s IS NULL"},
        {"batch_rows": 7},
        {"batch_rows": 300, "parts": 5},
    ],
)
def test_the_same_rows_as_by_the_client(url: str, table: str, read: dict[str, Any]) -> None:
    wire, client = both(url, table, {"schema": SCHEMA, **read})
    for name in ("__ttl", "__expiry"):  # of which a second may have passed
        if name in wire.column_names:
            left, right = (one[name].cast(pa.int64()).to_pylist() for one in (wire, client))
            assert all(a is b is None or abs(a - b) < 10 for a, b in zip(left, right, strict=True))
            wire, client = wire.drop_columns(name), client.drop_columns(name)
    assert wire.equals(client)
    assert wire.num_rows == (700 if "filter" not in read else client.num_rows) > 0


@pytest.mark.parametrize("build", ["8.1.2.0", "7.2.0.1"])
@pytest.mark.parametrize("wire", ["auto", "client"])
def test_rows_without_the_wanted_bins_end_no_page(
    url: str, table: str, wire: str, build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server before 8.1.2 counts the records that it passes over: pages of those bins have no limit."""
    with open_store(url, wire=wire) as store:
        monkeypatch.setattr(store._connection, "builds", [build], raising=False)  # type: ignore[attr-defined]
        for columns in (["__key", "i"], ["__key", "nothing"]):
            source = store.source(table, schema=SCHEMA, columns=columns, batch_rows=1, parts=1)
            assert sorted(read_all(source)["__key"].to_pylist()) == sorted(
                f"k{i}" for i in range(700)
            )


@pytest.mark.parametrize("rule", ["error", "null", "drop"])
def test_values_that_do_not_fit_go_by_the_rule(url: str, table: str, rule: str) -> None:
    schema = pa.schema([("__key", pa.string()), ("other", pa.string()), ("i", pa.int8())])
    read = {"schema": schema, "columns": ["__key", "other", "i"]}
    if rule == "error":
        said = []
        for wire in ("auto", "client"):
            with (
                open_store(url, wire=wire) as store,
                pytest.raises(DecodeError, match="(list|int8).*records, such as that of key 'k"),
            ):
                read_all(store.source(table, **read))
            said.append(wire)
        return
    wire, client = both(url, table, read, on_bad_field=rule)
    assert wire.equals(client)
    assert (wire.num_rows < 700) == (rule == "drop")


def test_keys_of_several_types(aerospike_server: Aerospike, table: str) -> None:
    keys: list[Any] = [5, "text", bytearray(b"\xff\0"), -1]
    put(aerospike_server.raw, aerospike_server.namespace, table, {k: {"v": 1} for k in keys[:2]})
    for key in keys[2:]:
        aerospike_server.raw.put((aerospike_server.namespace, table, key), {"v": 1}, policy=SEND)
    aerospike_server.raw.put((aerospike_server.namespace, table, "unsent"), {"v": 1})
    schema = pa.schema([("__digest", pa.binary(20)), ("v", pa.int64())])
    read = {"schema": schema, "key": ["__digest"], "columns": ["__digest", "__key", "v"]}
    wire, client = both(aerospike_server.url, table, read)
    assert wire.equals(client)
    assert {*wire["__key"].to_pylist()} == {"5", "text", "ff00", "-1", None}


def test_nested_columns_come_by_the_client(url: str, table: str) -> None:
    schema = pa.schema([("__key", pa.string()), ("other", pa.list_(pa.int64()))])
    wire, client = both(url, table, {"schema": schema}, on_bad_field="null")
    assert wire.equals(client)


def test_counts(url: str, table: str) -> None:
    for wire in ("auto", "client"):
        with open_store(url, wire=wire) as store:
            source = store.source(table, schema=SCHEMA, parts=3)
            assert sum(map(source.count, source.partitions())) == 700


@pytest.fixture
def two() -> Iterator[list[AerospikeServer]]:
    """Two servers, each with all rows of table ``t``, of which ``node`` tells the server."""
    with ExitStack() as stack:
        servers = [stack.enter_context(serve()) for _ in range(2)]
        for at, server in enumerate(servers):
            client = aerospike.client({"hosts": [(server.host, server.port)]})
            put(client, server.namespace, "t", {i: {"node": at} for i in range(500)})
            client.close()
        yield servers


def claims(*shares: tuple[int, np.ndarray]) -> list[str]:
    """What nodes say that are masters of these partitions, by these regimes."""
    return [
        f"other:9,1,x;test:{regime},1,{base64.b64encode(np.packbits(owned).tobytes()).decode()}"
        for regime, owned in shares
    ]


def scan(
    ask: Callable[[], Owners], patience: float = 5, wait: float = 5, **request: Any
) -> WireScan:
    wanted = Request(namespace="test", set="t", timeout_ms=1000, **request)
    return WireScan(Cluster(ask, Sockets(1, wait)), wanted, ("node",), "reading", patience)


def test_partitions_are_read_from_their_masters(two: list[AerospikeServer]) -> None:
    even = np.arange(PARTITIONS) % 2 == 0
    addresses = [(server.host, server.port) for server in two]
    # The second once had all of them.
    told = dict(zip(addresses, claims((7, even), (6, np.ones(PARTITIONS, bool))), strict=True))
    told[addresses[1]] = claims((7, ~even))[0]
    for answers in (told, dict(reversed(told.items()))):
        found: dict[int, list[int]] = {0: [], 1: []}
        rest = dict.fromkeys(range(PARTITIONS), None)
        for records in scan(lambda answers=answers: owners("test", answers)).pages(
            rest, lambda: 64
        ):
            nodes = {*records.bins[0].numbers().tolist()}
            for node in nodes:
                found[node] += records.partitions().tolist()
            assert len(records) <= 64
            assert len(nodes) <= 1
        assert not rest
        assert len(found[0]) + len(found[1]) == 500
        assert {pid % 2 for pid in found[0]} == {0}
        assert {pid % 2 for pid in found[1]} == {1}


def test_of_two_masters_that_of_the_higher_regime_counts() -> None:
    first, second = np.zeros(PARTITIONS, bool), np.zeros(PARTITIONS, bool)
    first[:10], second[5:12] = True, True
    told = dict(zip([("a", 1), ("b", 2)], claims((4, first), (5, second)), strict=True))
    for answers in (told, dict(reversed(told.items()))):
        found = owners("test", answers)
        assert [found.of(pid) for pid in (0, 4, 5, 9, 11)] == [("a", 1)] * 2 + [("b", 2)] * 3
        assert found.of(12) is None


@pytest.mark.parametrize("answer", ["test:x,1,AA==", "test:1,1,AA==", "test:1,1,*", "test:1"])
def test_answers_that_tell_of_no_partitions(answer: str) -> None:
    with pytest.raises(StoreError, match="node a:1 says 'test:"):
        owners("test", {("a", 1): answer})


def test_a_scan_goes_on_where_another_node_took_over(two: list[AerospikeServer]) -> None:
    everything = np.ones(PARTITIONS, bool)
    asked: list[int] = []

    def ask() -> Owners:
        place = min(len(asked), 1)
        asked.append(place)
        address = (two[place].host, two[place].port)
        return owners("test", {address: claims((1, everything))[0]})

    found: list[int] = []
    rest = dict.fromkeys(range(PARTITIONS), None)
    for records in scan(ask).pages(rest, lambda: 100):
        found += records.keys.numbers().tolist()
        if len(found) == 200:
            two[0].kill()
    assert sorted(found) == [*range(500)]
    assert asked == [0, 1]


def test_a_node_that_does_not_answer(two: list[AerospikeServer]) -> None:
    address = (two[0].host, two[0].port)
    told = {address: claims((1, np.ones(PARTITIONS, bool)))[0]}
    two[0].delay(3)
    started = time.monotonic()
    with pytest.raises(StoreTimeoutError, match="reading: node 127.0.0.1:.* does not answer"):
        next(scan(lambda: owners("test", told), 0.5, 0.3).pages({0: None}, lambda: None))
    assert time.monotonic() - started < 3


def test_a_partition_that_nobody_has() -> None:
    nothing = owners("test", {("a", 1): claims((1, np.zeros(PARTITIONS, bool)))[0]})
    with pytest.raises(StoreError, match="reading: no node has partition 7"):
        next(scan(lambda: nothing, 0.1).pages({7: None}, lambda: None))


def test_what_a_node_refuses(two: list[AerospikeServer]) -> None:
    told = {(two[0].host, two[0].port): claims((1, np.ones(PARTITIONS, bool)))[0]}
    asked = scan(lambda: owners("test", told), condition=b"\x00")
    with pytest.raises(StoreError, match=r"reading: node .* failed \(code 4\)"):
        next(asked.pages({0: None}, lambda: None))
