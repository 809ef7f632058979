"""How large a table is, and how many rows a partition has, on every store, held to what is read."""

from __future__ import annotations

import pickle

import pytest
from contract.rows import SCHEMA, get, people, put

from connector import Store, StoreSource

ROWS = 3000


def read(source: StoreSource) -> list[int]:
    """The rows of each partition, by reading them."""
    return [sum(b.num_rows for b in source.read(part)) for part in source.partitions()]


def counted(source: StoreSource) -> list[int]:
    return [source.count(part) for part in source.partitions()]


@pytest.mark.parametrize("parts", [1, 3, 50])
def test_a_partition_is_counted_as_it_is_read(store: Store, table: str, parts: int) -> None:
    put(store, table, people(ROWS))
    put(store, f"{table}x", people(500))
    source = store.source(table, parts=parts)
    assert counted(source) == read(source)
    assert sum(counted(source)) == ROWS
    assert sum(counted(store.source(table, columns=["size"], parts=parts))) == ROWS


@pytest.mark.parametrize(
    "asked",
    [
        {"filter": "size < 100"},
        {"filter": "name IS NULL", "columns": ["size"]},
        {"filter": "id = 7 OR id = -1"},
        {"filter": "id IN (7, 8, -1)"},
        {"filter": "size > 1e9"},
        {"limit": 1234},
        {"limit": 0},
        {"limit": 10, "filter": "size < 100"},
        {"limit": 10 * ROWS},
        {"sample": 0.1},
        {"keys": [1, 2, 3, -1]},
    ],
    ids=str,
)
def test_only_wanted_rows_are_counted(store: Store, table: str, asked: dict[str, object]) -> None:
    put(store, table, people(ROWS))
    source = store.source(table, parts=3, batch_rows=500, **asked)  # type: ignore[arg-type]
    assert counted(source) == read(source)


def test_few_rows_are_told_exactly(store: Store, table: str) -> None:
    put(store, table, people(ROWS))
    found = store.source(table).statistics()
    assert found is not None
    assert found.exact
    assert found.rows == ROWS
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("rows", [2_000, 6_000, 15_000])
def test_rows_among_those_of_others_are_not_far_off(store: Store, table: str, rows: int) -> None:
    put(store, f"{table}x", people(9_000))
    put(store, table, people(rows))
    found = store.source(table, filter="id < 10", limit=5, sample=0.1).statistics()
    assert found is not None
    assert 0.7 * rows <= found.rows <= 2 * rows
    assert not found.exact or found.rows == rows


def test_the_size_of_columns_is_that_of_arrow_memory(store: Store, table: str) -> None:
    put(store, table, people(ROWS))
    found = store.source(table, columns=["name", "id", "size"]).statistics()
    assert found is not None
    assert [*found.column_bytes] == ["name", "id", "size"]
    assert found.column_bytes["id"] == found.column_bytes["size"] == 8
    names = get(store, table).column("name")
    assert found.column_bytes["name"] == pytest.approx(names.nbytes / ROWS, rel=0.2)


def test_a_filter_does_not_add_its_columns(store: Store, table: str) -> None:
    put(store, table, people(50))
    found = store.source(table, columns=["size"], filter="name IS NULL").statistics()
    assert found is not None
    assert (found.rows, dict(found.column_bytes)) == (50, {"size": 8.0})


def test_a_table_without_rows_has_none(store: Store, table: str) -> None:
    put(store, table, people(20))
    store.delete(table, list(range(20)))
    source = store.source(table, schema=store.schema(table), parts=4)
    assert sum(counted(source)) == 0
    found = source.statistics()
    assert found is not None
    assert (found.rows, found.exact) == (0, True)
    assert [*found.column_bytes] == SCHEMA.names
