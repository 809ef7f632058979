"""How rows are written, on every store: which rows, which of their columns, and new columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from contract.rows import get, ids, people, put

from connector import (
    OptionError,
    SchemaError,
    SchemaEvolution,
    Store,
    WriteFields,
    WriteMode,
    WriteOptions,
    WriteRows,
)

REPLACE = WriteOptions(key=("id",), fields=WriteFields.REPLACE)
INSERT = WriteOptions(key=("id",), rows=WriteRows.INSERT)
UPDATE = WriteOptions(key=("id",), rows=WriteRows.UPDATE)
ADD = WriteOptions(key=("id",), evolution=SchemaEvolution.ADD)


def batch(**columns: list[object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def test_merged_rows_keep_their_other_columns(store: Store, table: str) -> None:
    put(store, table, batch(id=[1, 2], a=["x", "y"], b=[1, 2]))
    put(store, table, batch(id=[2, 3], b=[5, 6]))
    assert get(store, table).to_pylist() == [
        {"id": 1, "a": "x", "b": 1},
        {"id": 2, "a": "y", "b": 5},
        {"id": 3, "a": None, "b": 6},
    ]


def test_replaced_rows_keep_nothing(store: Store, table: str) -> None:
    put(store, table, batch(id=[1, 2], a=["x", "y"], b=[1, 2]))
    assert store.write(table, [batch(id=[2, 3], b=[5, 6])], REPLACE).rows == 2
    assert get(store, table).to_pylist() == [
        {"id": 1, "a": "x", "b": 1},
        {"id": 2, "a": None, "b": 5},
        {"id": 3, "a": None, "b": 6},
    ]


def test_an_insert_leaves_known_rows_alone(store: Store, table: str) -> None:
    put(store, table, people(100))
    result = store.write(table, [people(100, start=50)], INSERT)
    assert (result.rows, result.skipped) == (50, 50)
    again = store.write(table, [people(100, start=50)], INSERT)
    assert (again.rows, again.skipped) == (0, 100)
    assert ids(store, table) == list(range(150))


def test_an_insert_changes_no_column_of_a_known_row(store: Store, table: str) -> None:
    put(store, table, batch(id=[1], a=["x"], b=[1]))
    store.write(table, [batch(id=[1, 2], a=["new", "new"])], INSERT)
    assert get(store, table, columns=["id", "a"]).to_pydict() == {"id": [1, 2], "a": ["x", "new"]}


def test_an_update_adds_no_row(store: Store, table: str) -> None:
    put(store, table, batch(id=[1, 2], a=["x", None], b=[1, 2]))
    result = store.write(table, [batch(id=[2, 3], a=["new", "new"], b=[None, 1])], UPDATE)
    assert (result.rows, result.skipped) == (1, 1)
    assert get(store, table).to_pylist() == [
        {"id": 1, "a": "x", "b": 1},
        {"id": 2, "a": "new", "b": None},
    ]


def test_updates_may_replace(store: Store, table: str) -> None:
    put(store, table, batch(id=[1, 2], a=["x", "y"], b=[1, 2]))
    options = WriteOptions(key=("id",), fields=WriteFields.REPLACE, rows=WriteRows.UPDATE)
    store.write(table, [batch(id=[2, 3], b=[7, 7])], options)
    assert get(store, table).to_pylist() == [
        {"id": 1, "a": "x", "b": 1},
        {"id": 2, "a": None, "b": 7},
    ]


def test_new_columns_are_an_error_or_are_added(store: Store, table: str) -> None:
    put(store, table, batch(id=[1], a=["x"]))
    news = batch(id=[2], c=[0.5], a=["y"])
    with pytest.raises(SchemaError, match=r"no column 'c'.*schema\.evolution"):
        store.write(table, [news], WriteOptions(key=("id",)))
    assert ids(store, table) == [1]
    store.write(table, [news], ADD)
    assert store.schema(table).names == ["id", "a", "c"]
    assert get(store, table).to_pylist() == [
        {"id": 1, "a": "x", "c": None},
        {"id": 2, "a": "y", "c": 0.5},
    ]
    with pytest.raises(SchemaError, match=r"'c'.* is double"):
        store.write(table, [batch(id=[3], c=["text"])], ADD)


def test_an_overwrite_writes_every_row(store: Store, table: str) -> None:
    with pytest.raises(OptionError, match="insert only"):
        WriteOptions(mode=WriteMode.OVERWRITE, rows=WriteRows.INSERT)
    put(store, table, people(10))
    options = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE, fields=WriteFields.MERGE)
    store.write(table, [people(5).select(["id", "size"])], options)
    assert get(store, table).column_names == ["id", "size"]
