"""Tables kept as record batches: seen whole or not at all, and never wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pyarrow as pa
import pytest
from contract.rows import SCHEMA, as_table, get, ids, people, put
from contract.test_choosing import *  # noqa: F403 - the laws, with the store of this module
from contract.test_overwrite import *  # noqa: F403
from contract.test_reading import *  # noqa: F403
from core.arrays import any_type, arrays
from hypothesis import given, settings
from servers import Server
from topology import Cluster
from topology.nodes import Node

from connector import (
    DecodeError,
    OptionError,
    PlanExpiredError,
    SchemaError,
    Store,
    StoreError,
    StoreUnavailableError,
    TableNotFoundError,
    WriteFields,
    WriteMode,
    WriteOptions,
    WriteRows,
    open_store,
    read_all,
)
from connector.embedded import serve

BY_ID = WriteOptions(key=("id",))
OVERWRITE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)


def index_of(server: Server, table: str) -> dict[str, dict[str, int]]:
    """The chunks that the index names, as a plain client sees them."""
    fields = server.raw.hgetall(f"_kvlake:chunks:{table}")
    return {name.decode(): json.loads(text) for name, text in fields.items() if name != b"schema"}


def chunk_keys(server: Server, table: str) -> set[str]:
    return {key.decode() for key in server.raw.keys(f"{table}:*")}


@pytest.fixture
def store_url(server: Server) -> str:
    return server.url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url, model="arrow", arrow_rows=100) as opened:
        yield opened


def test_a_plain_client_reads_the_chunks(server: Server, store: Store, table: str) -> None:
    put(store, table, people(250))
    index = index_of(server, table)
    assert sorted(chunk["rows"] for chunk in index.values()) == [50, 100, 100]
    assert chunk_keys(server, table) == {f"{table}:{name}" for name in index}
    found = []
    for name, chunk in index.items():
        value = server.raw.get(f"{table}:{name}")
        assert len(value) == chunk["bytes"]
        found.append(pa.ipc.open_stream(value).read_all())
    assert pa.concat_tables(found).sort_by("id").combine_chunks().equals(as_table(people(250)))


def test_the_model_is_saved_with_the_table(server: Server, store: Store, table: str) -> None:
    put(store, table, people(30))
    with open_store(server.url) as plain:
        assert get(plain, table).equals(as_table(people(30)))
        put(plain, table, people(30, start=20))
        assert get(plain, table).equals(as_table(people(50)))
    with open_store(server.url, model="hash") as other, pytest.raises(SchemaError, match="arrow"):
        other.schema(table)


@pytest.mark.parametrize("parts", [1, 3, 8, 100])
def test_partitions_have_as_many_rows(store: Store, table: str, parts: int) -> None:
    put(store, table, people(2400))
    source = store.source(table, parts=parts, batch_rows=64)
    planned = source.partitions()
    assert len(planned) == min(parts, 24)
    rows = [sum(batch.num_rows for batch in source.read(part)) for part in planned]
    assert rows == [part.rows for part in planned]  # type: ignore[attr-defined]
    assert max(rows) - min(rows) <= 100
    assert get(store, table, parts=parts, batch_rows=64).equals(as_table(people(2400)))


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_values_are_compressed(server: Server, table: str, compression: str) -> None:
    with open_store(server.url, model="arrow", arrow_compression=compression) as store:
        put(store, table, people(5000))
        assert get(store, table).equals(as_table(people(5000)))
    (chunk,) = index_of(server, table).values()
    assert (chunk["bytes"] < 0.8 * people(5000).nbytes) == (compression != "none")


def test_rows_are_cut_by_bytes_too(server: Server, table: str) -> None:
    with open_store(server.url, model="arrow", max_pipeline_bytes=4096) as store:
        put(store, table, people(2000))
        assert get(store, table).equals(as_table(people(2000)))
    assert len(index_of(server, table)) > 5


def test_replaced_rows_leave_their_chunks(server: Server, store: Store, table: str) -> None:
    put(store, table, people(300))
    before = index_of(server, table)
    news = people(150, start=50).set_column(2, "size", pa.array([-1.0] * 150))
    put(store, table, news)
    after = index_of(server, table)
    assert sorted(chunk["rows"] for chunk in after.values()) == [50, 50, 100, 100]
    assert len(before.keys() & after.keys()) == 1, "the chunk that nothing replaced stays"
    assert chunk_keys(server, table) == {f"{table}:{name}" for name in after}
    expected = [*people(50).to_pylist(), *news.to_pylist(), *people(100, start=200).to_pylist()]
    assert get(store, table).to_pylist() == expected


def test_an_aborted_or_lost_task_is_never_seen(server: Server, store: Store, table: str) -> None:
    put(store, table, people(100))
    job = store.begin(table, SCHEMA, BY_ID)
    store.write_part(job, [people(300, start=50)])
    assert ids(store, table) == list(range(100))
    store.abort(job)
    assert ids(store, table) == list(range(100))
    assert len(chunk_keys(server, table)) == 1
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


def test_an_abort_makes_a_switch_that_has_begun_fail(
    server: Server, store: Store, table: str
) -> None:
    put(store, table, people(10))
    job = store.begin(table, SCHEMA, BY_ID)
    store.write_part(job, [people(10)])
    with server.raw.pipeline() as late:  # as a commit that hangs between its look and its EXEC
        late.watch(f"_kvlake:chunks:{table}")
        store.abort(job)
        late.multi()
        late.set(f"{table}:witness", 1)
        with pytest.raises(Exception, match="Watched variable changed"):
            late.execute()
    assert ids(store, table) == list(range(10))


def test_a_failed_task_leaves_nothing(server: Server, store: Store, table: str) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield people(1000)
        raise ZeroDivisionError

    put(store, table, people(10))
    job = store.begin(table, SCHEMA, BY_ID)
    with pytest.raises(ZeroDivisionError):
        store.write_part(job, batches())
    assert len(chunk_keys(server, table)) == 1


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
def test_a_writer_that_is_killed(server: Server, store: Store, table: str, mode: WriteMode) -> None:
    put(store, table, people(100))
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_write_until_killed, args=(server.url, table, mode))
    writer.start()
    deadline = time.monotonic() + 60
    while len(chunk_keys(server, table)) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert len(chunk_keys(server, table)) >= 20
    assert get(store, table).equals(as_table(people(100)))
    store.write(table, [people(500, start=50)], WriteOptions(key=("id",), mode=mode))
    first = 0 if mode is WriteMode.APPEND else 50
    assert get(store, table).equals(as_table(people(550 - first, start=first)))


def test_an_overwrite_deletes_what_crashed_jobs_left_a_day_ago(
    server: Server, store: Store, table: str
) -> None:
    put(store, table, people(100))
    attempt = f"{uuid4().hex}-{uuid4().hex[:8]}"
    now = int(time.time())
    young = f"{table}:{attempt}-{now - 80_000:08x}-000000"
    old = f"{table}:{attempt}-{now - 90_000:08x}-000001"
    for key in (young, old, f"{table}:foreign"):
        server.raw.set(key, b"x")
    assert get(store, table).equals(as_table(people(100)))
    put(store, table, people(50), mode=WriteMode.OVERWRITE)
    (name,) = index_of(server, table)
    assert chunk_keys(server, table) == {young, f"{table}:{name}"}


def test_concurrent_appends_both_land(server: Server, store: Store, table: str) -> None:
    put(store, table, people(1))

    def append(writer: int) -> None:
        with open_store(server.url) as own:
            for i in range(5):
                put(own, table, people(20, start=1 + 100 * writer + 20 * i))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, range(3)))
    assert get(store, table).equals(as_table(people(301)))


def test_concurrent_writers_of_the_same_keys_leave_each_once(
    server: Server, store: Store, table: str
) -> None:
    put(store, table, people(200))

    def append(writer: int) -> None:
        column = pa.array([float(writer)] * 100)
        with open_store(server.url) as own:
            for _ in range(3):
                put(own, table, people(100, start=50).set_column(2, "size", column))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, range(3)))
    found = get(store, table)
    assert found.column("id").to_pylist() == list(range(200))
    assert len(set(found.column("size").to_pylist()[50:150])) == 1, "one job's rows, all of them"


def test_concurrent_writers_of_overlapping_keys_leave_each_once(
    server: Server, store: Store, table: str
) -> None:
    put(store, table, people(400))

    def append(writer: int) -> None:
        with open_store(server.url, arrow_rows=100) as own:
            for i in range(6):
                put(own, table, people(70, start=(90 * i + 25 * writer) % 330))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    assert get(store, table).equals(as_table(people(400)))
    index = index_of(server, table)
    assert chunk_keys(server, table) == {f"{table}:{name}" for name in index}


def test_a_plan_of_chunks_that_are_gone_expires(store: Store, table: str) -> None:
    put(store, table, people(300))
    source = store.source(table, parts=1)
    (part,) = source.partitions()
    put(store, table, people(300), mode=WriteMode.OVERWRITE)
    with pytest.raises(PlanExpiredError, match="plan again"):
        list(source.read(part))
    assert get(store, table).equals(as_table(people(300)))


def test_a_chunk_or_index_that_someone_deleted_is_an_error(
    server: Server, store: Store, table: str
) -> None:
    put(store, table, people(300))
    name = next(iter(index_of(server, table)))
    server.raw.delete(f"{table}:{name}")
    with pytest.raises(StoreError, match=f"{name}.*evicted"):
        read_all(store.source(table))
    server.raw.delete(f"_kvlake:chunks:{table}")
    with pytest.raises(TableNotFoundError, match="evicted"):
        read_all(store.source(table))
    put(store, table, people(10), mode=WriteMode.OVERWRITE)
    assert get(store, table).equals(as_table(people(10)))


def test_a_chunk_that_is_lost_before_the_commit_fails_it(
    server: Server, store: Store, table: str
) -> None:
    job = store.begin(table, SCHEMA, OVERWRITE)
    result = store.write_part(job, [people(300)])
    server.raw.delete(chunk_keys(server, table).pop())
    with pytest.raises(StoreError, match="1 of 3 chunks"):
        store.commit(job, [result])
    assert not server.raw.exists(f"_kvlake:chunks:{table}", f"_kvlake:schema:{table}")


@pytest.mark.parametrize("damage", ["a bit", "the end", "all", "another type"])
def test_a_damaged_chunk_is_named(server: Server, store: Store, table: str, damage: str) -> None:
    put(store, table, people(300))
    name = max(index_of(server, table))
    key = f"{table}:{name}"
    value = bytearray(server.raw.get(key))
    value[len(value) // 2] ^= 1
    changed = {"a bit": bytes(value), "the end": bytes(value[:-8]), "all": b""}
    server.raw.delete(key)
    if damage == "another type":
        server.raw.hset(key, "a", "b")
    else:
        server.raw.set(key, changed[damage])
    with pytest.raises(StoreError if damage == "another type" else DecodeError, match=name):
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


def test_metadata_columns_and_patterns_are_refused(
    server: Server, store: Store, table: str
) -> None:
    ttl = people(3).append_column("__ttl", pa.array([1, 2, 3]))
    with pytest.raises(OptionError, match="__ttl"):
        store.write(table, [ttl], BY_ID)
    put(store, table, people(3))
    with pytest.raises(SchemaError, match="__ttl"):
        read_all(store.source(table, columns=["id", "__ttl"]))
    with pytest.raises(OptionError, match="delete by key"):
        store.delete_matching(table, "1*")  # type: ignore[attr-defined]
    with (
        open_store(server.url, model="arrow", keys_pattern="x:*") as other,
        pytest.raises(OptionError, match=r"keys\.pattern"),
    ):
        other.schema(table)


def test_rows_are_written_whole(store: Store, table: str) -> None:
    put(store, table, people(3))
    part = people(2, start=2).select(["id", "size"])
    with pytest.raises(SchemaError, match="lack the columns name"):
        store.write(table, [part], BY_ID)
    store.write(table, [part], WriteOptions(key=("id",), fields=WriteFields.REPLACE))
    assert get(store, table).column("name").to_pylist()[1:] == ["näme\r\n1", None, None]


def test_a_table_may_change_its_model(server: Server, store: Store, table: str) -> None:
    with open_store(server.url, model="hash") as hashes:
        put(hashes, table, people(300))
        put(store, table, people(150, start=100), mode=WriteMode.OVERWRITE)
        assert get(store, table).equals(as_table(people(150, start=100)))
        assert len(chunk_keys(server, table)) == 2
        put(hashes, table, people(30), mode=WriteMode.OVERWRITE)
        assert get(hashes, table).equals(as_table(people(30)))
    assert server.raw.dbsize() == 31


def test_rows_are_looked_up_filtered_sampled_and_deleted(
    server: Server, store: Store, table: str
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
    assert server.raw.dbsize() == 0
    with pytest.raises(TableNotFoundError):
        store.schema(table)


def ids_of(store: Store, table: str, **asked: object) -> list[int]:
    found = read_all(store.source(table, columns=["id"], **asked))  # type: ignore[arg-type]
    return sorted(found.column("id").to_pylist())


def test_a_table_of_nothing(store: Store, table: str) -> None:
    put(store, table, people(0))
    assert read_all(store.source(table)).num_rows == 0
    put(store, table, people(3))
    assert get(store, table).equals(as_table(people(3)))


@given(values=arrays(any_type))
@settings(max_examples=40)
def test_any_type_comes_back(store: Store, table: str, values: pa.Array) -> None:
    table = f"{table}-{uuid4().hex}"  # a new one for each example
    numbers = pa.array(range(len(values)), pa.int64())
    batch = pa.record_batch([numbers, values], ["id", "v"])
    put(store, table, batch)
    source = store.source(table)
    assert source.schema.equals(batch.schema)
    found = read_all(source)
    assert found.equals(pa.Table.from_batches([batch]))


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
        pa.nulls(4),
        pa.array(["a", None, "b", "a"], pa.large_string()),
        pa.array([{"d": "x"}, None, {"d": None}, {"d": "y"}]),
        pa.array([(1, 2, 3), None, (4, 5, 6), None], pa.month_day_nano_interval()),
        pa.array([[None], [], None, [1]], pa.list_view(pa.int8())),
    ],
    ids=lambda values: str(values.type),
)
def test_types_that_the_hash_model_changes_stay(store: Store, table: str, values: pa.Array) -> None:
    batch = pa.record_batch([pa.array(range(4)), values], ["id", "v"])
    put(store, table, batch)
    assert store.schema(table).field("v").type == values.type
    put(store, table, batch.slice(1, 2))  # rewrites the chunk
    assert get(store, table).to_pylist() == batch.to_pylist()


def test_types_of_which_no_rows_can_be_picked_become_plain(store: Store, table: str) -> None:
    views = pa.array(["a", None, "b" * 20], pa.string_view())
    put(store, table, pa.record_batch([pa.array(range(3)), views], ["id", "v"]))
    assert get(store, table).column("v").combine_chunks() == pa.array(["a", None, "b" * 20])


def test_memory_is_bounded_by_a_few_chunks(server: Server, table: str) -> None:
    peaks = []
    for rows in (40_000, 320_000):
        name = f"{table}{rows}"
        with open_store(server.url, model="arrow", arrow_rows=4000) as store:
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


def test_a_read_that_is_given_up_frees_its_connection(
    server: Server, store: Store, table: str
) -> None:
    put(store, table, people(1000))
    source = store.source(table, parts=1, batch_rows=50)
    (part,) = source.partitions()
    for _ in range(5):
        reading = source.read(part)
        next(reading)
        reading.close()
    assert len(server.raw.client_list()) < 6


def test_a_cluster_has_chunks_on_every_node_and_slots_may_move(
    redis_cluster: Cluster, table: str
) -> None:
    with open_store(redis_cluster.url, model="arrow", arrow_rows=100) as store:
        put(store, table, people(6000))
        assert all(node.raw.dbsize() >= 5 for node in redis_cluster.primaries())
        source = store.source(table, parts=1)
        (part,) = source.partitions()
        reading = source.read(part)
        found = [next(reading)]
        slots = {redis_cluster.raw.keyslot(f"{table}:{chunk.name}") for chunk in part.chunks}  # type: ignore[attr-defined]
        for slot in sorted(slots)[::3]:
            redis_cluster.move_slot(slot, away_from(redis_cluster, slot))
        found += reading
        table_found = pa.Table.from_batches(found).sort_by("id").combine_chunks()
        assert table_found.equals(as_table(people(6000)))
        index = redis_cluster.raw.keyslot(f"_kvlake:chunks:{table}")
        redis_cluster.move_slot(index, away_from(redis_cluster, index))
        put(store, table, people(500, start=5800))
        put(store, f"{table}b", people(10))
        put(store, table, people(6300), mode=WriteMode.OVERWRITE)
        assert get(store, table).equals(as_table(people(6300)))
        assert redis_cluster.dbsize() == 63 + 2 + 3


def test_a_commit_waits_for_replicas(redis_cluster: Cluster, table: str) -> None:
    with open_store(redis_cluster.url, model="arrow", wait_replicas=1, arrow_rows=100) as store:
        put(store, table, people(1000))
        put(store, table, people(500, start=250))
        with open_store(redis_cluster.url, read_replicas=True) as replicas:
            assert get(replicas, table).equals(as_table(people(1000)))
    with (
        open_store(redis_cluster.url, wait_replicas=2, timeout_seconds=1) as store,
        pytest.raises(StoreUnavailableError, match="1 of 2 replicas"),
    ):
        put(store, table, people(10))
    with open_store(redis_cluster.url) as store:
        assert get(store, table).equals(as_table(people(1000)))


def test_a_server_that_is_gone_is_the_error_of_the_write(table: str) -> None:
    server = serve(None)

    def batches() -> Iterator[pa.RecordBatch]:
        yield people(1000)
        server.stop()
        for i in range(1, 50):
            yield people(1000, start=1000 * i)

    with (
        open_store(server.url, model="arrow", arrow_rows=100) as store,
        pytest.raises(StoreUnavailableError, match="writing table"),
    ):
        store.write(table, batches(), BY_ID)


def away_from(cluster: Cluster, slot: int) -> Node:
    owner = cluster.owner(slot)
    return next(node for node in cluster.primaries() if node != owner)
