"""The JSON model: documents of RedisJSON, or strings of JSON text; a raw client on the other side."""

from __future__ import annotations

import datetime as dt
import json
import math
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
    DecodeError,
    SchemaError,
    Store,
    WriteMode,
    WriteOptions,
    WriteRejectedError,
    open_store,
    read_all,
)
from connector.jobs import WriteFields, WriteRows
from connector.redis.models.documents import MOST_PATHS
from connector.redis.models.objects import from_objects, infer_objects, to_objects

BY_ID = WriteOptions(key=("id",))
REPLACE = WriteOptions(key=("id",), fields=WriteFields.REPLACE)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NAMES = TEXTS.filter(lambda name: name and not name.startswith("__"))
REALS = st.integers(-(10**9), 10**9).map(lambda number: number / 64)
"""Few digits: of a number of 17 RedisJSON may keep a neighbour."""


class Witness:
    """What a server has under a key, as JSON, by a raw client."""

    def __init__(self, raw: Any, url: str, *, documents: bool) -> None:
        self.raw = raw
        self.url = url
        self.documents = documents

    def get(self, key: str) -> Any:
        text = self.raw.execute_command("JSON.GET", key) if self.documents else self.raw.get(key)
        return None if text is None else json.loads(text)

    def put(self, key: str, value: Any) -> None:
        text = json.dumps(value)
        if self.documents:
            self.raw.execute_command("JSON.SET", key, "$", text)
        else:
            self.raw.set(key, text)


@pytest.fixture(params=["documents", "text", "text in a cluster"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Store, Witness]]:
    """A store of each kind that takes model json, and its witness."""
    if request.param == "text in a cluster":
        clusters = request.getfixturevalue("_clusters")
        cluster: Cluster = clusters("redis")
        cluster.clear()
        with open_store(cluster.url, model="json") as store:
            yield store, Witness(cluster.raw, cluster.url, documents=False)
        return
    documents = request.param == "documents"
    found = request.getfixturevalue("module_server" if documents else "redis_server")
    with open_store(found.url, model="json") as store:
        yield store, Witness(found.raw, found.url, documents=documents)


@pytest.fixture
def documents(module_server: Server) -> Iterator[Store]:
    with open_store(module_server.url, model="json") as store:
        yield store


def test_a_row_is_an_object_without_its_key(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    noon = dt.datetime(2013, 1, 31, 12, 0, 0, 5)
    batch = pa.record_batch(
        {
            "id": [7],
            "text": ['naïve "\r\n\\ 😀\x01'],
            "whole": pa.array([2**63 - 1], pa.int64()),
            "real": [0.1],
            "yes": [True],
            "day": [dt.date(2013, 1, 31)],
            "at": pa.array([noon], pa.timestamp("us", "UTC")),
            "vector": pa.array([[1.0, 2.5]], pa.list_(pa.float32())),
            "words": [["a", None]],
            "place": pa.array([{"x": 1, "y": [{"z": "é"}]}]),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "bytes": [b"\x00\xff"],
            "nothing": pa.array([None], pa.string()),
        }
    )
    store.write(table, [batch], BY_ID)
    assert witness.get(f"{table}:7") == {
        "text": 'naïve "\r\n\\ 😀\x01',
        "whole": 2**63 - 1,
        "real": 0.1,
        "yes": True,
        "day": "2013-01-31",
        "at": "2013-01-31 12:00:00.000005Z",
        "vector": [1.0, 2.5],
        "words": ["a", None],
        "place": {"x": 1, "y": [{"z": "é"}]},
        "map": [{"key": "k", "value": 1}],
        "bytes": "00ff",
    }
    assert read_all(store.source(table)).to_pylist() == batch.to_pylist()


def test_a_foreign_table_is_inferred_from_a_sample(
    place: tuple[Store, Witness], table: str
) -> None:
    store, witness = place
    rows = [
        {"n": i, "real": i if i % 2 else i + 0.5, "word": f"w{i}", "day": "2013-01-01", "yes": True}
        | {"place": {"x": i, "deep": {"y": [1.5, 2]}}, "tags": ["a", "b"], "none": None}
        | ({"rare": [{"q": 1}]} if i == 7 else {})
        for i in range(30)
    ]
    for i, row in enumerate(rows):
        witness.put(f"{table}:k{i}", row)
    assert store.schema(table).remove_metadata() == pa.schema(
        [
            pa.field("_id", pa.string(), nullable=False),
            ("day", pa.string()),
            ("n", pa.int64()),
            ("none", pa.string()),
            (
                "place",
                pa.struct(
                    [("deep", pa.struct([("y", pa.list_(pa.float64()))])), ("x", pa.int64())]
                ),
            ),
            ("rare", pa.list_(pa.struct([("q", pa.int64())]))),
            ("real", pa.float64()),
            ("tags", pa.list_(pa.string())),
            ("word", pa.string()),
            ("yes", pa.bool_()),
        ]
    )
    found = read_all(store.source(table)).sort_by("n").to_pylist()
    assert found == [{"_id": f"k{i}", "rare": None, **row} for i, row in enumerate(rows)]


def test_some_columns_are_read_alone(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    names = [f"c{i}" for i in range(MOST_PATHS + 2)]
    for i in range(5):
        witness.put(f"{table}:{i}", {name: f"{name} {i}" for name in names if name != f"c{i}"})
    for count in range(len(names) + 1):
        found = read_all(store.source(table, columns=["_id", *names[:count]])).sort_by("_id")
        assert found.to_pylist() == [
            {"_id": str(i)} | {n: None if n == f"c{i}" else f"{n} {i}" for n in names[:count]}
            for i in range(5)
        ]
        if count:
            alone = read_all(store.source(table, columns=names[:count]))
            assert sorted(map(str, alone.to_pylist())) == sorted(
                str({n: row[n] for n in names[:count]}) for row in found.to_pylist()
            )


def test_field_names_of_any_kind(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    names = [
        'a"b',
        "a.b",
        "$.a",
        "$",
        "ü",
        "back\\slash",
        "it's",
        "sp ace",
        "nl\n",
        "[0]",
        "7",
        ":true",
    ]
    row = {name: i for i, name in enumerate(names)}
    store.write(table, [pa.record_batch({"id": [1]} | {n: [v] for n, v in row.items()})], BY_ID)
    assert witness.get(f"{table}:1") == row
    for name in names:
        assert read_all(store.source(table, columns=[name])).to_pylist() == [{name: row[name]}]
    assert read_all(store.source(table)).to_pylist() == [{"id": 1, **row}]


def test_a_null_deletes_its_field(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    first = pa.record_batch({"id": [1, 2], "a": ["x", None], "b": [1, None], "c": [[1], [2]]})
    store.write(table, [first], BY_ID)
    assert witness.get(f"{table}:1") == {"a": "x", "b": 1, "c": [1]}
    assert witness.get(f"{table}:2") == {"c": [2]}
    store.write(
        table,
        [pa.record_batch({"id": [1], "a": pa.array([None], pa.string()), "b": [2], "c": [[3]]})],
        BY_ID,
    )
    assert witness.get(f"{table}:1") == {"b": 2, "c": [3]}


def test_a_row_of_nulls_is_there(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    store.write(table, [pa.record_batch({"id": [1], "a": pa.array([None], pa.int64())})], BY_ID)
    assert witness.get(f"{table}:1") == {}
    assert read_all(store.source(table)).to_pylist() == [{"id": 1, "a": None}]
    assert read_all(store.source(table, columns=["id"])).to_pylist() == [{"id": 1}]


def test_documents_merge_columns_and_keep_what_others_put_there(
    module_server: Server, documents: Store, table: str
) -> None:
    witness = Witness(module_server.raw, module_server.url, documents=True)
    whole = pa.record_batch({"id": [1, 2], "a": ["x", "y"], "b": [1, 2]})
    documents.write(table, [whole], BY_ID)
    module_server.raw.execute_command("JSON.SET", f"{table}:1", "$.theirs", "true")
    documents.write(
        table, [pa.record_batch({"id": [1, 3], "b": pa.array([None, 5], pa.int64())})], BY_ID
    )
    assert witness.get(f"{table}:1") == {"a": "x", "theirs": True}
    assert witness.get(f"{table}:3") == {"b": 5}
    documents.write(table, [pa.record_batch({"id": [1, 4], "b": [7, 8]})], REPLACE)
    assert [witness.get(f"{table}:{i}") for i in (1, 2, 4)] == [
        {"b": 7},
        {"a": "y", "b": 2},
        {"b": 8},
    ]
    assert module_server.raw.type(f"{table}:1") == b"ReJSON-RL"


def test_text_is_written_whole_or_not_at_all(redis_server: Server, table: str) -> None:
    with open_store(redis_server.url, model="json") as store:
        store.write(table, [pa.record_batch({"id": [1], "a": ["x"], "b": [1]})], BY_ID)
        assert redis_server.raw.get(f"{table}:1") == b'{"a":"x","b":1}'
        with pytest.raises(SchemaError, match="would be lost"):
            store.write(table, [pa.record_batch({"id": [1], "b": [2]})], BY_ID)
        assert redis_server.raw.get(f"{table}:1") == b'{"a":"x","b":1}'


def test_what_a_table_was_written_with_is_saved(
    module_server: Server, documents: Store, table: str
) -> None:
    documents.write(table, [pa.record_batch({"id": [1], "a": ["x"]})], BY_ID)
    with open_store(module_server.url) as unasked:
        assert read_all(unasked.source(table)).to_pylist() == [{"id": 1, "a": "x"}]
    with (
        open_store(module_server.url, model="hash") as other,
        pytest.raises(SchemaError, match="json"),
    ):
        other.schema(table)


def test_an_overwrite_leaves_the_new_rows_alone(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    store.write(table, [pa.record_batch({"id": [1, 2], "a": ["x", "y"]})], BY_ID)
    over = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
    store.write(table, [pa.record_batch({"id": [2, 3], "b": [2, 3]})], over)
    assert [witness.get(f"{table}:{i}") for i in (1, 2, 3)] == [None, {"b": 2}, {"b": 3}]
    assert read_all(store.source(table)).sort_by("id").to_pylist() == [
        {"id": 2, "b": 2},
        {"id": 3, "b": 3},
    ]


def test_rows_expire_as_they_are_written(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    store.write(
        table,
        [pa.record_batch({"id": [1, 2], "a": ["x", None], "until": [100, None]})],
        WriteOptions(key=("id",), ttl_column="until"),
    )
    assert 90 < witness.raw.ttl(f"{table}:1") <= 100
    assert witness.raw.ttl(f"{table}:2") == -1
    assert [witness.get(f"{table}:{i}") for i in (1, 2)] == [{"a": "x"}, {}]
    rows = read_all(store.source(table, columns=["id", "__ttl"])).sort_by("id").to_pylist()
    assert rows[1] == {"id": 2, "__ttl": None} and 90 < rows[0]["__ttl"] <= 100
    store.write(table, [pa.record_batch({"id": [1], "a": ["z"]})], BY_ID)
    assert 90 < witness.raw.ttl(f"{table}:1") <= 100
    store.write(table, [pa.record_batch({"id": [1], "a": ["z"]})], REPLACE)
    assert witness.raw.ttl(f"{table}:1") == -1


def test_insert_and_update_only(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    store.write(table, [pa.record_batch({"id": [1], "a": ["x"]})], BY_ID)
    batch = pa.record_batch({"id": [1, 2], "a": ["new", None]})
    result = store.write(table, [batch], WriteOptions(key=("id",), rows=WriteRows.INSERT))
    assert (result.rows, result.skipped) == (1, 1)
    assert [witness.get(f"{table}:{i}") for i in (1, 2)] == [{"a": "x"}, {}]
    result = store.write(
        table,
        [pa.record_batch({"id": [1, 3], "a": pa.array([None, "q"])})],
        WriteOptions(key=("id",), rows=WriteRows.UPDATE),
    )
    assert (result.rows, result.skipped) == (1, 1)
    assert [witness.get(f"{table}:{i}") for i in (1, 3)] == [{}, None]


@pytest.mark.parametrize("width", [1, 2, MOST_PATHS + 1])
def test_what_does_not_parse(place: tuple[Store, Witness], table: str, width: int) -> None:
    store, witness = place
    others = {f"x{i}": i for i in range(width - 1)}
    schema = pa.schema(
        [pa.field("id", pa.int64()), ("n", pa.int64()), *((name, pa.int64()) for name in others)]
    )
    for i, value in enumerate([1, "two", 3, {"four": 4}, 5.5]):
        witness.put(f"{table}:{i}", {"n": value, **others})
    with pytest.raises(
        DecodeError, match="field 'n' of key .*which is not int64; [0-9] of [0-9] rows"
    ):
        read_all(store.source(table, schema=schema, key=("id",)))
    with open_store(witness.url, model="json", on_bad_field="null") as lenient:
        rows = read_all(lenient.source(table, schema=schema, key=("id",))).sort_by("id").to_pylist()
        assert rows == [{"id": i, "n": n, **others} for i, n in enumerate([1, None, 3, None, None])]
    with open_store(witness.url, model="json", on_bad_field="drop") as lenient:
        rows = read_all(lenient.source(table, schema=schema, key=("id",))).sort_by("id").to_pylist()
        assert rows == [{"id": i, "n": n, **others} for i, n in [(0, 1), (2, 3)]]


def test_mixed_values_are_strings_that_do_not_all_parse(
    place: tuple[Store, Witness], table: str
) -> None:
    store, witness = place
    for i, value in enumerate(["a", 1, {"x": 1}]):
        witness.put(f"{table}:{i}", {"m": value, "n": i})
    assert store.schema(table).field("m").type == pa.string()
    assert sorted(read_all(store.source(table, columns=["n"])).column("n").to_pylist()) == [0, 1, 2]
    with pytest.raises(DecodeError, match="field 'm'.*is not string.*on.bad.field"):
        read_all(store.source(table))


def test_what_is_no_object_is_no_row(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    witness.put(f"{table}:1", [1, 2])
    with pytest.raises(SchemaError, match=r"\[1,.*2\].*is not a JSON object"):
        store.schema(table)
    columns = [(f"c{i}", pa.int64()) for i in range(MOST_PATHS + 1)]
    schema = pa.schema([("id", pa.string()), *columns])
    with pytest.raises(DecodeError, match="c0"):
        read_all(store.source(table, schema=schema, key=("id",)))


def test_keys_of_another_type(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    witness.put(f"{table}:1", {"a": 1, "b": 2})
    witness.raw.hset(f"{table}:2", "a", "1")
    schema = pa.schema([("id", pa.int64()), ("a", pa.int64())])
    for columns in (["id"], ["a"]):
        with pytest.raises(SchemaError, match="on.bad.key"):
            read_all(store.source(table, schema=schema, key=("id",), columns=columns))
    with pytest.raises(SchemaError, match="on.bad.key"):
        store.schema(table)
    with open_store(witness.url, model="json", on_bad_key="skip") as lenient:
        for columns in (["id"], ["a"]):
            source = lenient.source(table, schema=schema, key=("id",), columns=columns)
            assert read_all(source).to_pylist() == [{columns[0]: 1}]
        assert lenient.counts.bad_keys == 2
        assert lenient.schema(table).names == ["_id", "a", "b"]


def test_some_documents_are_read_by_key(place: tuple[Store, Witness], table: str) -> None:
    store, witness = place
    wide = {f"c{i}": i for i in range(MOST_PATHS + 1)}
    for i in range(5):
        witness.put(f"{table}:{i}", wide)
    schema = pa.schema([("id", pa.int64()), *((name, pa.int64()) for name in wide)])
    for columns in (["id"], ["id", "c1"], schema.names):
        source = store.source(table, schema=schema, key=("id",), columns=columns, keys=[1, 99, 3])
        assert read_all(source).sort_by("id").to_pylist() == [
            {name: i if name == "id" else wide[name] for name in columns} for i in (1, 3)
        ]


def test_a_type_can_be_picked_while_scanning(module_server: Server, table: str) -> None:
    witness = Witness(module_server.raw, module_server.url, documents=True)
    witness.put(f"{table}:1", {"a": 1})
    module_server.raw.set(f"{table}:2", "x")
    with open_store(module_server.url, model="json", filter_keys_by_type=True) as store:
        schema = pa.schema([("id", pa.int64()), ("a", pa.int64())])
        source = store.source(table, schema=schema, key=("id",))
        assert read_all(source).to_pylist() == [{"id": 1, "a": 1}]
        assert store.counts.bad_keys == 0


def test_what_a_document_cannot_hold_is_refused(
    module_server: Server, documents: Store, table: str, tmp_path: Path
) -> None:
    batch = pa.record_batch({"id": [1, 2], "real": [math.nan, 1.5]})
    with pytest.raises(WriteRejectedError, match=f"key b'{table}:1'"):
        documents.write(table, [batch], BY_ID)
    rejecting = WriteOptions(key=("id",), reject_path=str(tmp_path))
    result = documents.write(table, [batch], rejecting)
    assert (result.rows, result.rejected) == (1, 1)
    assert module_server.raw.execute_command("JSON.GET", f"{table}:2") == b'{"real":1.5}'


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
KINDS = st.recursive(
    st.sampled_from([pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.date32()]),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(
            lambda f: pa.struct(list(f.items()))
        ),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
    ),
    max_leaves=4,
)


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_map(kind):
        return st.dictionaries(TEXTS, optional(kind.item_type), max_size=2).map(
            lambda d: list(d.items())
        )
    if pa.types.is_struct(kind):
        return st.fixed_dictionaries({item.name: optional(item.type) for item in kind})
    if pa.types.is_list(kind):
        return st.lists(optional(kind.value_type), max_size=3)
    return {
        pa.bool_(): st.booleans(),
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.float64(): REALS,
        pa.string(): TEXTS,
        pa.binary(): st.binary(max_size=5),
        pa.date32(): st.dates(dt.date(1, 1, 1)),
    }[kind]


def optional(kind: pa.DataType) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values_of(kind))


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    kinds = draw(st.dictionaries(NAMES, KINDS, min_size=1, max_size=5))
    count = draw(st.integers(1, 6))
    columns = {
        name: pa.array(draw(st.lists(optional(kind), min_size=count, max_size=count)), kind)
        for name, kind in kinds.items()
    }
    return pa.record_batch({"the key": list(range(count)), **columns})


@given(batch=batches())
def test_objects_are_what_python_reads(batch: pa.RecordBatch) -> None:
    rows = batch.drop_columns(["the key"])
    for nulls in (False, True):
        texts = to_objects(rows, nulls=nulls)
        for text, row in zip(texts.to_pylist(), rows.to_pylist(), strict=True):
            names = [name for name, value in row.items() if nulls or value is not None]
            assert list(json.loads(text)) == names
        assert pa.record_batch(from_objects(texts, list(rows.schema))).equals(rows)


@settings(max_examples=15)
@given(batch=batches(), fields=st.sampled_from(WriteFields))
def test_any_rows_are_read_back(
    place: tuple[Store, Witness], batch: pa.RecordBatch, fields: WriteFields
) -> None:
    store, witness = place
    table = f"t{uuid.uuid4().hex[:12]}"
    store.write(table, [batch], WriteOptions(key=("the key",), fields=fields))
    found = read_all(store.source(table, parts=1)).sort_by("the key").combine_chunks()
    assert found.to_batches()[0].equals(batch)
    for i, row in enumerate(batch.drop_columns(["the key"]).to_pylist()):
        assert sorted(witness.get(f"{table}:{i}")) == sorted(
            n for n, v in row.items() if v is not None
        )


@given(rows=st.lists(st.dictionaries(NAMES, SCALARS, max_size=4), max_size=5))
def test_inferred_columns_hold_what_they_were_inferred_from(rows: list[dict[str, Any]]) -> None:
    texts = [json.dumps(row).encode() for row in rows]
    for item in infer_objects("t", texts):
        values = [row.get(item.name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 and kinds != {int, float}:
            assert item.type == pa.string()
            continue
        assert from_objects(pa.array(texts), [item])[item.name].to_pylist() == values
