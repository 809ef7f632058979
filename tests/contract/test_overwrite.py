"""Law 6 on every store: an overwrite loses no key before it commits, and leaves its rows alone."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from contract.rows import SCHEMA, as_table, get, ids, people, put

from connector import Store, WriteMode, WriteOptions, read_all

OVERWRITE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)


def test_exactly_the_new_rows_are_left(store: Store, table: str) -> None:
    put(store, table, people(2000))
    put(store, table, people(1500, start=1000), mode=WriteMode.OVERWRITE)
    assert get(store, table).equals(as_table(people(1500, start=1000)))


def test_no_old_key_disappears_before_the_commit(store: Store, table: str) -> None:
    put(store, table, people(100))
    job = store.begin(table, SCHEMA, OVERWRITE)
    assert set(ids(store, table)) >= set(range(100))
    first = store.write_part(job, [people(30, start=80)])
    assert set(ids(store, table)) >= set(range(100))
    second = store.write_part(job, [people(30, start=110)])
    assert set(ids(store, table)) >= set(range(100))
    store.commit(job, [first, second])
    assert get(store, table).equals(as_table(people(60, start=80)))


def test_an_abort_deletes_nothing(store: Store, table: str) -> None:
    put(store, table, people(100))
    job = store.begin(table, SCHEMA, OVERWRITE)
    store.write_part(job, [people(30, start=80)])
    store.abort(job)
    assert set(ids(store, table)) >= set(range(100))


def test_a_failed_write_deletes_nothing(store: Store, table: str) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield people(10)
        raise ZeroDivisionError

    put(store, table, people(100))
    with pytest.raises(ZeroDivisionError):
        store.write(table, batches(), OVERWRITE)
    assert set(ids(store, table)) >= set(range(100))


@pytest.mark.parametrize("crash", ["before any part", "after a part", "after all parts"])
def test_a_second_run_after_a_crash_leaves_exactly_the_new_rows(
    store: Store, table: str, crash: str
) -> None:
    put(store, table, people(100))
    lost = store.begin(table, SCHEMA, OVERWRITE)
    if crash != "before any part":
        store.write_part(lost, [people(20, start=90)])
    if crash == "after all parts":
        store.write_part(lost, [people(500, start=200)])
    store.close()
    put(store, table, people(50, start=75), mode=WriteMode.OVERWRITE)
    assert get(store, table).equals(as_table(people(50, start=75)))


def test_a_repeated_part_counts_once(store: Store, table: str) -> None:
    put(store, table, people(10))
    job = store.begin(table, SCHEMA, OVERWRITE)
    store.write_part(job, [people(20, start=5)])  # an attempt whose result was lost
    store.commit(job, [store.write_part(job, [people(20, start=5)])])
    assert get(store, table).equals(as_table(people(20, start=5)))


def test_columns_and_types_may_change(store: Store, table: str) -> None:
    put(store, table, people(20))
    news = pa.RecordBatch.from_pydict(
        {"id": [3, 4, 50], "size": ["s", None, "l"], "hue": [1, 2, None]}
    )
    put(store, table, news, mode=WriteMode.OVERWRITE)
    assert get(store, table).equals(as_table(news))


def test_the_key_may_change(store: Store, table: str) -> None:
    put(store, table, people(20))
    news = pa.RecordBatch.from_pydict({"name": ["b", "a"], "id": [1, 1]})
    put(store, table, news, key=("name",), mode=WriteMode.OVERWRITE)
    assert get(store, table, "name").to_pylist() == [{"name": "a", "id": 1}, {"name": "b", "id": 1}]


def test_rows_do_not_keep_fields_of_the_old_ones(store: Store, table: str) -> None:
    put(store, table, people(2))
    put(store, table, people(2).select(["id", "size"]), mode=WriteMode.OVERWRITE)
    put(store, table, people(1, start=1), mode=WriteMode.OVERWRITE)
    nulls = pa.RecordBatch.from_pydict({"id": [1], "name": [None], "size": [None]}, schema=SCHEMA)
    put(store, table, nulls, mode=WriteMode.OVERWRITE)
    assert get(store, table).equals(as_table(nulls))


def test_an_overwrite_by_nothing_empties_the_table(store: Store, table: str) -> None:
    put(store, table, people(2000))
    store.commit(store.begin(table, SCHEMA, OVERWRITE), [])
    assert read_all(store.source(table)).num_rows == 0


def test_a_new_table_may_be_overwritten(store: Store, table: str) -> None:
    put(store, table, people(20), mode=WriteMode.OVERWRITE)
    assert get(store, table).equals(as_table(people(20)))


def test_neighbours_keep_their_rows(store: Store, table: str) -> None:
    put(store, f"{table}2", people(5))
    put(store, table, people(20))
    put(store, table, people(2), mode=WriteMode.OVERWRITE)
    assert get(store, f"{table}2").equals(as_table(people(5)))


def test_the_key_of_the_table_is_the_default(store: Store, table: str) -> None:
    put(store, table, people(20))
    store.write(table, [people(3, start=50)], WriteOptions(mode=WriteMode.OVERWRITE))
    assert get(store, table).equals(as_table(people(3, start=50)))
