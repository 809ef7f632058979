"""Strings as rows: one column, or all of them as an object; a raw client on the other side."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgpack
import pyarrow as pa
import pytest
from core.arrays import any_type
from core.arrays import values as values_of
from hypothesis import given
from hypothesis import strategies as st
from servers import Server
from topology import Cluster

from connector import (
    DecodeError,
    MissingDependencyError,
    SchemaError,
    Store,
    WriteMode,
    WriteOptions,
    open_store,
    read_all,
)
from connector.jobs import SchemaEvolution, WriteFields, WriteRows

BY_ID = WriteOptions(key=("id",))
REPLACE = WriteOptions(key=("id",), fields=WriteFields.REPLACE)
OVERWRITE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
CODECS = ("text", "raw", "json", "msgpack")


def strings(server: Any, codec: str, **more: object) -> Store:
    return open_store(server.url, model="string", value_codec=codec, **more)


def rows(store: Store, table: str, by: str = "id", **asked: Any) -> list[dict[str, Any]]:
    return read_all(store.source(table, **asked)).sort_by(by).to_pylist()


def values(codec: str, count: int = 20) -> pa.RecordBatch:
    """Rows with one binary column, that no codec can take for text."""
    return pa.record_batch(
        {"id": list(range(count)), "v": [b"\r\n$-1\r\n\xff%d" % i for i in range(count)]}
    )


@pytest.mark.parametrize(
    ("codec", "written", "read"),
    [
        ("text", {"a": b"1", "b": b"-20"}, {"a": 1, "b": -20}),
        ("text", {"a": b"1", "b": b""}, {"a": "1", "b": ""}),
        ("text", {"a": b"1\r\n2", "b": b"$-1\r\n"}, {"a": "1\r\n2", "b": "$-1\r\n"}),
        ("raw", {"a": b"1", "b": b"\xff\r\n\x00"}, {"a": b"1", "b": b"\xff\r\n\x00"}),
    ],
)
def test_a_foreign_value_is_a_column(
    server: Server, table: str, codec: str, written: dict[str, bytes], read: dict[str, Any]
) -> None:
    for name, value in written.items():
        server.raw.set(f"{table}:{name}", value)
    with strings(server, codec) as store:
        found = rows(store, table, "_id")
    assert found == [{"_id": name, "value": value} for name, value in read.items()]


@pytest.mark.parametrize(("codec", "pack"), [("json", json.dumps), ("msgpack", msgpack.packb)])
def test_foreign_objects_are_columns(server: Server, table: str, codec: str, pack: Any) -> None:
    server.raw.set(
        f"{table}:a", pack({"n": 1, "x": 0.5, "text": "é\r\n", "list": [1, 2], "b": True})
    )
    server.raw.set(f"{table}:b", pack({"n": 2, "deep": {"in": ["x", None]}, "x": None}))
    with strings(server, codec) as store:
        assert rows(store, table, "_id") == [
            {
                "_id": "a",
                "n": 1,
                "x": 0.5,
                "text": "é\r\n",
                "list": [1, 2],
                "b": True,
                "deep": None,
            },
            {
                "_id": "b",
                "n": 2,
                "x": None,
                "text": None,
                "list": None,
                "b": None,
                "deep": {"in": ["x", None]},
            },
        ]
        assert rows(store, table, "n", columns=["n"]) == [{"n": 1}, {"n": 2}]


def test_what_is_stored(server: Server, table: str) -> None:
    batch = pa.record_batch({"id": [1, 2], "n": [7, None], "t": ["a\r\n", None]})
    for codec, stored in {
        "json": [b'{"n":7,"t":"a\\u000d\\u000a"}', b"{}"],
        "msgpack": [msgpack.packb({"n": 7, "t": "a\r\n"}), msgpack.packb({})],
        "text": [b"7", None],
    }.items():
        one = f"{table}{codec}"
        with strings(server, codec) as store:
            store.write(one, [batch.select(["id", "n"]) if codec == "text" else batch], BY_ID)
        assert server.raw.mget(f"{one}:1", f"{one}:2") == stored


@pytest.mark.parametrize("codec", CODECS)
def test_rows_come_back(server: Server, table: str, codec: str) -> None:
    batch = values(codec)
    with strings(server, codec) as store:
        for options in (BY_ID, BY_ID, REPLACE, OVERWRITE):
            assert store.write(table, [batch], options).rows == 20
            assert rows(store, table) == batch.to_pylist()
        assert rows(store, table, columns=["id"]) == [{"id": i} for i in range(20)]
        assert rows(store, table, "v", columns=["v"])[0] == {"v": b"\r\n$-1\r\n\xff0"}
        store.write(table, [batch.slice(5, 2)], OVERWRITE)
        assert [row["id"] for row in rows(store, table)] == [5, 6]
    assert server.raw.dbsize() == 3 or not server.private
    with open_store(server.url) as plain:  # the model was saved with the table
        assert rows(plain, table) == batch.slice(5, 2).to_pylist()


@pytest.mark.parametrize("codec", ["text", "raw"])
def test_a_null_value_deletes_its_row(server: Server, table: str, codec: str) -> None:
    both = pa.record_batch({"id": [1, 2, 3], "v": [b"a", b"b", b"c"]})
    gone = pa.record_batch({"id": [1, 2, 3], "v": pa.array([b"", None, b"z"])})
    with strings(server, codec) as store:
        for options in (BY_ID, REPLACE, OVERWRITE, WriteOptions(key=("id",), ttl_seconds=90)):
            store.write(table, [both], BY_ID)
            store.write(table, [gone], options)
            assert rows(store, table) == [{"id": 1, "v": b""}, {"id": 3, "v": b"z"}]
            assert not server.raw.exists(f"{table}:2")


def test_an_empty_value_is_a_row_and_a_missing_one_is_not(server: Server, table: str) -> None:
    server.raw.set(f"{table}:a", b"")
    server.raw.set(f"{table}:b", b"x")
    schema = pa.schema([("id", pa.string()), ("v", pa.string())])
    with strings(server, "text") as store:
        source = store.source(table, schema=schema, key=("id",), columns=["id"])
        assert read_all(source).sort_by("id").to_pylist() == [{"id": "a"}, {"id": "b"}]
        batches = source.read(source.partitions()[0])
        assert sum(batch.num_rows for batch in batches) == 2
        with_ttl = store.source(table, schema=schema, key=("id",), columns=["v", "__key", "__ttl"])
        assert read_all(with_ttl).sort_by("v").to_pylist() == [
            {"v": "", "__key": f"{table}:a", "__ttl": None},
            {"v": "x", "__key": f"{table}:b", "__ttl": None},
        ]


@pytest.mark.parametrize("codec", CODECS)
def test_expiry_goes_with_the_row(server: Server, table: str, codec: str) -> None:
    batch = values(codec, 3)
    key = f"{table}:1"
    with strings(server, codec) as store:
        store.write(table, [batch], WriteOptions(key=("id",), ttl_seconds=500))
        assert 490 < server.raw.ttl(key) <= 500
        store.write(table, [batch], BY_ID)  # merged: the expiry is left as it is
        assert 490 < server.raw.ttl(key) <= 500
        store.write(table, [batch], REPLACE)
        assert server.raw.ttl(key) == -1
        each = batch.append_column("__ttl", pa.array([100, None, 300]))
        store.write(table, [each], BY_ID)
        found = rows(store, table, columns=["id", "__ttl"])
        assert found == [
            {"id": 0, "__ttl": 100},
            {"id": 1, "__ttl": None},
            {"id": 2, "__ttl": 300},
        ]


@pytest.mark.parametrize("codec", CODECS)
def test_rows_are_only_inserted_or_only_updated(server: Server, table: str, codec: str) -> None:
    old, new = values(codec, 4), pa.record_batch({"id": [3, 4], "v": [b"new", b"new"]})
    with strings(server, codec) as store:
        store.write(table, [old], BY_ID)
        insert = WriteOptions(key=("id",), rows=WriteRows.INSERT)
        assert store.write(table, [new], insert).skipped == 1
        assert rows(store, table)[3:] == [old.to_pylist()[3], {"id": 4, "v": b"new"}]
        update = WriteOptions(key=("id",), rows=WriteRows.UPDATE)
        assert store.write(table, [new], update).skipped == 0
        assert rows(store, table)[3:] == new.to_pylist()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_columns_that_are_left_out_would_be_lost(server: Server, table: str, codec: str) -> None:
    whole = pa.record_batch({"id": [1], "a": [1], "b": ["x"]})
    with strings(server, codec) as store:
        store.write(table, [whole], BY_ID)
        with pytest.raises(SchemaError, match="lack.*'hash' or 'json'"):
            store.write(table, [whole.select(["id", "a"])], BY_ID)
        assert rows(store, table) == whole.to_pylist()
        more = whole.append_column("c", pa.array([2.5]))
        add = WriteOptions(key=("id",), evolution=SchemaEvolution.ADD)
        store.write(table, [more], add)
        assert rows(store, table) == more.to_pylist()
        store.write(table, [whole.select(["id", "a"])], OVERWRITE)
        assert rows(store, table) == [{"id": 1, "a": 1}]


@pytest.mark.parametrize(
    ("codec", "columns", "message"),
    [
        ("text", {"a": [1], "b": [2]}, "'a', 'b'.*'hash' or 'json'"),
        ("text", {}, "none"),
        ("raw", {"a": ["text"]}, "not binary"),
    ],
)
def test_columns_that_do_not_fit(
    server: Server, table: str, codec: str, columns: dict[str, Any], message: str
) -> None:
    with strings(server, codec) as store, pytest.raises(SchemaError, match=message):
        store.write(table, [pa.record_batch({"id": [1], **columns})], BY_ID)
    assert not server.raw.keys(f"*{table}*")


@pytest.mark.parametrize(
    ("codec", "good", "bad"),
    [
        ("text", b"1", b"one"),
        ("json", b'{"n":1}', b'{"n":"one"}'),
        ("json", b'{"n":1}', b"no object"),
        ("msgpack", msgpack.packb({"n": 1}), msgpack.packb({"n": "one"})),
        ("msgpack", msgpack.packb({"n": 1}), msgpack.packb([1])),
        ("msgpack", msgpack.packb({"n": 1}), b"\xc1"),
    ],
)
def test_a_value_that_does_not_parse(
    server: Server, table: str, codec: str, good: bytes, bad: bytes
) -> None:
    server.raw.set(f"{table}:1", good)
    server.raw.set(f"{table}:2", bad)
    server.raw.set(f"{table}:3", good)
    schema = pa.schema([("id", pa.int64()), ("n", pa.int64())])
    asked: dict[str, Any] = {"schema": schema, "key": ("id",)}
    with strings(server, codec) as store, pytest.raises(DecodeError, match=f"{table}:2"):
        rows(store, table, **asked)
    with strings(server, codec, on_bad_field="null") as store:
        assert [row["n"] for row in rows(store, table, **asked)] == [1, None, 1]
    with strings(server, codec, on_bad_field="drop") as store:
        assert [row["id"] for row in rows(store, table, **asked)] == [1, 3]


@pytest.mark.parametrize("columns", [None, ["id"]])
def test_a_key_of_another_type(server: Server, table: str, columns: list[str] | None) -> None:
    server.raw.set(f"{table}:1", b"1")
    server.raw.rpush(f"{table}:2", b"1")
    schema = pa.schema([("id", pa.int64()), ("n", pa.int64())])
    asked: dict[str, Any] = {"schema": schema, "key": ("id",), "columns": columns}
    with strings(server, "text") as store, pytest.raises(SchemaError, match="must hold a string"):
        rows(store, table, **asked)
    with strings(server, "text", on_bad_key="skip") as store:
        assert [row["id"] for row in rows(store, table, **asked)] == [1]
        assert store.counts.bad_keys == 1


def test_a_year_that_text_cannot_hold(server: Server, table: str) -> None:
    far = pa.array([10**15], pa.timestamp("s"))
    for codec in ("text", "json", "msgpack"):
        with strings(server, codec) as store, pytest.raises(SchemaError, match=r"year|text"):
            store.write(f"{table}{codec}", [pa.record_batch({"id": [1], "at": far})], BY_ID)


def test_msgpack_is_needed_only_where_it_is_used(
    server: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    batch = values("msgpack", 1)
    with strings(server, "json") as store:
        store.write(table, [batch], BY_ID)
    with strings(server, "msgpack") as store, pytest.raises(MissingDependencyError, match="pip"):
        store.write(f"{table}m", [batch], BY_ID)


@given(data=st.data())
@pytest.mark.parametrize("codec", ["text", "json", "msgpack"])
def test_any_type_comes_back(redis_server: Server, codec: str, data: st.DataObject) -> None:
    kind = data.draw(any_type)
    some = data.draw(st.lists(values_of(kind, nulls=codec != "text"), min_size=1, max_size=5))
    batch = pa.record_batch({"id": pa.array(range(len(some))), "v": pa.array(some, kind)})
    redis_server.raw.flushall()
    with strings(redis_server, codec) as store:
        store.write("t", [batch], OVERWRITE)
        found = read_all(store.source("t")).sort_by("id").combine_chunks()
    assert found.column("v").combine_chunks().equals(batch.column("v"))


@pytest.mark.parametrize("codec", CODECS)
def test_a_cluster_has_them_too(redis_cluster: Cluster, table: str, codec: str) -> None:
    batch = values(codec, 3000)
    with strings(redis_cluster, codec) as store:
        store.write(table, [batch], BY_ID)
        assert rows(store, table) == batch.to_pylist()
        store.write(table, [batch.slice(0, 10)], WriteOptions(key=("id",), ttl_seconds=60))
        assert 50 < redis_cluster.raw.ttl(f"{table}:3") <= 60
        found = rows(store, table, columns=["id", "__ttl"])
        assert [row["__ttl"] is not None for row in found] == [True] * 10 + [False] * 2990
        store.write(table, [batch.slice(0, 100)], OVERWRITE)
        assert redis_cluster.dbsize() == 101


@pytest.mark.parametrize("columns", [None, ["id"], ["id", "__ttl"]])
def test_a_slot_that_is_half_moved(
    redis_cluster: Cluster, table: str, columns: list[str] | None
) -> None:
    tagged = f"{{{table}}}"
    batch = pa.record_batch({"id": list(range(60)), "v": ["", "\r\n", "x"] * 20})
    slot = redis_cluster.raw.keyslot(f"{tagged}:1")
    target = next(n for n in redis_cluster.primaries() if n != redis_cluster.owner(slot))
    with strings(redis_cluster, "text") as store:
        store.write(tagged, [batch.slice(0, 50)], BY_ID)
        redis_cluster.open_slot(slot, target)
        redis_cluster.migrate(slot, target, most=25)
        store.write(tagged, [batch.slice(20)], BY_ID)
        found = rows(store, tagged, columns=columns)
        assert [row["id"] for row in found] == list(range(60))
        if columns is None:
            assert found == batch.to_pylist()
    redis_cluster.migrate(slot, target)
    redis_cluster.close_slot(slot, target)
