"""Laws 1 to 4 and 7 on every store: what a plan covers, and what its batches are."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import pyarrow as pa
import pytest
from contract.rows import SCHEMA, as_table, get, people, put
from servers import Server

from connector import (
    Partition,
    Scan,
    SchemaError,
    Store,
    StoreSource,
    TableNotFoundError,
    open_store,
    read_all,
)

ROWS = 3500  # enough for a store that gives a partition about a thousand rows


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [1, 5, ROWS])
def test_partitions_cover_the_table_exactly_once_at_rest(
    store: Store, table: str, count: int, parts: int
) -> None:
    put(store, table, people(count))
    put(store, f"{table}2", people(3, start=1_000_000))  # a neighbour whose name begins alike
    assert get(store, table, parts=parts).equals(as_table(people(count)))


def test_a_table_may_be_empty(store: Store, table: str) -> None:
    put(store, table, people(0))
    found = read_all(store.source(table))
    assert found.num_rows == 0
    assert found.schema.equals(SCHEMA)


def test_a_write_without_any_batch_does_nothing(store: Store, table: str) -> None:
    put(store, table)
    with pytest.raises(TableNotFoundError):
        store.schema(table)


def test_names_may_hold_what_patterns_are_made_of(store: Store, table: str) -> None:
    odd = f"{table}[a-c]*?\\^ü"
    put(store, odd, people(20))
    put(store, f"{table}a", people(10))
    assert get(store, odd).num_rows == 20


def test_partitions_pickle_and_have_their_index(store: Store, table: str) -> None:
    put(store, table, people(ROWS))
    plan = store.source(table, parts=3).partitions()
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert [part.index for part in plan] == list(range(len(plan)))
    assert all(isinstance(part, Partition) for part in plan)


def test_a_store_pickles_before_and_after_use(store: Store, table: str) -> None:
    put(pickle.loads(pickle.dumps(store)), f"{table}x", people(3))
    put(store, table, people(3))
    with pickle.loads(pickle.dumps(store)) as copy:
        assert get(copy, table).num_rows == 3


def test_a_store_opens_again_after_close(store: Store, table: str) -> None:
    put(store, table, people(3))
    store.close()
    assert get(store, table).num_rows == 3


def _rows(source: StoreSource, partition: Partition) -> list[dict[str, object]]:
    return [row for batch in source.read(partition) for row in batch.to_pylist()]


def _sorted(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(rows, key=lambda row: str(row["id"]).zfill(9))


def test_partitions_are_read_in_other_processes(store: Store, table: str) -> None:
    put(store, table, people(ROWS))
    source = store.source(table, parts=3)
    plan = source.partitions()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        found = list(itertools.chain.from_iterable(pool.map(_rows, [source] * len(plan), plan)))
    assert _sorted(found) == people(ROWS).to_pylist()


def _send_all(source: StoreSource, plan: Sequence[Partition], sink: object) -> None:
    sink.send([row for part in plan for row in _rows(source, part)])  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_store_in_use_is_safe_after_a_fork(store: Store, table: str) -> None:
    put(store, table, people(ROWS))
    source = store.source(table, parts=2, batch_rows=100)
    plan = source.partitions()
    half_read = source.read(plan[0])
    before = next(half_read).to_pylist()
    context = multiprocessing.get_context("fork")
    end, sink = context.Pipe(duplex=False)
    child = context.Process(target=_send_all, args=(source, plan, sink))
    child.start()
    rest = [row for batch in half_read for row in batch.to_pylist()]
    assert end.poll(30)
    assert _sorted(end.recv()) == people(ROWS).to_pylist()
    child.join()
    assert _sorted(before + rest) == _sorted(_rows(source, plan[0]))


@pytest.mark.parametrize("batch_rows", [1, 7, 1000, 16_384])
def test_batches_fit_the_schema_and_the_cap_of_rows(
    store: Store, table: str, batch_rows: int
) -> None:
    put(store, table, people(60 if batch_rows == 1 else ROWS))
    source = store.source(table, parts=2, batch_rows=batch_rows)
    for partition in source.partitions():
        for batch in source.read(partition):
            assert batch.schema.equals(source.schema, check_metadata=True)
            assert 0 < batch.num_rows <= batch_rows
            batch.validate(full=True)


@pytest.mark.parametrize("batch_bytes", [1, 5_000, 100_000])
def test_batches_fit_the_cap_of_bytes(store: Store, table: str, batch_bytes: int) -> None:
    sizes = [7, 30_000, 0, 900, 12_000] * 12
    big = pa.RecordBatch.from_pydict(
        {"id": list(range(len(sizes))), "text": ["x" * size for size in sizes]}
    )
    put(store, table, big)
    source = store.source(table, parts=1, batch_bytes=batch_bytes)
    batches = [batch for part in source.partitions() for batch in source.read(part)]
    assert sum(batch.num_rows for batch in batches) == len(sizes)
    assert all(batch.nbytes <= batch_bytes or batch.num_rows == 1 for batch in batches)


def test_a_read_restarts_from_the_beginning(store: Store, table: str) -> None:
    put(store, table, people(500))
    source = store.source(table, parts=1, batch_rows=100)
    (partition,) = source.partitions()
    first = source.read(partition)
    seen = next(first).num_rows
    again = _rows(source, partition)
    assert _sorted(again) == people(500).to_pylist()
    assert seen + sum(batch.num_rows for batch in first) == 500


def test_half_read_iterators_may_be_closed_without_end(store: Store, table: str) -> None:
    put(store, table, people(500))
    source = store.source(table, parts=1, batch_rows=10)
    (partition,) = source.partitions()
    for _ in range(100):
        batches = source.read(partition)
        next(batches)
        batches.close()  # type: ignore[attr-defined]
    assert len(_rows(source, partition)) == 500


def test_connections_are_given_back(server: Server, table: str) -> None:
    def connected() -> int:
        found: int = server.raw.info("clients")["connected_clients"]
        return found

    before = connected()
    with open_store(server.url) as store:
        put(store, table, people(500))
        source = store.source(table, parts=1, batch_rows=10)
        (partition,) = source.partitions()
        for _ in range(30):
            batches = source.read(partition)
            next(batches)
            batches.close()  # type: ignore[attr-defined]
        assert connected() <= before + 3
    assert connected() == before


def test_two_reads_side_by_side(store: Store, table: str) -> None:
    put(store, table, people(500))
    source = store.source(table, parts=1, batch_rows=50)
    (partition,) = source.partitions()
    both = zip(source.read(partition), source.read(partition), strict=True)
    left, right = (_sorted(row for b in side for row in b.to_pylist()) for side in zip(*both))
    assert left == right == people(500).to_pylist()


@pytest.mark.parametrize(
    "columns", [["size", "id", "name"], ["name"], ["size", "name"], ["id"], ["name", "id"]]
)
def test_only_the_columns_asked_for_in_their_order(
    store: Store, table: str, columns: list[str]
) -> None:
    put(store, table, people(50))
    source = store.source(table, columns=columns)
    found = read_all(source)
    assert found.column_names == columns == source.schema.names
    expected = as_table(people(50)).select(columns)
    order = [(name, "ascending") for name in columns]
    assert found.sort_by(order).combine_chunks().equals(expected.sort_by(order).combine_chunks())


def test_key_columns_alone_of_a_key_of_several(store: Store, table: str) -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1, 1, 2], "v": [7, None, 9], "b": ["x", "y", "x"]})
    put(store, table, batch, key=("b", "a"))
    assert store.source(table).key == ("b", "a")
    found = get(store, table, "a", "b", columns=["a", "b"])
    assert found.to_pylist() == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}]
    assert get(store, table, "b", columns=["b"]).to_pydict() == {"b": ["x", "x", "y"]}


def test_a_source_with_key_reads_the_key_too(store: Store, table: str) -> None:
    put(store, table, people(5))
    source = store.source(table, columns=["name"])
    assert source.key == ()
    assert source.with_key().schema.names == ["name", "id"]
    assert source.with_key().key == ("id",)


def test_a_given_schema_is_read_without_asking_for_the_saved_one(store: Store, table: str) -> None:
    put(store, table, people(50))
    narrow = pa.schema([("id", pa.int64()), ("size", pa.float64())])
    found = get(store, table, schema=narrow, key=["id"])
    assert found.equals(as_table(people(50)).select(["id", "size"]))


def test_there_is_no_such_table(store: Store, table: str) -> None:
    with pytest.raises(TableNotFoundError, match=table):
        store.schema(table)
    with pytest.raises(TableNotFoundError, match=table):
        store.source(table)


@pytest.mark.parametrize("columns", [["id", "nome"], ["id", "id"], []])
def test_columns_that_cannot_be_read(store: Store, table: str, columns: list[str]) -> None:
    put(store, table, people(3))
    with pytest.raises(SchemaError, match=table):
        store.source(table, columns=columns)


def test_caps_must_be_positive(store: Store, table: str) -> None:
    with pytest.raises(SchemaError, match="batch_rows and batch_bytes must be at least 1"):
        Scan(table, SCHEMA, ("id",), batch_rows=0)


def test_equal_definitions_have_equal_fingerprints(
    store_url: str, store: Store, table: str
) -> None:
    put(store, table, people(3))
    source = store.source(table)
    with open_store(store_url) as other:
        assert StoreSource(other, source.scan).fingerprint == source.fingerprint
    assert store.source(table, columns=["id"]).fingerprint != source.fingerprint
    put(store, f"{table}b", people(3))
    assert store.source(f"{table}b").fingerprint != source.fingerprint
