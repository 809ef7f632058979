"""Law 5 on every store: a write is an upsert by key, and refuses what it cannot keep."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from uuid import uuid4

import pyarrow as pa
import pytest
from contract.rows import SCHEMA, as_table, get, ids, people, put
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Server

from connector import (
    OptionError,
    SchemaError,
    Store,
    TableNotFoundError,
    WriteMode,
    WriteOptions,
    WriteResult,
    open_store,
)
from connector.schema import key_of

BY_ID = WriteOptions(key=("id",))


def test_written_twice_equals_written_once(store: Store, table: str) -> None:
    put(store, table, people(300))
    put(store, table, people(300))
    assert get(store, table).equals(as_table(people(300)))


def test_a_part_may_be_written_again_before_the_commit(store: Store, table: str) -> None:
    job = store.begin(table, SCHEMA, BY_ID)
    store.write_part(job, [people(20)])
    results = [store.write_part(job, [people(50)]), store.write_part(job, [people(40, start=50)])]
    store.commit(job, results)
    assert get(store, table).equals(as_table(people(90)))


def test_jobs_and_results_pickle(store: Store, table: str) -> None:
    job = store.begin(table, SCHEMA, BY_ID)
    assert pickle.loads(pickle.dumps(job)) == job
    result = store.write_part(job, [people(50)])
    assert pickle.loads(pickle.dumps(result)) == result
    store.commit(job, [result])


def _part(packed: bytes, start: int) -> WriteResult:
    store, job = pickle.loads(packed)
    with store:
        result: WriteResult = store.write_part(job, [people(1000, start)])
        return result


@pytest.mark.parametrize("mode", list(WriteMode))
def test_parts_are_written_by_other_processes(server: Server, table: str, mode: WriteMode) -> None:
    with open_store(server.url) as store:
        put(store, table, people(50, start=990))
        job = store.begin(table, SCHEMA, WriteOptions(key=("id",), mode=mode))
        packed = pickle.dumps((store, job))
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            attempts = list(pool.map(_part, [packed] * 3, [0, 1000, 0]))
        store.commit(job, attempts[:2])  # the third repeated the first
        assert get(store, table).equals(as_table(people(2000)))


def test_the_key_is_saved_with_the_table(store: Store, table: str) -> None:
    put(store, table, people(3))
    assert key_of(store.schema(table)) == ("id",)
    assert store.source(table).key == ("id",)
    store.write(table, [people(3, start=3)], WriteOptions())
    assert ids(store, table) == [0, 1, 2, 3, 4, 5]


def test_a_null_deletes_its_field(store: Store, table: str) -> None:
    put(store, table, people(2))
    news = pa.RecordBatch.from_pydict({"id": [1], "name": [None], "size": [5.0]}, schema=SCHEMA)
    put(store, table, news)
    assert get(store, table).slice(1).to_pylist() == news.to_pylist()


def test_columns_that_are_not_written_stay(store: Store, table: str) -> None:
    put(store, table, people(2))
    news = pa.RecordBatch.from_pydict({"size": [-1.0, 9.0], "id": [1, 5]})
    put(store, table, news)
    assert get(store, table).to_pylist() == [
        people(2).to_pylist()[0],
        {"id": 1, "name": "näme\r\n1", "size": -1.0},
        {"id": 5, "name": None, "size": 9.0},
    ]


def test_rows_of_nulls_survive(store: Store, table: str) -> None:
    nulls = pa.RecordBatch.from_pydict(
        {"id": [1, 2], "name": [None, None], "size": [None, None]}, schema=SCHEMA
    )
    put(store, table, nulls)
    put(store, table, nulls)
    assert get(store, table).equals(as_table(nulls))
    assert ids(store, table) == [1, 2]


def test_rows_that_become_all_null_survive(store: Store, table: str) -> None:
    put(store, table, people(2))
    put(
        store,
        table,
        pa.RecordBatch.from_pydict({"id": [0], "name": [None], "size": [None]}, schema=SCHEMA),
    )
    assert get(store, table).to_pylist()[0] == {"id": 0, "name": None, "size": None}


def test_a_table_of_nothing_but_keys(store: Store, table: str) -> None:
    keys = pa.RecordBatch.from_pydict({"id": [1, 2, 3]})
    put(store, table, keys)
    assert get(store, table).equals(as_table(keys))


small = st.integers(0, 12)
upserts = st.lists(
    st.dictionaries(
        small,
        st.fixed_dictionaries(
            {},
            optional={"a": st.none() | small, "b": st.none() | st.sampled_from(["", "x", "\r\n"])},
        ),
        min_size=1,
    ),
    max_size=6,
)


@given(upserts=upserts)
@settings(max_examples=25)
def test_upserts_do_what_a_dictionary_does(
    store: Store, table: str, upserts: list[dict[int, dict[str, object]]]
) -> None:
    table = f"{table}-{uuid4().hex}"  # a new one for each example
    full = pa.schema([("id", pa.int64()), ("a", pa.int64()), ("b", pa.string())])
    put(store, table, pa.RecordBatch.from_pylist([], schema=full))
    model: dict[int, dict[str, object]] = {}
    for rows in upserts:
        given_columns = set.intersection(*(set(row) for row in rows.values()))
        schema = pa.schema([field for field in full if field.name in {"id", *given_columns}])
        news = [{"id": i, **{name: row[name] for name in given_columns}} for i, row in rows.items()]
        put(store, table, pa.RecordBatch.from_pylist(news, schema=schema))
        for row in news:
            model.setdefault(row["id"], {"a": None, "b": None}).update(row)  # type: ignore[arg-type]
    expected = [model[i] for i in sorted(model)]
    assert get(store, table).to_pylist() == [
        {"id": row["id"], "a": row["a"], "b": row["b"]} for row in expected
    ]


def test_a_new_table_needs_a_key(store: Store, table: str) -> None:
    with pytest.raises(OptionError, match=f"(?s){table}.*key"):
        store.write(table, [people(3)], WriteOptions())


def test_the_key_column_must_be_there(store: Store, table: str) -> None:
    with pytest.raises(SchemaError, match=f"(?s){table}.*'nr'"):
        store.write(table, [people(3)], WriteOptions(key=("nr",)))
    with pytest.raises(TableNotFoundError):
        store.schema(table)


def test_a_key_column_named_twice(store: Store, table: str) -> None:
    with pytest.raises(SchemaError, match="twice"):
        store.write(table, [people(3)], WriteOptions(key=("id", "id")))


def test_the_key_is_no_text() -> None:
    with pytest.raises(OptionError, match="tuple of column names"):
        WriteOptions(key="id")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [("id",), ("name", "id")])
def test_a_null_key_is_refused(store: Store, table: str, key: tuple[str, ...]) -> None:
    batch = pa.RecordBatch.from_pydict({"id": [1, None, 3], "name": ["a", "b", "c"]})
    with pytest.raises(SchemaError, match=f"(?s){table}.*'id' is null in 1 of 3"):
        store.write(table, [batch], WriteOptions(key=key))


def test_a_key_twice_in_a_batch_is_refused(store: Store, table: str) -> None:
    batch = pa.RecordBatch.from_pydict({"id": [41, 42, 42], "name": ["a", "b", "c"]})
    with pytest.raises(SchemaError, match=f"(?s){table}.*42"):
        store.write(table, [batch], BY_ID)


def test_a_nested_key_is_refused(store: Store, table: str) -> None:
    batch = pa.RecordBatch.from_pydict({"id": [[1], [2]]})
    with pytest.raises(SchemaError, match="'id'"):
        store.write(table, [batch], BY_ID)


@pytest.mark.parametrize(
    ("news", "named"),
    [
        ({"id": [1], "size": ["big"]}, "'size' of table .* is double.* string"),
        ({"id": [1], "colour": ["red"]}, "table .* has no column 'colour'"),
        ({"id": ["1"], "size": [1.0]}, "'id' of table .* is int64"),
    ],
)
def test_an_append_of_other_columns_is_refused(
    store: Store, table: str, news: dict[str, list[object]], named: str
) -> None:
    put(store, table, people(3))
    with pytest.raises(SchemaError, match=named):
        store.write(table, [pa.RecordBatch.from_pydict(news)], BY_ID)
    assert get(store, table).equals(as_table(people(3)))


def test_an_append_by_another_key_is_refused(store: Store, table: str) -> None:
    put(store, table, people(3))
    with pytest.raises(SchemaError, match="(?s)key id.*key name"):
        store.write(table, [people(3)], WriteOptions(key=("name",)))


def test_two_columns_of_one_name_are_refused(store: Store, table: str) -> None:
    twice = pa.RecordBatch.from_arrays(
        [pa.array([1]), pa.array([2]), pa.array([3])], ["id", "a", "a"]
    )
    with pytest.raises(SchemaError, match="'a'"):
        store.write(table, [twice], BY_ID)


def test_batches_of_one_write_must_agree(store: Store, table: str) -> None:
    with pytest.raises(SchemaError, match="'size'"):
        store.write(table, [people(3), people(3).select(["id", "name"])], BY_ID)


def test_an_error_of_the_batches_is_the_error_of_the_write(store: Store, table: str) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield people(3)
        raise ZeroDivisionError("the caller's own")

    with pytest.raises(ZeroDivisionError, match="the caller's own"):
        store.write(table, batches(), BY_ID)


@pytest.mark.parametrize("mode", list(WriteMode))
def test_metadata_and_extra_order_do_not_matter(store: Store, table: str, mode: WriteMode) -> None:
    put(store, table, people(3))
    turned = people(3, start=3).select(["size", "id", "name"]).replace_schema_metadata({"a": "b"})
    put(store, table, turned, mode=mode)
    first = 0 if mode is WriteMode.APPEND else 3
    found = get(store, table).select(["id", "name", "size"])
    assert found.equals(as_table(people(6 - first, start=first)))
