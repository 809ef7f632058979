"""Lists, sets and sorted sets as rows: as arrays, or a row for each element."""

from __future__ import annotations

import math
import threading
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from core.arrays import flat
from core.arrays import values as values_of
from hypothesis import given
from hypothesis import strategies as st
from servers import Server
from topology import Cluster

from connector import (
    DecodeError,
    OptionError,
    SchemaError,
    Store,
    WriteMode,
    WriteOptions,
    WriteRejectedError,
    open_store,
    read_all,
)
from connector.codecs import encode
from connector.jobs import WriteFields, WriteRows

BY_ID = WriteOptions(key=("id",))
REPLACE = WriteOptions(key=("id",), fields=WriteFields.REPLACE)
OVERWRITE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
MODELS = ("list", "set", "zset")
ODD = [b"\r\n", b"$-1\r\n", b"*2\r\n$1\r\na\r\n", b"", b"\xff\x00", b"x" * 5000]
PAIR = pa.struct([("member", pa.string()), ("score", pa.float64())])


def opened(server: Any, model: str, **more: object) -> Store:
    return open_store(server.url, model=model, **more)


def rows(store: Store, table: str, **asked: Any) -> list[dict[str, Any]]:
    return read_all(store.source(table, **asked)).to_pylist()


def by_id(store: Store, table: str, **asked: Any) -> list[dict[str, Any]]:
    return sorted(rows(store, table, **asked), key=lambda row: row["id"])


def put(raw: Any, model: str, key: str, elements: list[bytes]) -> None:
    """Put elements under a key by a raw client; a zset's scores are their positions."""
    if model == "list":
        raw.rpush(key, *elements)
    elif model == "set":
        raw.sadd(key, *elements)
    else:
        raw.zadd(key, {element: i for i, element in enumerate(elements)})


def stored(raw: Any, model: str, key: str) -> list[Any]:
    """What a raw client finds under a key; members of a set in order."""
    if model == "list":
        return list(raw.lrange(key, 0, -1))
    if model == "set":
        return sorted(raw.smembers(key))
    return [tuple(pair) for pair in raw.zrange(key, 0, -1, withscores=True)]


def arrays_of(model: str, lists: list[list[Any] | None], kind: pa.DataType) -> pa.Array:
    """The array column of a model from elements; a zset's scores are their positions."""
    if model != "zset":
        return pa.array(lists, pa.list_(kind))
    pair = pa.struct([("member", kind), ("score", pa.float64())])
    made = [
        None if each is None else [{"member": item, "score": i} for i, item in enumerate(each)]
        for each in lists
    ]
    return pa.array(made, pa.list_(pair))


def batch_of(model: str, lists: list[list[Any] | None], kind: pa.DataType) -> pa.RecordBatch:
    ids = pa.array(range(len(lists)), pa.int64())
    return pa.record_batch({"id": ids, "value": arrays_of(model, lists, kind)})


def elements(model: str, found: list[Any]) -> list[Any]:
    """The elements in a value that was read, without scores; a set's in order."""
    if model == "zset":
        return [pair["member"] for pair in found]
    return sorted(found) if model == "set" else found


@pytest.mark.parametrize("model", MODELS)
def test_foreign_elements_are_an_array(server: Server, table: str, model: str) -> None:
    put(server.raw, model, f"{table}:a", ODD)
    put(server.raw, model, f"{table}:b", [b"1"])
    with opened(server, model) as store:
        found = {row["_id"]: elements(model, row["value"]) for row in rows(store, table)}
    assert found == {"a": sorted(ODD) if model == "set" else ODD, "b": [b"1"]}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("written", "read"),
    [([b"1", b"-20"], [1, -20]), ([b"a", b""], ["a", ""]), ([b"2013-01-31"], None)],
)
def test_types_are_inferred(
    server: Server, table: str, model: str, written: list[bytes], read: list[Any] | None
) -> None:
    put(server.raw, model, f"{table}:a", written)
    with opened(server, model) as store:
        (row,) = rows(store, table)
        kind = store.schema(table).field("value").type.value_type
    with opened(server, model, explode=True) as store:
        name = "value" if model == "list" else "member"
        assert [row["_id"] for row in rows(store, table)] == ["a"] * len(written)
        member = store.schema(table).field(name).type
    assert (kind.field("member").type if model == "zset" else kind) == member
    if read is None:
        assert member == pa.date32()
    else:
        assert sorted(elements(model, row["value"])) == sorted(read)


def test_a_list_explodes_with_its_index(server: Server, table: str) -> None:
    server.raw.rpush(f"{table}:a", "x", "y", "x")
    server.raw.rpush(f"{table}:b", "z\r\n")
    whole = [("a", 0, "x"), ("a", 1, "y"), ("a", 2, "x"), ("b", 0, "z\r\n")]
    with opened(server, "list", explode=True) as store:
        for columns in (["_id", "index", "value"], ["_id", "index"], ["value"], ["_id"], ["index"]):
            places = [("_id", "index", "value").index(name) for name in columns]
            found = [tuple(row.values()) for row in rows(store, table, columns=columns)]
            assert sorted(found) == sorted(tuple(row[i] for i in places) for row in whole)
        server.raw.expire(f"{table}:a", 100)
        found = rows(store, table, columns=["__ttl", "__key", "value"])
        assert sorted((row["value"], row["__ttl"]) for row in found) == [
            ("x", 100),
            ("x", 100),
            ("y", 100),
            ("z\r\n", None),
        ]
        with pytest.raises(SchemaError, match="group the rows by key into arrays"):
            store.write(
                table, [pa.record_batch({"_id": ["a"], "value": ["n"]})], WriteOptions(key=("_id",))
            )


@pytest.mark.parametrize("model", MODELS)
def test_exploded_rows_are_counted_by_element(server: Server, table: str, model: str) -> None:
    for i in range(1, 30):
        put(server.raw, model, f"{table}:{i}", [b"%d" % j for j in range(i)])
    with opened(server, model, explode=True, filter_keys_by_type=True) as store:
        source = store.source(table, parts=2)
        found = sum(source.count(part) for part in source.partitions())
        assert found == read_all(source).num_rows == sum(range(30))


def test_a_sorted_set_explodes_with_its_scores(server: Server, table: str) -> None:
    scores = {"low": -math.inf, "tiny": 5e-324, "third": 1 / 3, "huge": 1e300, "high": math.inf}
    server.raw.zadd(f"{table}:a", scores)
    with opened(server, "zset", explode=True) as store:
        found = [(row["member"], row["score"]) for row in rows(store, table)]
        assert found == list(scores.items())
        assert [row["score"] for row in rows(store, table, columns=["score"])] == list(
            scores.values()
        )
        assert [row["member"] for row in rows(store, table, columns=["member"])] == list(scores)
        assert rows(store, table, columns=["_id"]) == [{"_id": "a"}] * 5
    with opened(server, "zset") as store:
        pairs = [{"member": name, "score": score} for name, score in scores.items()]
        assert rows(store, table) == [{"_id": "a", "value": pairs}]


@pytest.mark.parametrize("model", MODELS)
def test_rows_come_back(server: Server, table: str, model: str) -> None:
    lists = [[b"%d" % i, *ODD] for i in range(50)]
    batch = batch_of(model, lists, pa.binary())
    with opened(server, model) as store:
        for options in (BY_ID, BY_ID, REPLACE, OVERWRITE):
            assert store.write(table, [batch], options).rows == 50
            found = [elements(model, row["value"]) for row in by_id(store, table)]
            assert found == ([sorted(each) for each in lists] if model == "set" else lists)
        expected = [(b"%d" % 7, 0.0)] if model == "zset" else [b"%d" % 7]
        assert expected[0] in stored(server.raw, model, f"{table}:7")
        assert by_id(store, table, columns=["id"]) == [{"id": i} for i in range(50)]
        assert len(rows(store, table, columns=["value"])) == 50
        store.write(table, [batch.slice(5, 2)], OVERWRITE)
        assert [row["id"] for row in by_id(store, table)] == [5, 6]
    with open_store(server.url) as plain:  # the model was saved with the table
        assert plain.schema(table).field("value").type == batch.schema.field("value").type
        assert [row["id"] for row in by_id(plain, table)] == [5, 6]


@pytest.mark.parametrize(
    ("model", "merged"),
    [
        ("list", [[b"new"], None, None]),
        ("set", [[b"new", b"old"], [b"old"], None]),
        ("zset", [[(b"new", 0.0), (b"old", 0.0)], [(b"old", 0.0)], None]),
    ],
)
@pytest.mark.parametrize("ttl", [None, 90])
def test_what_is_left_of_the_row_before(
    server: Server, table: str, model: str, merged: list[Any], ttl: int | None
) -> None:
    old = batch_of(model, [["old"], ["old"], ["old"]], pa.string())
    new = batch_of(model, [["new"], [], None], pa.string())
    for fields, expected in (
        (WriteFields.MERGE, merged),
        (WriteFields.REPLACE, [[(b"new", 0.0)] if model == "zset" else [b"new"], None, None]),
    ):
        with opened(server, model) as store:
            store.write(table, [old], OVERWRITE)
            for _ in range(2):
                store.write(table, [new], WriteOptions(key=("id",), fields=fields, ttl_seconds=ttl))
        for i, value in enumerate(expected):
            assert stored(server.raw, model, f"{table}:{i}") == (value or [])
            if value:
                assert (server.raw.ttl(f"{table}:{i}") > 80) is (ttl is not None)


@pytest.mark.parametrize("model", MODELS)
def test_a_merge_leaves_the_expiry(server: Server, table: str, model: str) -> None:
    batch = batch_of(model, [["a", "b"]], pa.string())
    with opened(server, model) as store:
        store.write(table, [batch], WriteOptions(key=("id",), ttl_seconds=500))
        store.write(table, [batch], BY_ID)
        assert 490 < server.raw.ttl(f"{table}:0") <= 500
        assert rows(store, table, columns=["id", "__ttl"]) == [{"id": 0, "__ttl": 500}]
        store.write(table, [batch], REPLACE)
        assert server.raw.ttl(f"{table}:0") == -1
        assert elements(model, rows(store, table)[0]["value"]) == ["a", "b"]


@pytest.mark.parametrize("model", MODELS)
def test_a_shorter_array_leaves_nothing_of_a_longer_list(
    server: Server, table: str, model: str
) -> None:
    with opened(server, model) as store:
        for length in (5, 2, 3):
            store.write(table, [batch_of(model, [list(range(length))], pa.int64())], REPLACE)
            assert len(stored(server.raw, model, f"{table}:0")) == length
        store.write(table, [batch_of(model, [[7]], pa.int64())], BY_ID)
        assert len(stored(server.raw, model, f"{table}:0")) == (1 if model == "list" else 4)


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_only_inserted_or_only_updated(server: Server, table: str, model: str) -> None:
    many = list(range(20_000))  # more than a script can take in one command
    old, new = [[1], [2]], [[3], many]
    with opened(server, model) as store:
        store.write(table, [batch_of(model, old, pa.int64())], BY_ID)
        server.raw.delete(f"{table}:1")
        insert = WriteOptions(key=("id",), rows=WriteRows.INSERT)
        assert store.write(table, [batch_of(model, new, pa.int64())], insert).skipped == 1
        found = [elements(model, row["value"]) for row in by_id(store, table)]
        assert found == [[1], many]
        update = WriteOptions(key=("id",), rows=WriteRows.UPDATE, fields=WriteFields.REPLACE)
        store.write(table, [batch_of(model, [[4], [5], [6]], pa.int64())], update)
        assert [elements(model, row["value"]) for row in by_id(store, table)] == [[4], [5]]


@pytest.mark.parametrize("model", MODELS)
def test_more_elements_than_a_command_takes(redis_server: Server, table: str, model: str) -> None:
    count = 1_050_000
    batch = batch_of(model, [[0, 1], [], [3]], pa.int64())
    long = pa.array(range(count))
    value = long
    if model == "zset":
        value = pa.StructArray.from_arrays([long, long.cast(pa.float64())], ["member", "score"])
    offsets = pa.array([0, count], pa.int32())
    large = pa.record_batch({"id": [1], "value": pa.ListArray.from_arrays(offsets, value)})
    large = large.cast(batch.schema)
    both = pa.Table.from_batches([batch.slice(0, 1), large, batch.slice(2)]).combine_chunks()
    size = {"list": "llen", "set": "scard", "zset": "zcard"}[model]
    with opened(redis_server, model, max_pipeline_bytes=1 << 28) as store:
        for options in (REPLACE, BY_ID):
            store.write(table, both.to_batches(), options)
            assert [getattr(redis_server.raw, size)(f"{table}:{i}") for i in (0, 1, 2)] == [
                2,
                count,
                1,
            ]
        found = by_id(store, table)[1]["value"]
        assert elements(model, found) == list(range(count))


@pytest.mark.parametrize("model", ["set", "zset"])
def test_exploded_rows_are_added(server: Server, table: str, model: str) -> None:
    columns: dict[str, Any] = {"id": [1, 1, 2], "member": ["a", "b\r\n", "a"]}
    if model == "zset":
        columns["score"] = [0.5, math.inf, -math.inf]
    batch = pa.record_batch(columns)
    with opened(server, model, explode=True) as store:
        for _ in range(2):
            assert store.write(table, [batch], BY_ID).rows == 3
        pairs = [(b"a", 0.5), (b"b\r\n", math.inf)]
        expected = pairs if model == "zset" else [b"a", b"b\r\n"]
        assert stored(server.raw, model, f"{table}:1") == expected
        found = sorted(rows(store, table), key=lambda row: (row["id"], row["member"]))
        assert found == batch.to_pylist()
        store.write(table, [batch], WriteOptions(key=("id",), ttl_seconds=60))
        assert 50 < server.raw.ttl(f"{table}:2") <= 60
        more = batch.slice(0, 1).set_column(1, "member", pa.array(["c"]))
        store.write(table, [more], BY_ID)
        assert len(stored(server.raw, model, f"{table}:1")) == 3
        if model == "zset":
            changed = more.set_column(2, "score", pa.array([9.0]))
            store.write(table, [changed], BY_ID)
            assert server.raw.zscore(f"{table}:1", "c") == 9


@pytest.mark.parametrize("model", ["set", "zset"])
@pytest.mark.parametrize(
    "options", [OVERWRITE, REPLACE, WriteOptions(key=("id",), rows=WriteRows.INSERT)]
)
def test_exploded_rows_replace_nothing(
    server: Server, table: str, model: str, options: WriteOptions
) -> None:
    put(server.raw, model, f"{table}:1", [b"old"])
    columns: dict[str, Any] = {"id": [1], "member": ["a"]}
    if model == "zset":
        columns["score"] = [0.5]
    with (
        opened(server, model, explode=True) as store,
        pytest.raises(OptionError, match="share keys"),
    ):
        store.write(table, [pa.record_batch(columns)], options)
    assert len(stored(server.raw, model, f"{table}:1")) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1, 1], "member": ["a", "a"], "score": [1.0, 2.0]}, "more than once"),
        ({"id": [1], "member": pa.array([None], pa.string()), "score": [1.0]}, "null"),
        ({"id": [1], "member": ["a"], "score": pa.array([None], pa.float64())}, "null score"),
        ({"id": [1], "member": ["a"], "score": [math.nan]}, "NaN"),
        ({"id": [1], "member": ["a"], "score": ["1"]}, "no number"),
        ({"id": [1], "member": ["a"]}, "'member', 'score'"),
        ({"id": [1], "member": ["a"], "score": [1.0], "x": [1]}, "'member', 'score'"),
    ],
)
def test_exploded_rows_that_cannot_be(
    server: Server, table: str, columns: dict[str, Any], message: str
) -> None:
    with opened(server, "zset", explode=True) as store, pytest.raises(SchemaError, match=message):
        store.write(table, [pa.record_batch(columns)], BY_ID)
    assert not server.raw.keys(f"{table}:*")


@pytest.mark.parametrize(
    ("model", "value", "message"),
    [
        ("list", pa.array([["a", None]]), "null"),
        ("set", pa.array([[None]], pa.list_(pa.string())), "null"),
        ("list", pa.array(["a"]), "no array"),
        ("set", pa.array([1]), "no array"),
        ("zset", pa.array([["a"]]), "'member' and 'score'"),
        ("zset", pa.array([[{"member": "a", "score": math.nan}]], pa.list_(PAIR)), "NaN"),
        ("zset", pa.array([[{"member": "a", "score": None}]], pa.list_(PAIR)), "null score"),
        ("zset", pa.array([[{"member": None, "score": 1}]], pa.list_(PAIR)), "null member"),
        ("zset", pa.array([[{"member": "a", "score": "1"}]]), "no number"),
    ],
)
def test_arrays_that_cannot_be(
    server: Server, table: str, model: str, value: pa.Array, message: str
) -> None:
    with opened(server, model) as store, pytest.raises(SchemaError, match=message):
        store.write(table, [pa.record_batch({"id": [1], "value": value})], BY_ID)
    assert not server.raw.keys(f"{table}:*")


@pytest.mark.parametrize("model", MODELS)
def test_a_row_has_one_array(server: Server, table: str, model: str) -> None:
    one = batch_of(model, [[1]], pa.int64())
    with opened(server, model) as store:
        for wrong in (one.append_column("more", pa.array([1])), one.select(["id"])):
            with pytest.raises(SchemaError, match="one column beside the key's"):
                store.write(table, [wrong], BY_ID)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("list", pa.large_list(pa.large_string())),
        ("list", pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        ("set", pa.list_(pa.string(), 2)),
        ("zset", pa.list_(pa.struct([("score", pa.int32()), ("member", pa.large_string())]))),
    ],
)
def test_kindred_types_are_stored_too(
    server: Server, table: str, model: str, kind: pa.DataType
) -> None:
    given_ = (
        ["a", "b"] if model != "zset" else [{"score": i, "member": n} for i, n in enumerate("ab")]
    )
    with opened(server, model) as store:
        store.write(table, [pa.record_batch({"id": [1], "value": pa.array([given_], kind)})], BY_ID)
        (row,) = rows(store, table)
        assert sorted(row["value"], key=str) == sorted(given_, key=str)
        schema = store.schema(table).set(1, pa.field("value", pa.large_list(pa.large_string())))
        if model != "zset":
            asked = store.source(table, schema=schema.with_metadata(None), key=("id",))
            assert read_all(asked).schema.field("value").type == pa.large_list(pa.large_string())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("explode", [False, True])
@pytest.mark.parametrize("columns", [None, ["id"]])
def test_a_key_of_another_type(
    server: Server, table: str, model: str, explode: bool, columns: list[str] | None
) -> None:
    put(server.raw, model, f"{table}:1", [b"1", b"2"])
    server.raw.hset(f"{table}:2", "a", "1")
    with opened(server, model, explode=explode, on_bad_key="skip") as store:
        schema = store.schema(table, ("id",))
        asked: dict[str, Any] = {"schema": schema, "columns": columns}
        assert {row["id"] for row in rows(store, table, **asked)} == {"1"}
        assert store.counts.bad_keys == 1
    with (
        opened(server, model, explode=explode) as store,
        pytest.raises(SchemaError, match=f"must hold a {model}"),
    ):
        rows(store, table, **asked)


@pytest.mark.parametrize("explode", [False, True])
def test_an_element_that_does_not_parse(server: Server, table: str, explode: bool) -> None:
    server.raw.rpush(f"{table}:1", "1", "2")
    server.raw.rpush(f"{table}:2", "1", "two")
    kind = pa.int64() if explode else pa.list_(pa.int64())
    schema = pa.schema([("id", pa.int64()), ("value", kind)])
    asked: dict[str, Any] = {"schema": schema, "key": ("id",)}
    settings: dict[str, Any] = {"model": "list", "explode": explode}
    with (
        open_store(server.url, **settings) as store,
        pytest.raises(DecodeError, match=f"{table}:2"),
    ):
        rows(store, table, **asked)
    bad_null = [1, 2, 1, None] if explode else [[1, 2], None]
    with open_store(server.url, on_bad_field="null", **settings) as store:
        assert [row["value"] for row in by_id(store, table, **asked)] == bad_null
    with open_store(server.url, on_bad_field="drop", **settings) as store:
        assert [row["value"] for row in by_id(store, table, **asked)] == [
            each for each in bad_null if each is not None
        ]


@pytest.mark.parametrize(
    ("model", "explode", "field"),
    [
        ("list", False, pa.field("value", pa.string())),
        ("list", True, pa.field("other", pa.string())),
        ("set", True, pa.field("value", pa.string())),
        ("zset", False, pa.field("value", pa.list_(pa.string()))),
    ],
)
def test_columns_that_the_model_does_not_have(
    server: Server, table: str, model: str, explode: bool, field: pa.Field
) -> None:
    put(server.raw, model, f"{table}:1", [b"1"])
    schema = pa.schema([("id", pa.int64()), field])
    with opened(server, model, explode=explode) as store, pytest.raises(SchemaError):
        rows(store, table, schema=schema, key=("id",))


def test_a_model_that_is_not_the_tables(server: Server, table: str) -> None:
    with opened(server, "set") as store:
        store.write(table, [batch_of("set", [["a"]], pa.string())], BY_ID)
    with opened(server, "set", explode=True) as store, pytest.raises(SchemaError, match="'set'"):
        store.schema(table)
    with opened(server, "set", explode=True, infer_schema=True) as store:
        assert rows(store, table) == [{"_id": "0", "member": "a"}]


@pytest.mark.parametrize("model", MODELS)
def test_a_key_of_another_type_is_not_written_over(server: Server, table: str, model: str) -> None:
    server.raw.hset(f"{table}:1", "a", "1")
    lists = [["a"], ["b"], []]
    with (
        opened(server, model) as store,
        pytest.raises(WriteRejectedError, match=f"1 of 2 rows.*{table}:1.*WRONGTYPE"),
    ):
        store.write(table, [batch_of(model, lists[:2], pa.string())], BY_ID)
    assert server.raw.hgetall(f"{table}:1") == {b"a": b"1"}
    assert len(stored(server.raw, model, f"{table}:0")) == 1


@pytest.mark.parametrize("model", MODELS)
def test_no_rows_are_nothing(server: Server, table: str, model: str) -> None:
    none = batch_of(model, [["a"]], pa.string()).slice(1)
    some = batch_of(model, [["a"]], pa.string())
    with opened(server, model) as store:
        assert store.write(table, [none, some, none], REPLACE).rows == 1
        assert [elements(model, row["value"]) for row in rows(store, table)] == [["a"]]


@pytest.mark.parametrize("options", [BY_ID, REPLACE])
def test_nobody_sees_a_list_half_written(server: Server, table: str, options: WriteOptions) -> None:
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(server.raw.llen(f"{table}:0"))

    batches = [batch_of("list", [["x"] * length], pa.string()) for length in (40, 70)]
    with opened(server, "list") as store:
        store.write(table, batches[:1], options)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for _ in range(100):
                store.write(table, batches, options)
        finally:
            done.set()
            watcher.join()
    assert seen == {40, 70}


def test_an_option_for_other_models(server: Server) -> None:
    with open_store(server.url, explode=True) as store, pytest.raises(OptionError, match="explode"):
        store.schema("t")
    settings = {"model": "list", "value_codec": "json"}
    with (
        open_store(server.url, **settings) as store,
        pytest.raises(OptionError, match="value.codec"),
    ):
        store.schema("t")


@given(data=st.data())
@pytest.mark.parametrize("model", MODELS)
def test_elements_of_any_type_come_back(
    redis_server: Server, model: str, data: st.DataObject
) -> None:
    kind = data.draw(flat)
    distinct = st.lists(
        values_of(kind, nulls=False),
        max_size=4,
        unique_by=lambda item: encode("value", pa.array([item], kind))[0].as_py(),
    )
    lists = data.draw(st.lists(st.none() | distinct, min_size=1, max_size=5))
    batch = batch_of(model, lists, kind).slice(data.draw(st.integers(0, 1)))
    options = data.draw(st.sampled_from([BY_ID, REPLACE, OVERWRITE]))
    redis_server.raw.flushall()
    with opened(redis_server, model) as store:
        assert store.write("t", [batch], options).rows == batch.num_rows
        found = read_all(store.source("t")).sort_by("id").combine_chunks()
    kept = batch.filter(pc.greater(pc.list_value_length(batch.column("value")), 0))
    assert found.column("id").to_pylist() == kept.column("id").to_pylist()
    pairs = zip(found.column("value"), kept.column("value"), strict=True)
    for mine, theirs in pairs:
        if model == "set":
            texts = [sorted(encode("value", each.values).to_pylist()) for each in (mine, theirs)]
            assert texts[0] == texts[1]
        else:
            assert mine.values.equals(theirs.values)


@given(scores=st.lists(st.floats(allow_nan=False), min_size=1, max_size=6))
def test_any_score_comes_back(redis_server: Server, scores: list[float]) -> None:
    redis_server.raw.flushall()
    members = [f"m{i}" for i in range(len(scores))]
    ids = [0] * len(scores)
    with opened(redis_server, "zset", explode=True) as store:
        batch = pa.record_batch({"id": ids, "member": members, "score": scores})
        store.write("t", [batch], BY_ID)
        raw = dict(redis_server.raw.zrange("t:0", 0, -1, withscores=True))
        assert [raw[name.encode()] for name in members] == scores
        found = {row["member"]: row["score"] for row in rows(store, "t")}
    assert [found[name] for name in members] == scores


@pytest.mark.parametrize("model", MODELS)
def test_a_cluster_has_them_too(redis_cluster: Cluster, table: str, model: str) -> None:
    lists: list[Any] = [[i, i + 1] for i in range(2000)]
    batch = batch_of(model, lists, pa.int64())
    with opened(redis_cluster, model) as store:
        store.write(table, [batch], BY_ID)
        assert [elements(model, row["value"]) for row in by_id(store, table)] == lists
        store.write(table, [batch.slice(0, 10)], WriteOptions(key=("id",), ttl_seconds=60))
        assert 50 < redis_cluster.raw.ttl(f"{table}:3") <= 60
        found = by_id(store, table, columns=["id", "__ttl"])
        assert [row["__ttl"] is not None for row in found] == [True] * 10 + [False] * 1990
        store.write(table, [batch.slice(0, 100)], OVERWRITE)
        assert redis_cluster.dbsize() == 101
    with opened(redis_cluster, model, explode=True, infer_schema=True) as store:
        name = "value" if model == "list" else "member"
        found = rows(store, table, columns=["_id", name])
        assert sorted((int(row["_id"]), row[name]) for row in found) == [
            (i, item) for i in range(100) for item in lists[i]
        ]
    if model == "list":
        return
    with opened(redis_cluster, model, explode=True) as store:
        columns: dict[str, Any] = {"id": [1, 1, 2], "member": ["a", "b", "a"]}
        if model == "zset":
            columns["score"] = [1.0, 2.0, 3.0]
        store.write(f"{table}x", [pa.record_batch(columns)], BY_ID)
        assert len(stored(redis_cluster.raw, model, f"{table}x:1")) == 2


@pytest.mark.parametrize("model", MODELS)
def test_a_slot_that_is_half_moved(redis_cluster: Cluster, table: str, model: str) -> None:
    tagged = f"{{{table}}}"
    lists: list[Any] = [[i, i + 1] for i in range(60)]
    batch = batch_of(model, lists, pa.int64())
    slot = redis_cluster.raw.keyslot(f"{tagged}:1")
    target = next(n for n in redis_cluster.primaries() if n != redis_cluster.owner(slot))
    with opened(redis_cluster, model) as store:
        store.write(tagged, [batch.slice(0, 50)], BY_ID)
        with opened(redis_cluster, model, explode=True, infer_schema=True) as other:
            exploded = other.schema(tagged, ("id",))
        redis_cluster.open_slot(slot, target)
        redis_cluster.migrate(slot, target, most=25)
        store.write(tagged, [batch.slice(20)], BY_ID)
        assert [elements(model, row["value"]) for row in by_id(store, tagged)] == lists
    with opened(redis_cluster, model, explode=True) as store:
        name = "value" if model == "list" else "member"
        found = rows(store, tagged, schema=exploded, columns=["id", name, "__ttl"])
        assert sorted((int(row["id"]), row[name]) for row in found) == [
            (i, item) for i, each in enumerate(lists) for item in each
        ]
    redis_cluster.migrate(slot, target)
    redis_cluster.close_slot(slot, target)
