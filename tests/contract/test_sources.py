"""The reading laws on every kind of source."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from contract.rows import SCHEMA, as_table, in_order, people, put
from deltalake import write_deltalake
from pyarrow import feather
from servers import Server

from connector import (
    MappedSource,
    MemoryStore,
    Scan,
    SchemaError,
    Source,
    Store,
    StoreSource,
    TableSource,
    open_store,
    read_all,
)
from connector.lake import LakeSource

Make = Callable[[int, int], Source]


def same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def even(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.equal(pc.bit_wise_and(batch.column("id"), 1), 0))


def nothing(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(0, 0)


def narrow(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.select(["id"])


def _stored(store: Store, table: str) -> Make:
    def make(count: int, parts: int) -> Source:
        put(store, table, people(count))
        return store.source(table, parts=parts, batch_rows=50)

    return make


def _tabled(count: int, parts: int) -> Source:
    table = pa.Table.from_batches([people(count // 2), people(count - count // 2, count // 2)])
    return TableSource(table.replace_schema_metadata({"a": "b"}), parts, ("id",), batch_rows=50)


def _lake(directory: Path, format: str) -> Make:
    def make(count: int, parts: int) -> Source:
        place = directory / f"{count}.{parts}"
        rows = pa.Table.from_batches([people(count)])
        if format == "delta":
            write_deltalake(place, rows, mode="overwrite")
        else:
            place.mkdir(exist_ok=True)
            half = count // 2
            for i, part in enumerate((rows.slice(0, half), rows.slice(half))):
                if format == "parquet":
                    pq.write_table(part, place / f"{i}.parquet", row_group_size=40)
                else:
                    feather.write_feather(part, str(place / f"{i}.arrow"), chunksize=40)
        return LakeSource(str(place), parts=parts, row_key=("id",), batch_rows=50)

    return make


def _mapped(inner: Make) -> Make:
    return lambda count, parts: MappedSource(inner(count, parts), same, SCHEMA, "1")


@pytest.fixture(
    params=[
        "memory",
        "valkey",
        "redis",
        "table",
        "mapped table",
        "mapped store",
        "parquet",
        "arrow",
        "delta",
    ]
)
def make(request: pytest.FixtureRequest, table: str, tmp_path: Path) -> Iterator[Make]:
    """Makes a source of this kind, of so many rows, in about so many parts."""
    kind = request.param
    if kind in ("parquet", "arrow", "delta"):
        yield _lake(tmp_path, kind)
        return
    if kind in ("valkey", "redis"):
        with open_store(request.getfixturevalue(f"{kind}_server").url) as store:
            yield _stored(store, table)
        return
    made = _tabled if kind.endswith("table") else _stored(MemoryStore(), table)
    yield _mapped(made) if kind.startswith("mapped") else made


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 333])
def test_every_row_once(make: Make, count: int, parts: int) -> None:
    source = make(count, parts)
    assert isinstance(source, Source)
    assert in_order(source).equals(as_table(people(count)))


def test_it_pickles_with_its_partitions(make: Make) -> None:
    source = make(333, 3)
    copy, plan = pickle.loads(pickle.dumps((source, source.partitions())))
    assert copy.fingerprint == source.fingerprint
    assert copy.schema.equals(source.schema, check_metadata=True)
    assert copy.key == source.key == ("id",)
    batches = [batch for part in plan for batch in copy.read(part)]
    assert sum(batch.num_rows for batch in batches) == 333


def test_batches_fit(make: Make) -> None:
    source = make(333, 2)
    assert source.schema.equals(SCHEMA, check_metadata=True)
    for partition in source.partitions():
        for batch in source.read(partition):
            assert batch.schema.equals(source.schema, check_metadata=True)
            assert 0 < batch.num_rows <= 50


def test_a_read_restarts(make: Make) -> None:
    source = make(333, 1)
    (partition,) = source.partitions()
    half = source.read(partition)
    next(half)
    assert sum(batch.num_rows for batch in source.read(partition)) == 333
    half.close()  # type: ignore[attr-defined]


def test_the_fingerprint_is_of_the_definition(make: Make) -> None:
    source = make(50, 2)
    assert source.fingerprint == source.fingerprint
    assert MappedSource(source, same, SCHEMA, "1").fingerprint != source.fingerprint
    one, two = (MappedSource(source, same, SCHEMA, version) for version in ("1", "2"))
    assert one.fingerprint != two.fingerprint


def test_tables_of_other_rows_have_other_fingerprints() -> None:
    one, two = as_table(people(5)), as_table(people(5, start=1))
    assert (
        TableSource(one).fingerprint == TableSource(pa.table(one.to_pydict(), SCHEMA)).fingerprint
    )
    assert TableSource(one).fingerprint != TableSource(two).fingerprint
    cut = pa.Table.from_batches(one.to_batches(max_chunksize=2))
    assert TableSource(cut).fingerprint == TableSource(one).fingerprint
    assert TableSource(as_table(people(9)).slice(0, 5)).fingerprint == TableSource(one).fingerprint


def test_batches_that_a_transform_empties_are_left_out(make: Make) -> None:
    assert read_all(MappedSource(make(333, 3), even, SCHEMA, "even")).num_rows == 167
    assert read_all(MappedSource(make(333, 3), nothing, SCHEMA, "none")).num_rows == 0


def test_a_transform_must_keep_its_word(make: Make) -> None:
    mapped = MappedSource(make(5, 1), narrow, SCHEMA, "narrow-3")
    with pytest.raises(SchemaError, match="'narrow-3' returned .*'id'"):
        read_all(mapped)
    assert MappedSource(make(5, 1), narrow, pa.schema([SCHEMA.field("id")]), "1").key == ("id",)
    assert MappedSource(make(5, 1), narrow, pa.schema([SCHEMA.field("name")]), "1").key == ()


def test_nothing_is_opened_until_a_read_advances(server: Server, table: str) -> None:
    with open_store(server.url) as store:
        put(store, table, people(5))
        source = store.source(table, parts=1)
        (partition,) = source.partitions()
        packed = pickle.dumps(source)
    seen = server.raw.info("stats")["total_connections_received"]
    copy = pickle.loads(packed)
    batches = MappedSource(copy, same, SCHEMA, "1").read(partition)
    assert copy.schema.names == SCHEMA.names
    assert copy.fingerprint == source.fingerprint
    assert copy.with_key().key == copy.key == ("id",)
    assert server.raw.info("stats")["total_connections_received"] == seen
    assert sum(batch.num_rows for batch in batches) == 5
    copy.store.close()


def test_a_source_needs_no_store_to_be_described() -> None:
    store = open_store("redis://127.0.0.1:1/0")
    source = StoreSource(store, Scan("t", SCHEMA, ("id",)))
    assert pickle.loads(pickle.dumps(source)).fingerprint == source.fingerprint
