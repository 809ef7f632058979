"""Reading tables that the official client wrote: partitions, columns, types, keys, metadata."""

from __future__ import annotations

import time
from typing import Any

import aerospike
import pyarrow as pa
import pytest
from aerospike_helpers import HyperLogLog
from aerospikes import Aerospike
from topology.nodes import until

from connector import (
    DecodeError,
    OptionError,
    SchemaError,
    Source,
    Store,
    StoreUnavailableError,
    TableNotFoundError,
    open_store,
    read_all,
)

SEND = {"key": aerospike.POLICY_KEY_SEND}
ROWS = 2500


@pytest.fixture
def store(aerospike_server: Aerospike) -> Any:
    with open_store(aerospike_server.url) as opened:
        yield opened


def put(
    server: Aerospike, table: str, rows: dict[Any, dict[str, Any]], ttl: int = 0, send: bool = True
) -> None:
    for key, bins in rows.items():
        where = (server.namespace, table, key)
        server.raw.put(where, bins, policy={"ttl": ttl, **(SEND if send else {})})


def rows(count: int) -> dict[Any, dict[str, Any]]:
    """Every third row has no bin ``b``, and every fifth no bin ``a``; all have ``c``."""
    return {
        i: {
            name: value
            for name, value in (("a", i), ("b", f"b{i}"), ("c", i % 2 == 0))
            if not ((name == "a" and i % 5 == 1) or (name == "b" and i % 3 == 1))
        }
        for i in range(count)
    }


def pairs(source: Source, *names: str) -> list[tuple[Any, ...]]:
    found = read_all(source).select(names).to_pylist()
    return sorted(tuple(row[name] for name in names) for row in found)


@pytest.mark.parametrize("parts", [1, 3, 8, 4096, 4097, 8192])
def test_every_row_once_in_any_number_of_partitions(
    store: Store, aerospike_server: Aerospike, table: str, parts: int
) -> None:
    put(aerospike_server, table, rows(300))
    with open_store(aerospike_server.url, partition_factor=parts.bit_length() - 1) as by_factor:
        for one, wanted in ((store, 1), (by_factor, 2 ** (parts.bit_length() - 1))):
            source = one.source(table, parts=parts, columns=["__key"])
            planned = source.partitions()
            assert len(planned) == wanted, "a small table has few partitions, but where it is told"
            if wanted > 100:
                planned = planned[: wanted // 64]
                found = [batch for part in planned for batch in source.read(part)]
                seen = [key for batch in found for key in batch.column(0).to_pylist()]
                assert 0 <= len(seen) == len(set(seen)) < 40
            else:
                assert pairs(source, "__key") == [(i,) for i in range(300)]


@pytest.mark.slow
def test_residues_of_digests_cover_every_partition(
    store: Store, aerospike_server: Aerospike, table: str
) -> None:
    put(aerospike_server, table, rows(200))
    with open_store(aerospike_server.url, partition_factor=14) as fine:
        source = fine.source(table, columns=["__key"])
        planned = source.partitions()
        assert len(planned) == 2**14
        held = [
            aerospike_server.raw.get_key_partition_id(aerospike_server.namespace, table, i)
            for i in range(200)
        ]
        asked = [part for part in planned if part.begin in held]  # type: ignore[attr-defined]
        seen = [
            key
            for part in asked
            for batch in source.read(part)
            for key in batch.column(0).to_pylist()
        ]
        assert sorted(seen) == [*range(200)]


def test_rows_that_have_none_of_the_columns_are_rows_of_nulls(
    store: Store, aerospike_server: Aerospike, table: str
) -> None:
    put(aerospike_server, table, rows(200))
    source = store.source(table, columns=["__key", "a", "b"])
    assert pairs(source, "__key") == [(i,) for i in range(200)]
    nothing = [row for row in read_all(source).to_pylist() if row["a"] is None and row["b"] is None]
    assert sorted(row["__key"] for row in nothing) == [i for i in range(200) if i % 15 == 1]
    assert read_all(store.source(table, columns=["a"])).num_rows == 200
    assert read_all(store.source(table, columns=["a"], filter="a IS NULL")).num_rows == 40


@pytest.mark.parametrize("builds", [["8.1.2.0"], ["7.2.0.1"], ["8.1.2.0", "8.1.1.1"]])
@pytest.mark.parametrize("filter", [None, "a < 100", "a IS NULL", "c = TRUE"])
def test_the_same_rows_where_a_node_cannot_read_bins_by_operations(
    store: Store,
    aerospike_server: Aerospike,
    table: str,
    builds: list[str],
    filter: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(aerospike_server, table, rows(200))
    wanted = [
        i
        for i, row in rows(200).items()
        if {
            None: True,
            "a < 100": row.get("a", 100) < 100,
            "a IS NULL": "a" not in row,
            "c = TRUE": row["c"],
        }[filter]
    ]
    monkeypatch.setattr("connector.aerospike.connecting.Connection.builds", builds)
    source = store.source(table, columns=["__key", "a"], filter=filter, parts=3)
    assert pairs(source, "__key") == [(i,) for i in wanted]


def test_batches_are_within_their_limits(
    store: Store, aerospike_server: Aerospike, table: str
) -> None:
    put(aerospike_server, table, {i: {"v": "x" * 1000} for i in range(ROWS)})
    source = store.source(table, parts=1, batch_rows=700, batch_bytes=100_000)
    batches = [batch for part in source.partitions() for batch in source.read(part)]
    assert sum(batch.num_rows for batch in batches) == ROWS
    assert all(0 < batch.num_rows <= 700 and batch.nbytes <= 100_000 for batch in batches)


def test_bins_of_every_type_are_inferred(
    store: Store, aerospike_server: Aerospike, table: str
) -> None:
    point = aerospike.GeoJSON('{"type": "Point", "coordinates": [1.5, 2]}')
    bins = {
        "i": -(2**63),
        "d": 1.5,
        "t": "näme",
        "y": bytearray(b"\xff\x00"),
        "o": True,
        "l": [1, 2.5, None],
        "m": {"x": 1, "deep": {"list": ["a"]}},
        "n": {1: "one", 2: "two"},
        "g": point,
        "e": [],
    }
    put(aerospike_server, table, {1: bins, 2: {"i": 5, "d": 7}})
    counted = {"hll": HyperLogLog(bytes([0, 4, 0]) + bytes(20))}
    aerospike_server.raw.put((aerospike_server.namespace, table, 1), counted)
    schema = store.schema(table)
    assert schema.field("__key").type == pa.int64()
    kinds = {
        "i": pa.int64(),
        "d": pa.float64(),
        "t": pa.string(),
        "y": pa.binary(),
        "o": pa.bool_(),
        "l": pa.list_(pa.float64()),
        "m": pa.struct({"deep": pa.struct({"list": pa.list_(pa.string())}), "x": pa.int64()}),
        "n": pa.map_(pa.int64(), pa.string()),
        "g": pa.string(),
        "e": pa.list_(pa.string()),
        "hll": pa.binary(),
    }
    assert {field.name: field.type for field in schema if field.name != "__key"} == kinds
    (one,) = read_all(store.source(table, filter="__key = 1")).to_pylist()
    plain = {**bins, "y": b"\xff\x00", "l": [1.0, 2.5, None], "n": [(1, "one"), (2, "two")]}
    plain |= {"__key": 1, "g": str(point), "hll": bytes([0, 4, 0]) + bytes(20)}
    assert {name: one[name] for name in plain} == plain
    (two,) = read_all(store.source(table, columns=["d", "t"], filter="__key = 2")).to_pylist()
    assert two == {"d": 7.0, "t": None}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, "x"], pa.int64()),
        (["x", "y", "z", 1, 2.5], pa.string()),
        ([1, 2, 2.5, "x"], pa.float64()),
        ([True, 1, 2], pa.int64()),
        ([[1], [2.5], "x"], pa.list_(pa.float64())),
        (
            [{"a": 1}, {"a": "x", "b": 1}, {"a": "y"}],
            pa.struct({"a": pa.string(), "b": pa.int64()}),
        ),
    ],
)
def test_of_mixed_types_the_most_frequent_counts(
    store: Store, aerospike_server: Aerospike, table: str, values: list[Any], kind: pa.DataType
) -> None:
    put(aerospike_server, table, {i: {"v": value} for i, value in enumerate(values)})
    assert store.schema(table).field("v").type == kind


def test_what_does_not_fit_goes_by_the_rule(aerospike_server: Aerospike, table: str) -> None:
    values = {1: 5, 2: "x", 3: 300, 4: 2.0, 5: True, 6: None, 7: [5]}
    put(aerospike_server, table, {key: {"v": value, "w": key} for key, value in values.items()})
    schema = pa.schema({"__key": pa.int64(), "v": pa.int8(), "w": pa.int64()})

    def read(rule: str, **asked: Any) -> Any:
        with open_store(aerospike_server.url, on_bad_field=rule) as store:
            source = store.source(table, schema=schema, key=["__key"], **asked)
            return pairs(source, "__key"), store.counts  # type: ignore[attr-defined]

    with pytest.raises(
        DecodeError, match=rf"{table}.*column 'v' of type int8.*key \d.*on.bad.field"
    ):
        read("error")
    found, counts = read("null")
    assert found == [(i,) for i in values]
    assert counts.bad_fields == 5
    found, counts = read("drop")
    assert found == [(1,), (6,)]
    assert (counts.rows, counts.dropped_rows) == (2, 5)
    assert read("null", filter="v = 5")[0] == [(1,)]
    assert read("null", filter="v IS NULL")[0] == [(2,), (3,), (4,), (5,), (6,), (7,)]


def test_records_without_their_keys(aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, {i: {"v": i} for i in range(5)})
    put(aerospike_server, table, {i: {"v": i} for i in range(5, 8)}, send=False)
    with open_store(aerospike_server.url) as store:
        assert store.schema(table).names == ["__digest", "v"]
        assert pairs(store.source(table), "v") == [(i,) for i in range(8)]
        digests = [row["__digest"] for row in read_all(store.source(table)).to_pylist()]
        assert len(set(digests)) == 8
        by_digest = store.lookup(table, digests[:3], ["v"])
        assert by_digest.column("v").null_count == 0
        keyed = store.source(table, key=["id"])
        with pytest.raises(DecodeError, match="not stored in its record"):
            read_all(keyed)
    with open_store(aerospike_server.url, on_bad_field="drop") as store:
        assert pairs(store.source(table, key=["id"]), "id") == [(i,) for i in range(5)]
    with open_store(aerospike_server.url, on_bad_field="null") as store:
        assert read_all(store.source(table, key=["id"])).column("id").null_count == 3


@pytest.mark.parametrize(
    ("keys", "kind"),
    [([1, -5], pa.int64()), (["a", "ü:%"], pa.string()), ([b"\x00\xff", b"a"], pa.binary())],
)
def test_keys_of_every_type(
    store: Store, aerospike_server: Aerospike, table: str, keys: list[Any], kind: pa.DataType
) -> None:
    raw = [bytearray(key) if isinstance(key, bytes) else key for key in keys]
    for i, key in enumerate(raw):
        aerospike_server.raw.put((aerospike_server.namespace, table, key), {"v": i}, policy=SEND)
    assert store.schema(table).field("__key").type == kind
    assert sorted(pairs(store.source(table), "v", "__key")) == [(i, k) for i, k in enumerate(keys)]
    assert store.lookup(table, pa.array([keys[1]], kind)).column("v").to_pylist() == [1]


def test_a_key_column_that_is_a_bin_too(
    store: Store, aerospike_server: Aerospike, table: str
) -> None:
    put(aerospike_server, table, {i: {"id": i, "v": -i} for i in range(5)}, send=False)
    source = store.source(table, key=["id"], schema=store.schema(table, ["id"]))
    assert pairs(source, "id", "v") == [(i, -i) for i in range(5)]
    assert pairs(store.source(table, key=["id"], filter="id IN (2, 9)"), "id", "v") == [(2, -2)]


def test_metadata(store: Store, aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, {1: {"v": 1}}, ttl=aerospike.TTL_NEVER_EXPIRE)
    put(aerospike_server, table, {"x": {"v": 2}}, ttl=1000)
    put(aerospike_server, table, {"x": {"v": 2}}, ttl=1000)
    binary = (aerospike_server.namespace, table, bytearray(b"\xff"))
    aerospike_server.raw.put(binary, {"v": 3}, policy={"ttl": 1000, **SEND})
    names = ["v", "__key", "__digest", "__generation", "__ttl", "__expiry", "__set"]
    given = pa.schema({"__digest": pa.binary(20), "v": pa.int64()})
    source = store.source(table, columns=names, schema=given, key=["__digest"])
    found = read_all(source).sort_by("v").to_pylist()
    assert [row["__key"] for row in found] == ["1", "x", "ff"]
    assert [row["__generation"] for row in found] == [1, 2, 1]
    assert {row["__set"] for row in found} == {table}
    assert found[0]["__ttl"] is None and found[0]["__expiry"] is None
    assert 990 <= found[1]["__ttl"] <= 1000
    assert abs(found[1]["__expiry"].timestamp() - time.time() - 1000) < 10
    for row, key in zip(found, (1, "x", bytearray(b"\xff")), strict=True):
        digest = aerospike.calc_digest(aerospike_server.namespace, table, key)
        assert row["__digest"] == bytes(digest)
    for filter, wanted in (("__ttl > 10", [2, 3]), ("__ttl IS NULL", [1]), ("__key = 'x'", [2])):
        source = store.source(table, schema=given, key=["__digest"], filter=filter)
        assert pairs(source, "v") == [(v,) for v in wanted]


def test_bins_by_other_names(aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, {1: {"short": 5, "other": 6}, 2: {"short": 7}})
    named = "a_column_with_a_long_name=short"
    with open_store(aerospike_server.url, bin_names=named) as store:
        assert store.schema(table).names == ["__key", "other", "a_column_with_a_long_name"]
        source = store.source(table, filter="a_column_with_a_long_name > 5")
        assert pairs(source, "a_column_with_a_long_name") == [(7,)]


def test_counts_and_statistics(store: Store, aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, rows(500))
    source = store.source(table, parts=4)
    assert sum(source.count(part) for part in source.partitions()) == 500
    source = store.source(table, filter="a < 50")
    assert sum(source.count(part) for part in source.partitions()) == 40
    told = source.statistics()
    assert told is not None and told.rows == 500 and told.column_bytes["a"] == 8


def test_a_share_of_the_rows(store: Store, aerospike_server: Aerospike, table: str) -> None:
    put(aerospike_server, table, rows(ROWS))
    some = pairs(store.source(table, columns=["__key"], sample=0.2), "__key")
    assert 0.1 * ROWS < len(some) < 0.3 * ROWS
    assert some == pairs(store.source(table, columns=["__key"], sample=0.2, parts=7), "__key")


def test_a_set_that_is_not_there(store: Store, aerospike_server: Aerospike, table: str) -> None:
    with pytest.raises(TableNotFoundError, match=table):
        store.schema(table)
    given = pa.schema({"id": pa.int64(), "v": pa.string()})
    source = store.source(table, schema=given, key=["id"])
    assert read_all(source).num_rows == 0
    assert read_all(source).schema.names == ["id", "v"]
    with pytest.raises(SchemaError, match="several key columns"):
        store.schema(table, ["a", "b"])


def test_a_namespace_that_is_not_there(aerospike_server: Aerospike) -> None:
    url = f"aerospike://{aerospike_server.host}:{aerospike_server.port}/nowhere"
    with open_store(url) as store, pytest.raises(OptionError, match="'nowhere'.*there are .*test"):
        store.schema("t")


def test_nobody_answers() -> None:
    with (
        open_store("aerospike://127.0.0.1:1/test", connect_timeout_seconds=1) as store,
        pytest.raises(StoreUnavailableError, match=r"connecting to aerospike://127.0.0.1:1/test"),
    ):
        store.schema("t")


@pytest.mark.parametrize("index", ["auto", "off", "named"])
def test_by_a_secondary_index(aerospike_server: Aerospike, table: str, index: str) -> None:
    put(aerospike_server, table, rows(300))
    aerospike_server.raw.put((aerospike_server.namespace, table, "odd"), {"a": "x"}, policy=SEND)
    raw, name = aerospike_server.raw, f"{table}_a"
    listed = f"sindex-list:ns={aerospike_server.namespace}"
    schema = pa.schema({"id": pa.int64(), "a": pa.int64(), "c": pa.bool_()})

    def found(filter: str, on_bad_field: str = "drop") -> list[Any]:
        options = {"sindex": name if index == "named" else index, "on_bad_field": on_bad_field}
        with open_store(aerospike_server.url, **options) as store:
            source = store.source(table, schema=schema, key=["id"], filter=filter, parts=3)
            return [row[0] for row in pairs(source, "a")]

    if index == "named":
        with pytest.raises(OptionError, match=f"{name}"):
            found("a = 1")
    raw.index_single_value_create(
        aerospike_server.namespace, table, "a", aerospike.INDEX_NUMERIC, name
    )
    try:
        until(lambda: "state=RW" in str(raw.info_all(listed)), "the index")
        wanted = [i for i in range(300) if i % 5 != 1]
        assert found("a BETWEEN 10 AND 20") == [i for i in wanted if 10 <= i <= 20]
        assert found("a = 12 AND c = TRUE") == [12]
        assert found("a IN (3, 4, 5)") == [3, 4, 5]
        assert found("a > 250 OR a = 3") == [i for i in wanted if i > 250 or i == 3]
        assert found("a IS NULL") == [None] * 60
    finally:
        raw.index_remove(aerospike_server.namespace, name)


def test_what_was_written_since(
    store: Store, aerospike_server: Aerospike, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(aerospike_server, table, rows(20))
    found = read_all(store.source(table, columns=["__key", "a", "__last_update"]))
    assert found.schema.field("__last_update").type == pa.timestamp("ms", "UTC")
    last = max(found.column("__last_update").to_pylist())
    assert abs(last.timestamp() - time.time()) < 60
    time.sleep(0.005)
    put(aerospike_server, table, {i: {"a": -i} for i in (3, 16)})
    since = f"__last_update > TIMESTAMP '{last.isoformat(' ')}'"
    assert pairs(store.source(table, columns=["__key"], filter=since), "__key") == [(3,), (16,)]
    assert pairs(store.source(table, filter=f"NOT ({since})"), "__key") == [
        (i,) for i in range(20) if i not in (3, 16)
    ]
    by_key = store.source(
        table, columns=["a", "__last_update"], filter=f"__key IN (2, 3) AND {since}"
    )
    assert pairs(by_key, "a") == [(-3,)]
    alone = read_all(store.source(table, columns=["__last_update"]))
    assert alone.num_rows == 20 and alone.column(0).null_count == 0
    monkeypatch.setattr("connector.aerospike.connecting.Connection.builds", ["7.2.0.1"])
    with (
        open_store(aerospike_server.url) as older,
        pytest.raises(OptionError, match=r"__last_update.*7\.2\.0\.1"),
    ):
        read_all(older.source(table, columns=["__last_update"]))


def test_lookups_of_what_is_there_and_what_is_not(aerospike_server: Aerospike, table: str) -> None:
    texts = {f"k{i}": {"a": i, "b": f"b{i}"} for i in range(50)}
    put(aerospike_server, table, {**texts, "none": {"c": 1}})
    asked = ["k7", "gone", "k7", "none", "k1\x00", "k49", "k1"]
    with open_store(aerospike_server.url, batch_max=3) as store:
        found = store.lookup(table, asked, ["b", "a"])
        assert found.column("__key").to_pylist() == asked
        assert found.column("a").to_pylist() == [7, None, 7, None, None, 49, 1]
        assert found.column("b").to_pylist() == ["b7", None, "b7", None, None, "b49", "b1"]
        nothing = store.lookup(table, ["x\x00"], ["a"])
        assert nothing.to_pylist() == [{"__key": "x\x00", "a": None}]
        told = store.lookup(table, ["k3", "gone"], ["__generation", "a", "__last_update"])
        assert told.column("__generation").to_pylist() == [1, None]
        assert told.column("__last_update").null_count == 1
        assert store.source(table, keys=["k1\x00", "k2"]).partitions()
        by_key = store.source(table, filter="__key IN ('k1', 'gone')", columns=["a"])
        assert pairs(by_key, "a") == [(1,)]
    put(aerospike_server, table, {"k5": {"a": "no number"}})
    with open_store(aerospike_server.url, on_bad_field="null") as store:
        assert store.lookup(table, ["k5", "k6"], ["a"]).column("a").to_pylist() == [None, 6]
    with open_store(aerospike_server.url, on_bad_field="drop") as store:
        found = store.lookup(table, ["k5", "k6"], ["a", "b"])
        assert found.column("b").to_pylist() == [None, "b6"]
    with (
        open_store(aerospike_server.url) as store,
        pytest.raises(DecodeError, match="column 'a'.*'k5'"),
    ):
        store.lookup(table, ["k5", "k6"], ["a"])
