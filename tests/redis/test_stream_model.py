"""The stream model: entries as rows, a raw client on the other side."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Server
from topology import Cluster

from connector import (
    ConnectorError,
    DecodeError,
    SchemaError,
    Store,
    TableNotFoundError,
    WriteMode,
    WriteOptions,
    WriteRejectedError,
    open_store,
    read_all,
)
from connector.jobs import WriteFields, WriteRows
from connector.redis.models.streams import PAGE

BY_ID = WriteOptions(key=("id",))


@pytest.fixture(params=["valkey", "redis", "cluster"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Store, Any, str]]:
    """A store of streams, a raw client of the same servers, and their URL."""
    if request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("_clusters")("redis")
        cluster.clear()
        url, raw = cluster.url, cluster.raw
    else:
        server: Server = request.getfixturevalue(f"{request.param}_server")
        url, raw = server.url, server.raw
    with open_store(url, model="stream") as store:
        yield store, raw, url


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    with open_store(server.url, model="stream") as opened:
        yield opened


def sorted_rows(table: pa.Table) -> list[dict[str, Any]]:
    key, *_ = table.column_names

    def place(row: dict[str, Any]) -> Any:
        return row[key], *map(int, row["_entry"].split("-"))

    return sorted(table.to_pylist(), key=place)


def test_entries_of_others_are_rows(place: tuple[Store, Any, str], table: str) -> None:
    store, raw, _ = place
    for k in range(20):
        for i in range(k):
            fields = {"n": i, "text": f"naïve\r\n{k}", "*2": "*2\r\n$1"} | (
                {"rare": "1.5"} if i == 3 else {}
            )
            raw.xadd(f"{table}:k{k:02}", fields, id=f"{i + 1}-{k}")
    assert store.schema(table).remove_metadata() == pa.schema(
        [
            pa.field("_id", pa.string(), nullable=False),
            pa.field("_entry", pa.string(), nullable=False),
            ("*2", pa.string()),
            ("n", pa.int64()),
            ("rare", pa.float64()),
            ("text", pa.string()),
        ]
    )
    assert sorted_rows(read_all(store.source(table))) == [
        {
            "_id": f"k{k:02}",
            "_entry": f"{i + 1}-{k}",
            "*2": "*2\r\n$1",
            "n": i,
            "rare": 1.5 if i == 3 else None,
            "text": f"naïve\r\n{k}",
        }
        for k in range(20)
        for i in range(k)
    ]


def test_rows_become_entries(place: tuple[Store, Any, str], table: str) -> None:
    store, raw, _ = place
    batch = pa.record_batch(
        {
            "id": [7, 8, 7, 7],
            "_entry": ["5-0", "5-0", "5-1", "18446744073709551615-18446744073709551615"],
            "n": [1, None, None, 4],
            "text": ["ü\r\n", "", None, "*1"],
            "words": [["a", None], None, None, []],
        }
    )
    assert store.write(table, [batch], BY_ID).rows == 4
    assert raw.xrange(f"{table}:7") == [
        (b"5-0", {b"n": b"1", b"text": "ü\r\n".encode(), b"words": b'["a",null]'}),
        (b"5-1", {b"": b""}),
        (
            b"18446744073709551615-18446744073709551615",
            {b"n": b"4", b"text": b"*1", b"words": b"[]"},
        ),
    ]
    assert raw.xrange(f"{table}:8") == [(b"5-0", {b"text": b""})]
    found = read_all(store.source(table))
    assert found.schema.names == batch.schema.names
    assert sorted_rows(found) == sorted_rows(pa.table(batch))


def test_written_twice_is_written_once(place: tuple[Store, Any, str], table: str) -> None:
    store, raw, _ = place
    batch = pa.record_batch(
        {"id": [1, 1, 2], "_entry": ["1-1", "2-0", "1-0"], "a": ["x", None, "y"], "b": [1, 2, None]}
    )
    for _ in range(2):
        assert store.write(table, [batch], BY_ID).rows == 3
    reordered = batch.select(["b", "_entry", "a", "id"])
    assert store.write(table, [reordered], BY_ID).rows == 3
    assert raw.xlen(f"{table}:1") == 2 and raw.xlen(f"{table}:2") == 1
    assert sorted_rows(read_all(store.source(table))) == batch.to_pylist()


@pytest.mark.parametrize("ttl", [None, 100])
def test_what_a_stream_does_not_take_is_refused(
    place: tuple[Store, Any, str], table: str, ttl: int | None, tmp_path: Path
) -> None:
    store, raw, _ = place
    raw.xadd(f"{table}:1", {"a": "old"}, id="5-0")
    cases = {"4-0": "equal or smaller", "5-0": "entry 5-0 is there with other fields"}
    for entry, reason in cases.items():
        late = pa.record_batch({"id": [1], "_entry": [entry], "a": ["new"]})
        with pytest.raises(WriteRejectedError, match=f"{table}:1.*{reason}"):
            store.write(table, [late], WriteOptions(key=("id",), ttl_seconds=ttl))
    batch = pa.record_batch({"id": [1, 2], "_entry": ["4-0", "4-0"], "a": ["new", "new"]})
    rejecting = WriteOptions(key=("id",), ttl_seconds=ttl, reject_path=str(tmp_path))
    result = store.write(table, [batch], rejecting)
    assert (result.rows, result.rejected) == (1, 1)
    assert raw.xrange(f"{table}:1") == [(b"5-0", {b"a": b"old"})]
    assert raw.xrange(f"{table}:2") == [(b"4-0", {b"a": b"new"})]


def test_a_write_that_would_not_be_idempotent_is_refused(
    server: Server, store: Store, table: str
) -> None:
    rows = {"id": [1], "a": ["x"]}
    batch = pa.record_batch(rows | {"_entry": ["1-0"]})
    with pytest.raises(SchemaError, match="need a column '_entry'.*twice"):
        store.write(table, [pa.record_batch(rows)], BY_ID)
    with pytest.raises(SchemaError, match="_entry"):
        store.write(table, [pa.record_batch(rows | {"_entry": [1]})], BY_ID)
    with pytest.raises(SchemaError, match="cannot be part of the key"):
        store.write(table, [batch], WriteOptions(key=("id", "_entry")))
    for entry in ("*", "5-*", "5", "-", "+", "05-0", "", None, "5-0 "):
        bad = pa.record_batch(rows | {"_entry": pa.array([entry], pa.string())})
        with pytest.raises(SchemaError, match="_entry"):
            store.write(table, [bad], BY_ID)
    twice = pa.record_batch({"id": [1, 1], "_entry": ["1-0", "1-0"], "a": ["x", "y"]})
    with pytest.raises(SchemaError, match="more than once"):
        store.write(table, [twice], BY_ID)
    for options in (
        WriteOptions(key=("id",), mode=WriteMode.OVERWRITE),
        WriteOptions(key=("id",), fields=WriteFields.REPLACE),
        WriteOptions(key=("id",), rows=WriteRows.INSERT),
    ):
        with pytest.raises(ConnectorError, match="share keys"):
            store.write(table, [batch], options)
    assert not server.raw.exists(f"{table}:1")


@pytest.mark.parametrize("entries", [PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_streams_are_read_page_by_page(
    place: tuple[Store, Any, str], table: str, entries: int
) -> None:
    store, raw, _ = place
    sizes = {"a": entries, "b": 1, "c": entries + PAGE, "d": PAGE}
    for key, count in sizes.items():
        pipeline = raw.pipeline(transaction=False)
        for i in range(count):
            pipeline.xadd(f"{table}:{key}", {"n": i}, id=f"1-{i + 1}")
        pipeline.execute()
    for columns in (["_id", "_entry", "n"], ["_id", "_entry"], ["_id", "_entry", "__ttl"]):
        found = read_all(store.source(table, columns=columns, batch_rows=100))
        rows = sorted_rows(found)
        assert [(row["_id"], row["_entry"]) for row in rows] == [
            (key, f"1-{i + 1}") for key, count in sizes.items() for i in range(count)
        ]
        if "n" in columns:
            assert all(row["_entry"] == f"1-{row['n'] + 1}" for row in rows)
    counted = read_all(store.source(table, columns=["_id"])).column("_id").value_counts()
    assert {each["values"]: each["counts"] for each in counted.to_pylist()} == sizes


def test_one_stream_is_a_table_by_its_name(place: tuple[Store, Any, str], table: str) -> None:
    _, raw, url = place
    for i in range(5):
        raw.xadd(table, {"n": i}, id=f"{i + 1}-0")
        raw.xadd(f"{table}x", {"n": i}, id=f"{i + 1}-0")
    with open_store(url, model="stream", keys_pattern=table) as store:
        assert sorted_rows(read_all(store.source("any"))) == [
            {"_id": table, "_entry": f"{i + 1}-0", "n": i} for i in range(5)
        ]


def test_a_large_stream_is_never_held_whole(redis_server: Server, table: str) -> None:
    entries, text = 40_000, "x" * 1000
    pipeline = redis_server.raw.pipeline(transaction=False)
    for i in range(entries):
        pipeline.xadd(table, {"n": i, "text": text}, id=f"{i + 1}-0")
        if i % 5000 == 4999:
            pipeline.execute()
    with open_store(redis_server.url, model="stream", keys_pattern=table) as store:
        source = store.source("t", parts=1, batch_rows=2000)
        (partition,) = source.partitions()
        before = most = pa.total_allocated_bytes()
        tracemalloc.start()
        seen = 0
        for batch in source.read(partition):
            seen += batch.num_rows
            most = max(most, pa.total_allocated_bytes())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert seen == entries
    assert most - before + peak < entries * len(text) / 2


def test_keys_of_another_type(place: tuple[Store, Any, str], table: str) -> None:
    store, raw, url = place
    raw.xadd(f"{table}:1", {"n": 1}, id="1-0")
    raw.set(f"{table}:2", "x")
    schema = pa.schema([("id", pa.int64()), ("_entry", pa.string()), ("n", pa.int64())])
    with pytest.raises(SchemaError, match="must hold a stream.*on.bad.key"):
        read_all(store.source(table, schema=schema, key=("id",)))
    with open_store(url, model="stream", on_bad_key="skip") as lenient:
        found = read_all(lenient.source(table, schema=schema, key=("id",)))
        assert found.to_pylist() == [{"id": 1, "_entry": "1-0", "n": 1}]
        assert lenient.counts.bad_keys == 1
        assert lenient.schema(table).names == ["_id", "_entry", "n"]


def test_what_does_not_parse(place: tuple[Store, Any, str], table: str) -> None:
    store, raw, url = place
    for i, value in enumerate(["1", "two", "3"]):
        raw.xadd(f"{table}:1", {"n": value}, id=f"{i + 1}-0")
    schema = pa.schema([("id", pa.int64()), ("_entry", pa.string()), ("n", pa.int64())])
    with pytest.raises(DecodeError, match="field 'n' of key .*:1' holds b'two'"):
        read_all(store.source(table, schema=schema, key=("id",)))
    with open_store(url, model="stream", on_bad_field="drop") as lenient:
        found = read_all(lenient.source(table, schema=schema, key=("id",)))
        assert sorted(found.column("n").to_pylist()) == [1, 3]


def test_empty_streams_and_none(server: Server, store: Store, table: str) -> None:
    with pytest.raises(TableNotFoundError):
        store.schema(table)
    schema = pa.schema([("id", pa.int64()), ("_entry", pa.string()), ("n", pa.int64())])
    server.raw.xadd(f"{table}:1", {"n": 1}, id="1-0")
    server.raw.xdel(f"{table}:1", "1-0")
    server.raw.xadd(f"{table}:2", {"n": 2}, id="1-0")
    found = read_all(store.source(table, schema=schema, key=("id",)))
    assert found.to_pylist() == [{"id": 2, "_entry": "1-0", "n": 2}]
    assert store.counts.vanished == 0  # type: ignore[attr-defined]


def test_some_streams_are_read_by_key(place: tuple[Store, Any, str], table: str) -> None:
    store, _, _ = place
    entries = [(k, f"1-{i + 1}") for k in range(5) for i in range(PAGE + 1)]
    keys, ids = zip(*entries, strict=True)
    store.write(table, [pa.record_batch({"id": keys, "_entry": ids})], BY_ID)
    found = read_all(store.source(table, keys=[1, 99, 3]))
    assert [(row["id"], row["_entry"]) for row in sorted_rows(found)] == [
        entry for entry in entries if entry[0] in (1, 3)
    ]


def test_a_field_that_stands_twice_has_its_last_value(
    server: Server, store: Store, table: str
) -> None:
    server.raw.execute_command("XADD", f"{table}:1", "1-0", "a", "1", "b", "x", "a", "2")
    assert read_all(store.source(table)).to_pylist() == [
        {"_id": "1", "_entry": "1-0", "a": 2, "b": "x"}
    ]


def test_streams_expire_and_tell(place: tuple[Store, Any, str], table: str) -> None:
    store, raw, _ = place
    batch = pa.record_batch(
        {"id": [1, 2], "_entry": ["1-0", "1-0"], "n": [1, 2], "until": [100, None]}
    )
    store.write(table, [batch], WriteOptions(key=("id",), ttl_column="until"))
    assert 90 < raw.ttl(f"{table}:1") <= 100 and raw.ttl(f"{table}:2") == -1
    found = read_all(store.source(table, columns=["id", "__ttl"])).sort_by("id").to_pylist()
    assert 90 < found[0]["__ttl"] <= 100 and found[1]["__ttl"] is None


def test_a_slot_that_is_half_moved_is_read_and_written(redis_cluster: Cluster, table: str) -> None:
    tagged, first, more = f"{{{table}}}", PAGE + 20, 10
    with open_store(redis_cluster.url, model="stream") as store:
        for start, count in ((0, first), (first, more)):
            entries = [(k, f"1-{start + i + 1}") for i in range(count) for k in range(12)]
            keys, ids = zip(*entries, strict=True)
            batch = pa.record_batch({"id": keys, "_entry": ids, "n": range(len(entries))})
            assert store.write(tagged, [batch], BY_ID).rows == len(entries)
            found = read_all(store.source(tagged, columns=["id", "_entry"]))
            assert [(row["id"], row["_entry"]) for row in sorted_rows(found)] == [
                (k, f"1-{i + 1}") for k in range(12) for i in range(start + count)
            ]
            if not start:
                slot = redis_cluster.raw.keyslot(f"{tagged}:1")
                target = next(
                    n for n in redis_cluster.primaries() if n != redis_cluster.owner(slot)
                )
                redis_cluster.open_slot(slot, target)
                assert redis_cluster.migrate(slot, target, most=5) == 5
        redis_cluster.migrate(slot, target)
        redis_cluster.close_slot(slot, target)
        assert read_all(store.source(tagged)).num_rows == 12 * (first + more)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
COLUMNS = {
    "number": st.integers(-(2**63), 2**63 - 1),
    "text": st.one_of(TEXTS, st.sampled_from(["*2", "*1\r\n$1", "\r\n", "$-1", "-ERR x"])),
    "bytes": st.binary(max_size=6),
    "list": st.lists(TEXTS, max_size=2),
}
TYPES = [pa.int64(), pa.string(), pa.binary(), pa.list_(pa.string())]
SCHEMA = pa.schema(
    [("id", pa.string()), ("_entry", pa.string()), *zip(COLUMNS, TYPES, strict=True)]
)
ROWS = st.dictionaries(
    st.tuples(st.sampled_from(["a", "ü", "k:1"]), st.integers(1, 30)),
    st.fixed_dictionaries({name: st.one_of(st.none(), kind) for name, kind in COLUMNS.items()}),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15)
@given(rows=ROWS)
def test_any_rows_are_read_back(
    place: tuple[Store, Any, str], rows: dict[tuple[str, int], dict[str, Any]]
) -> None:
    store, raw, _ = place
    table = f"t{uuid.uuid4().hex[:12]}"
    given_rows = [{"id": key, "_entry": f"0-{n}"} | rows[key, n] for key, n in sorted(rows)]
    batch = pa.RecordBatch.from_pylist(given_rows, SCHEMA)
    store.write(table, [batch], BY_ID)
    assert sorted_rows(read_all(store.source(table, parts=1))) == given_rows
    for key, n in rows:
        ((entry, fields),) = raw.xrange(f"{table}:{key}", f"0-{n}", f"0-{n}")
        assert entry == b"0-%d" % n
        there = {name.encode() for name, value in rows[key, n].items() if value is not None}
        assert set(fields) == (there or {b""})
