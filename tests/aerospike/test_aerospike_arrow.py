"""Tables kept as record batches in Aerospike: seen whole or not at all, and never wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import aerospike
import pyarrow as pa
import pytest
from aerospike import exception
from aerospikes import Aerospike
from contract.rows import SCHEMA, as_table, get, ids, people, put
from contract.test_choosing import *  # noqa: F403 - the laws, with the store of this module
from contract.test_overwrite import *  # noqa: F403
from contract.test_reading import *  # noqa: F403
from core.arrays import any_type, arrays
from hypothesis import given, settings

from connector import (
    DecodeError,
    OptionError,
    PlanExpiredError,
    SchemaError,
    Store,
    StoreError,
    TableNotFoundError,
    WriteFields,
    WriteMode,
    WriteOptions,
    WriteRejectedError,
    WriteRows,
    open_store,
    read_all,
)
from connector.aerospike.blocks import index as block_index
from connector.aerospike.connecting import Connection
from connector.aerospike.options import AerospikeOptions
from connector.arrow_tables.index import Chunk, Index
from connector.schema import keyed

BY_ID = WriteOptions(key=("id",))
OVERWRITE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
SEND = {"key": aerospike.POLICY_KEY_SEND}


@pytest.fixture
def store_url(aerospike_server: Aerospike) -> str:
    return aerospike_server.url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url, model="arrow", arrow_rows=100) as opened:
        yield opened


def index_key(server: Aerospike, table: str) -> tuple[str, str, str]:
    return server.namespace, "_kvlake", f"chunks:{table}"


def index_of(server: Aerospike, table: str) -> dict[str, dict[str, Any]]:
    """The chunks that the index names, as a plain client sees them."""
    _, _, bins = server.raw.get(index_key(server, table))
    rows = pa.ipc.open_stream(bins["chunks"]).read_all().to_pylist()
    return {row["name"]: row for row in rows}


def names_in(server: Aerospike, table: str) -> set[Any]:
    """The user keys of everything in the set of the table's chunks."""
    return keys_in(server, f"_kvlake.{table}")


def keys_in(server: Aerospike, name: str) -> set[Any]:
    """The user keys of everything in a set."""
    query = server.raw.query(server.namespace, name)
    return {key[2] for key, _, _ in query.results(options={"nobins": True})}


def record(server: Aerospike, table: str, name: Any) -> tuple[str, str, Any]:
    return server.namespace, f"_kvlake.{table}", name


def there(server: Aerospike, key: tuple[str, str, str]) -> bool:
    return server.raw.exists(key)[1] is not None


def test_a_plain_client_reads_the_chunks(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, people(250))
    index = index_of(aerospike_server, table)
    assert sorted(chunk["rows"] for chunk in index.values()) == [50, 100, 100]
    assert names_in(aerospike_server, table) == index.keys()
    found = []
    for name, chunk in index.items():
        _, told, bins = aerospike_server.raw.get(record(aerospike_server, table, name))
        assert told["ttl"] == 2**32 - 1, "a chunk never expires"
        assert len(bins["block"]) == chunk["bytes"]
        found.append(pa.ipc.open_stream(bins["block"]).read_all())
    assert pa.concat_tables(found).sort_by("id").combine_chunks().equals(as_table(people(250)))


def test_the_model_is_saved_with_the_table(store_url: str, store: Store, table: str) -> None:
    put(store, table, people(30))
    with open_store(store_url) as plain:
        assert get(plain, table).equals(as_table(people(30)))
        put(plain, table, people(30, start=20))
        assert get(plain, table).equals(as_table(people(50)))
    with open_store(store_url, model="record") as other, pytest.raises(SchemaError, match="arrow"):
        other.schema(table)


@pytest.mark.parametrize("parts", [1, 3, 8, 100])
def test_partitions_have_as_many_rows(store: Store, table: str, parts: int) -> None:
    put(store, table, people(2400))
    source = store.source(table, parts=parts, batch_rows=64)
    planned = source.partitions()
    assert len(planned) == min(parts, 24)
    rows = [sum(batch.num_rows for batch in source.read(part)) for part in planned]
    assert rows == [part.rows for part in planned]  # type: ignore[attr-defined]
    assert rows == [source.count(part) for part in planned]
    assert max(rows) - min(rows) <= 100
    assert get(store, table, parts=parts, batch_rows=64).equals(as_table(people(2400)))


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_values_are_compressed(
    aerospike_server: Aerospike, store_url: str, table: str, compression: str
) -> None:
    with open_store(store_url, model="arrow", arrow_compression=compression) as store:
        put(store, table, people(5000))
        assert get(store, table).equals(as_table(people(5000)))
    (chunk,) = index_of(aerospike_server, table).values()
    assert (chunk["bytes"] < 0.8 * people(5000).nbytes) == (compression != "none")


def random_rows(rows: int, row_bytes: int) -> pa.RecordBatch:
    blobs = [os.urandom(row_bytes) for _ in range(rows)]
    return pa.record_batch([pa.array(range(rows)), pa.array(blobs)], ["id", "blob"])


@pytest.mark.parametrize(("rows", "row_bytes"), [(6000, 500), (5, 1_000_000)])
def test_chunks_fit_into_records(
    aerospike_server: Aerospike, store_url: str, table: str, rows: int, row_bytes: int
) -> None:
    batch = random_rows(rows, row_bytes)
    with open_store(store_url, model="arrow") as store:
        put(store, table, batch)
        assert get(store, table).equals(as_table(batch))
    chunks = index_of(aerospike_server, table).values()
    assert max(chunk["bytes"] for chunk in chunks) < 1 << 20
    assert sum(chunk["rows"] for chunk in chunks) == rows
    assert len(chunks) in (4, 5), "no more than the bytes ask for, about"


def test_a_row_that_fits_into_no_record_is_refused(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, random_rows(3, 10))
    with pytest.raises(WriteRejectedError, match=r"chunk '.*larger than the namespace allows"):
        put(store, table, random_rows(3, 1_100_000))
    assert get(store, table).num_rows == 3
    assert len(names_in(aerospike_server, table)) == 1


@pytest.mark.parametrize("first", ["none", "zstd"])
def test_what_the_format_adds_is_counted_too(
    aerospike_server: Aerospike, store_url: str, table: str, first: str
) -> None:
    """Columns of a little less than a record takes are more with Arrow's own bytes for 500 of them."""
    columns = {name: range(250) for name in ["id", *(f"c{i}" for i in range(500))]}
    batch = pa.RecordBatch.from_pydict(columns)
    assert 1_000_000 < batch.nbytes < 1_040_000
    with open_store(store_url, model="arrow", arrow_compression=first) as store:
        put(store, table, batch)
    assert len(index_of(aerospike_server, table)) == (2 if first == "none" else 1)
    with open_store(store_url, arrow_compression="none") as store:
        assert store.delete(table, [249]) == 1
        assert get(store, table).equals(as_table(batch.slice(0, 249)))
    chunks = index_of(aerospike_server, table).values()
    assert len(chunks) == 2
    assert max(chunk["bytes"] for chunk in chunks) < 1 << 20


def test_replaced_rows_leave_their_chunks(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, people(300))
    before = index_of(aerospike_server, table)
    news = people(150, start=50).set_column(2, "size", pa.array([-1.0] * 150))
    put(store, table, news)
    after = index_of(aerospike_server, table)
    assert sorted(chunk["rows"] for chunk in after.values()) == [50, 50, 100, 100]
    assert len(before.keys() & after.keys()) == 1, "the chunk that nothing replaced stays"
    assert names_in(aerospike_server, table) == after.keys()
    expected = [*people(50).to_pylist(), *news.to_pylist(), *people(100, start=200).to_pylist()]
    assert get(store, table).to_pylist() == expected


def test_an_aborted_or_lost_task_is_never_seen(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, people(100))
    job = store.begin(table, SCHEMA, BY_ID)
    store.write_part(job, [people(300, start=50)])
    assert ids(store, table) == list(range(100))
    store.abort(job)
    assert ids(store, table) == list(range(100))
    assert len(names_in(aerospike_server, table)) == 1
    put(store, table, people(10, start=100))
    assert ids(store, table) == list(range(110))


def test_an_abort_after_the_commit_deletes_nothing(store: Store, table: str) -> None:
    job = store.begin(table, SCHEMA, BY_ID)
    store.commit(job, [store.write_part(job, [people(300)])])
    store.abort(job)
    assert get(store, table).equals(as_table(people(300)))


def test_a_commit_may_be_repeated(store: Store, table: str) -> None:
    job = store.begin(table, SCHEMA, BY_ID)
    results = [store.write_part(job, [people(300)])]
    store.commit(job, results)
    store.commit(job, results)
    assert get(store, table).equals(as_table(people(300)))


@pytest.mark.parametrize("rows", [0, 10])
def test_an_abort_makes_a_swap_that_has_begun_fail(
    aerospike_server: Aerospike, store: Store, table: str, rows: int
) -> None:
    key = index_key(aerospike_server, table)
    if rows:
        put(store, table, people(rows))
        before = aerospike_server.raw.exists(key)[1]["gen"]
        late: dict[str, Any] = {"gen": aerospike.POLICY_GEN_EQ}
    else:
        before, late = 0, {"exists": aerospike.POLICY_EXISTS_CREATE}
    job = store.begin(table, SCHEMA, BY_ID)
    store.write_part(job, [people(10)])
    store.abort(job)
    refused = (exception.RecordGenerationError, exception.RecordExistsError)
    with pytest.raises(refused):  # as a commit that hangs between its look and its write
        aerospike_server.raw.put(key, {"witness": 1}, meta={"gen": before}, policy=late)
    put(store, table, people(5, start=rows))
    assert ids(store, table) == list(range(rows + 5))


def test_an_index_takes_the_place_of_the_one_that_was_looked_at(
    aerospike_server: Aerospike, table: str
) -> None:
    connection = Connection(AerospikeOptions(url=aerospike_server.url))
    place = (connection, aerospike_server.namespace, table)
    schema = keyed(SCHEMA, ["id"])
    one, two = (Index.of(schema, [Chunk(name, 1, 2, 3)]) for name in ("one", "two"))
    nothing, absent = block_index.load(*place)
    assert nothing is None
    assert block_index.swap(*place, absent, one)
    assert not block_index.swap(*place, absent, two), "there is one by now"
    found, stamp = block_index.load(*place)
    assert found == one
    assert block_index.swap(*place, stamp, two)
    assert not block_index.swap(*place, stamp, one), "it is another one by now"
    found, stamp = block_index.load(*place)
    assert found == two
    block_index.forget(*place)
    assert not block_index.swap(*place, stamp, one), "there is none any more"
    connection.close()


def test_an_index_of_more_chunks_than_fit_is_refused(
    aerospike_server: Aerospike, table: str
) -> None:
    names = (f"{uuid4().hex}{uuid4().hex}" for _ in range(60_000))
    index = Index.of(keyed(SCHEMA, ["id"]), (Chunk(name, 1, 2, 3) for name in names))
    connection = Connection(AerospikeOptions(url=aerospike_server.url))
    with pytest.raises(StoreError, match=r"60000 chunks.*max-record-size"):
        block_index.swap(connection, aerospike_server.namespace, table, 0, index)
    connection.close()


def test_a_failed_task_leaves_nothing(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield people(1000)
        raise ZeroDivisionError

    put(store, table, people(10))
    job = store.begin(table, SCHEMA, BY_ID)
    with pytest.raises(ZeroDivisionError):
        store.write_part(job, batches())
    assert len(names_in(aerospike_server, table)) == 1


def test_a_key_in_two_tasks_is_refused(store: Store, table: str) -> None:
    put(store, table, people(100))
    job = store.begin(table, SCHEMA, BY_ID)
    results = [store.write_part(job, [people(30, start=90)]) for _ in range(2)]
    with pytest.raises(SchemaError, match=r"30 keys.*more than once.*b'90'"):
        store.commit(job, results)
    store.abort(job)
    assert get(store, table).equals(as_table(people(100)))


def _write_until_killed(url: str, table: str, mode: WriteMode) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        i = 0
        while True:
            yield people(100, start=50 + 100 * i)
            i += 1

    with open_store(url, model="arrow", arrow_rows=100) as store:
        store.write(table, batches(), WriteOptions(key=("id",), mode=mode))


@pytest.mark.parametrize("mode", list(WriteMode))
def test_a_writer_that_is_killed(
    aerospike_server: Aerospike, store: Store, table: str, mode: WriteMode
) -> None:
    put(store, table, people(100))
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_write_until_killed, args=(aerospike_server.url, table, mode))
    writer.start()
    deadline = time.monotonic() + 60
    while len(names_in(aerospike_server, table)) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert len(names_in(aerospike_server, table)) >= 20
    assert get(store, table).equals(as_table(people(100)))
    store.write(table, [people(500, start=50)], WriteOptions(key=("id",), mode=mode))
    first = 0 if mode is WriteMode.APPEND else 50
    assert get(store, table).equals(as_table(people(550 - first, start=first)))


def test_an_overwrite_deletes_what_crashed_jobs_left_a_day_ago(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, people(100))
    attempt = f"{uuid4().hex}-{uuid4().hex[:8]}"
    now = int(time.time())
    young = f"{attempt}-{now - 80_000:08x}-000000"
    old = f"{attempt}-{now - 90_000:08x}-000001"
    for name in (young, old, "foreign", 7, bytearray(b"bytes")):
        aerospike_server.raw.put(record(aerospike_server, table, name), {"a": 1}, policy=SEND)
    aerospike_server.raw.put(record(aerospike_server, table, "no key"), {"a": 1})
    assert get(store, table).equals(as_table(people(100)))
    put(store, table, people(50), mode=WriteMode.OVERWRITE)
    (name,) = index_of(aerospike_server, table)
    assert names_in(aerospike_server, table) == {young, name}


def test_an_abort_leaves_what_others_put_into_the_set(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    job = store.begin(table, SCHEMA, BY_ID)
    store.write_part(job, [people(10)])
    aerospike_server.raw.put(record(aerospike_server, table, 7), {"a": 1}, policy=SEND)
    aerospike_server.raw.put(record(aerospike_server, table, "no key"), {"a": 1})
    store.abort(job)
    assert names_in(aerospike_server, table) == {7, None}


@pytest.mark.parametrize("overlap", [0, 5])
def test_concurrent_appends_all_land(
    store_url: str, store: Store, table: str, overlap: int
) -> None:
    put(store, table, people(1))

    def append(writer: int) -> None:
        with open_store(store_url) as own:
            for i in range(5):
                put(own, table, people(20 + overlap, start=1 + 100 * writer + 20 * i))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, range(3)))
    assert get(store, table).equals(as_table(people(301 + overlap)))


def test_concurrent_writers_of_the_same_keys_leave_each_once(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, people(200))

    def append(writer: int) -> None:
        column = pa.array([float(writer)] * 100)
        with open_store(aerospike_server.url) as own:
            for _ in range(3):
                put(own, table, people(100, start=50).set_column(2, "size", column))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, range(3)))
    found = get(store, table)
    assert found.column("id").to_pylist() == list(range(200))
    assert len(set(found.column("size").to_pylist()[50:150])) == 1, "one job's rows, all of them"
    assert names_in(aerospike_server, table) == index_of(aerospike_server, table).keys()


def test_a_plan_of_chunks_that_are_gone_expires(store: Store, table: str) -> None:
    put(store, table, people(300))
    source = store.source(table, parts=1)
    (part,) = source.partitions()
    put(store, table, people(300), mode=WriteMode.OVERWRITE)
    with pytest.raises(PlanExpiredError, match="plan again"):
        list(source.read(part))
    assert get(store, table).equals(as_table(people(300)))


def test_a_chunk_or_index_that_someone_deleted_is_an_error(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, people(300))
    name = next(iter(index_of(aerospike_server, table)))
    aerospike_server.raw.remove(record(aerospike_server, table, name))
    with pytest.raises(StoreError, match=f"{name}.*evicted"):
        read_all(store.source(table))
    aerospike_server.raw.remove(index_key(aerospike_server, table))
    with pytest.raises(TableNotFoundError, match="evicted"):
        read_all(store.source(table))
    put(store, table, people(10), mode=WriteMode.OVERWRITE)
    assert get(store, table).equals(as_table(people(10)))


def test_a_chunk_that_is_lost_before_the_commit_fails_it(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    job = store.begin(table, SCHEMA, OVERWRITE)
    result = store.write_part(job, [people(300)])
    lost = names_in(aerospike_server, table).pop()
    aerospike_server.raw.remove(record(aerospike_server, table, lost))
    with pytest.raises(StoreError, match="1 of 3 chunks"):
        store.commit(job, [result])
    assert not there(aerospike_server, index_key(aerospike_server, table))
    with pytest.raises(TableNotFoundError):
        store.schema(table)


@pytest.mark.parametrize("damage", ["a bit", "the end", "all", "another type"])
def test_a_damaged_chunk_is_named(
    aerospike_server: Aerospike, store: Store, table: str, damage: str
) -> None:
    put(store, table, people(300))
    name = max(index_of(aerospike_server, table))
    key = record(aerospike_server, table, name)
    value = bytearray(aerospike_server.raw.get(key)[2]["block"])
    value[len(value) // 2] ^= 1
    changed = {"a bit": bytes(value), "the end": bytes(value[:-8]), "all": b"", "another type": 1}
    aerospike_server.raw.put(key, {"block": changed[damage]})
    with pytest.raises(DecodeError, match=name):
        read_all(store.source(table))


def test_a_damaged_index_is_named(aerospike_server: Aerospike, store: Store, table: str) -> None:
    put(store, table, people(30))
    aerospike_server.raw.put(index_key(aerospike_server, table), {"chunks": b"x"})
    with pytest.raises(StoreError, match=f"chunks:{table}.*overwrite"):
        read_all(store.source(table))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (WriteOptions(key=("id",), ttl_seconds=5), "'ttl'"),
        (WriteOptions(key=("id",), ttl_column="size"), "'ttl'"),
        (WriteOptions(key=("id",), rows=WriteRows.INSERT), r"write\.mode = insert"),
        (WriteOptions(key=("id",), rows=WriteRows.UPDATE), r"write\.mode = update"),
        (WriteOptions(key=("id",), reject_path="memory://r"), r"reject\.path"),
    ],
)
def test_what_is_about_single_rows_is_refused(
    store: Store, table: str, options: WriteOptions, named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        store.write(table, [people(3)], options)
    with pytest.raises(TableNotFoundError):
        store.schema(table)


@pytest.mark.parametrize("name", ["__ttl", "__generation", "__digest"])
def test_metadata_columns_are_refused(store: Store, table: str, name: str) -> None:
    more = people(3).append_column(name, pa.array([1, 2, 3]))
    with pytest.raises(OptionError, match=name):
        store.write(table, [more], BY_ID)
    put(store, table, people(3))
    with pytest.raises(SchemaError, match=name):
        read_all(store.source(table, columns=["id", name]))


def test_names_of_tables_leave_room_for_the_set_of_their_chunks(store: Store, table: str) -> None:
    longest = table.ljust(55, "x")
    put(store, longest, people(3))
    assert ids(store, longest) == [0, 1, 2]
    with pytest.raises(SchemaError, match="shorten it by 1$"):
        put(store, f"{longest}x", people(3))


def test_rows_are_written_whole(store: Store, table: str) -> None:
    put(store, table, people(3))
    part = people(2, start=2).select(["id", "size"])
    with pytest.raises(SchemaError, match="lack the columns name"):
        store.write(table, [part], BY_ID)
    store.write(table, [part], WriteOptions(key=("id",), fields=WriteFields.REPLACE))
    assert get(store, table).column("name").to_pylist()[1:] == ["näme\r\n1", None, None]


def test_names_of_columns_may_be_long(store: Store, table: str) -> None:
    long = people(3).rename_columns(["id", "n" * 40, "_kvlake"])
    put(store, table, long)
    assert get(store, table).equals(as_table(long))


def test_a_table_may_change_its_model(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    with open_store(aerospike_server.url, model="record") as rows:
        put(rows, table, people(300))
        put(store, table, people(150, start=100), mode=WriteMode.OVERWRITE)
        assert get(store, table).equals(as_table(people(150, start=100)))
        assert names_in(aerospike_server, table) == index_of(aerospike_server, table).keys()
        assert not keys_in(aerospike_server, table)
        put(rows, table, people(30), mode=WriteMode.OVERWRITE)
        assert get(rows, table).equals(as_table(people(30)))
    assert keys_in(aerospike_server, table) == set(range(30))
    assert not names_in(aerospike_server, table)
    assert not there(aerospike_server, index_key(aerospike_server, table))


@pytest.mark.parametrize(("first", "second"), [("record", "arrow"), ("arrow", "record")])
def test_a_job_that_changes_the_model_is_not_seen_before_its_commit(
    store_url: str, table: str, first: str, second: str
) -> None:
    with open_store(store_url, model=first) as before, open_store(store_url, model=second) as after:
        put(before, table, people(300))
        job = after.begin(table, SCHEMA, OVERWRITE)
        result = after.write_part(job, [people(150, start=1000)])
        assert get(before, table).equals(as_table(people(300)))
        after.commit(job, [result])
        assert get(after, table).equals(as_table(people(150, start=1000)))


def test_rows_are_looked_up_filtered_sampled_and_deleted(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    put(store, table, people(1000))
    found = store.lookup(table, [700, -1, 3], ["size"])
    assert found.to_pydict() == {"id": [700, -1, 3], "size": [175.0, None, 0.75]}
    assert ids_of(store, table, filter="size > 240") == [i for i in range(961, 1000) if i % 5 != 2]
    assert 300 < len(ids_of(store, table, sample=0.4)) < 500
    assert len(ids_of(store, table, limit=150)) == 150
    assert store.delete(table, [5, 150, 151, 5000]) == 3
    assert ids(store, table) == [i for i in range(1000) if i not in (5, 150, 151)]
    assert store.drop(table) == 997
    assert not names_in(aerospike_server, table)
    assert not there(aerospike_server, index_key(aerospike_server, table))
    with pytest.raises(TableNotFoundError):
        store.schema(table)


def ids_of(store: Store, table: str, **asked: object) -> list[int]:
    found = read_all(store.source(table, columns=["id"], **asked))  # type: ignore[arg-type]
    return sorted(found.column("id").to_pylist())


def test_how_large_a_table_is(store: Store, table: str) -> None:
    put(store, table, people(1000))
    told = store.statistics(store.source(table).scan)
    assert told is not None
    assert (told.rows, told.exact, told.column_bytes["id"]) == (1000, True, 8)
    assert 8 < told.column_bytes["name"] < 16


def test_a_table_of_nothing(store: Store, table: str) -> None:
    put(store, table, people(0))
    assert read_all(store.source(table)).num_rows == 0
    put(store, table, people(3))
    assert get(store, table).equals(as_table(people(3)))


@given(values=arrays(any_type))
@settings(max_examples=40)
def test_any_type_comes_back(store: Store, table: str, values: pa.Array) -> None:
    numbers = pa.array(range(len(values)), pa.int64())
    batch = pa.record_batch([numbers, values], ["id", "v"])
    put(store, table, batch, mode=WriteMode.OVERWRITE)
    with open_store(store.location) as fresh:
        source = fresh.source(table)
        assert source.schema.equals(batch.schema)
        assert read_all(source).equals(pa.Table.from_batches([batch]))


def test_memory_is_bounded_by_a_few_chunks(store_url: str, table: str) -> None:
    peaks = []
    for rows in (40_000, 320_000):
        name = f"{table}{rows}"
        with open_store(store_url, model="arrow", arrow_rows=4000) as store:
            store.write(name, (people(4000, i) for i in range(0, rows, 4000)), BY_ID)
            source = store.source(name, parts=1, batch_rows=500)
            (part,) = source.partitions()
            before, most, seen = pa.total_allocated_bytes(), 0, 0
            for batch in source.read(part):
                most = max(most, pa.total_allocated_bytes() - before)
                seen += batch.num_rows
            assert seen == rows
            peaks.append(most)
    assert peaks[1] < 1.5 * peaks[0] + 200_000, peaks
