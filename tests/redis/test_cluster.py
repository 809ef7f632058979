"""Clusters: every row once, whatever moves while it is read or written."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest
from topology import Cluster

from connector import (
    Store,
    StoreUnavailableError,
    WriteMode,
    WriteOptions,
    open_store,
    read_all,
)

BY_ID = WriteOptions(key=("id",))
ROWS = 6000


def rows(count: int = ROWS, start: int = 0) -> pa.RecordBatch:
    ids = range(start, start + count)
    return pa.record_batch(
        {"id": list(ids), "n": [i * 2 for i in ids], "text": [f"r{i}" for i in ids]}
    )


@pytest.fixture
def store(redis_cluster: Cluster) -> Iterator[Store]:
    with open_store(redis_cluster.url) as opened:
        yield opened


def ids(store: Store, table: str, **asked: object) -> list[int]:
    found = read_all(store.source(table, columns=["id"], **asked))  # type: ignore[arg-type]
    return sorted(found.column("id").to_pylist())


def test_rows_are_spread_and_read_once(redis_cluster: Cluster, store: Store, table: str) -> None:
    assert store.write(table, [rows()], BY_ID).rows == ROWS
    assert redis_cluster.dbsize() == ROWS + 1
    assert all(node.raw.dbsize() > ROWS / 6 for node in redis_cluster.primaries())
    assert redis_cluster.raw.hgetall(f"{table}:7") == {b"n": b"14", b"text": b"r7"}
    for parts in (1, 3, 50):
        found = read_all(store.source(table, parts=parts)).sort_by("id")
        assert found.combine_chunks().to_batches()[0].equals(rows())


def test_an_overwrite_leaves_exactly_the_new_rows(
    redis_cluster: Cluster, store: Store, table: str
) -> None:
    store.write(table, [rows()], BY_ID)
    store.write(
        table, [rows(3000, start=2000)], WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
    )
    assert ids(store, table) == list(range(2000, 5000))
    assert redis_cluster.dbsize() == 3001


def test_keys_with_a_hash_tag_share_a_slot(
    redis_cluster: Cluster, store: Store, table: str
) -> None:
    tagged = f"{{{table}}}"
    store.write(tagged, [rows()], BY_ID)
    assert sorted(node.raw.dbsize() for node in redis_cluster.primaries())[:2] <= [1, 1]
    assert ids(store, tagged, parts=7) == list(range(ROWS))
    tags = pa.record_batch({"id": [f"{{u{i % 10}}}:{i}" for i in range(500)], "n": range(500)})
    store.write(table, [tags], BY_ID)
    assert sorted(ids(store, table)) == sorted(tags.column("id").to_pylist())


def test_slots_that_move_in_a_read_are_read_once(
    redis_cluster: Cluster, store: Store, table: str
) -> None:
    store.write(table, [rows()], BY_ID)
    source = store.source(table, parts=1, batch_rows=100)
    (part,) = source.partitions()
    reading = source.read(part)
    found = next(reading).column("id").to_pylist()
    first, second, _ = redis_cluster.primaries()
    for slot in range(100, 5000, 150):
        redis_cluster.move_slot(slot, second if redis_cluster.owner(slot) == first else first)
    for batch in reading:
        found += batch.column("id").to_pylist()
    assert sorted(found) == list(range(ROWS))


def test_a_slot_that_is_half_moved_is_read_and_written(
    redis_cluster: Cluster, store: Store, table: str
) -> None:
    tagged = f"{{{table}}}"
    store.write(tagged, [rows(300)], BY_ID)
    store.write(table, [rows()], BY_ID)
    slot = redis_cluster.raw.keyslot(f"{tagged}:1")
    target = next(n for n in redis_cluster.primaries() if n != redis_cluster.owner(slot))
    redis_cluster.open_slot(slot, target)
    redis_cluster.migrate(slot, target, most=120)
    assert ids(store, tagged) == list(range(300))
    assert store.write(tagged, [rows(400, start=100)], BY_ID).rows == 400
    ttl = WriteOptions(key=("id",), ttl_seconds=500)
    assert store.write(tagged, [rows(20, start=490)], ttl).rows == 20
    assert ids(store, tagged) == list(range(510))
    assert ids(store, table) == list(range(ROWS))
    redis_cluster.migrate(slot, target)
    redis_cluster.close_slot(slot, target)
    assert ids(store, tagged) == list(range(510))
    found = read_all(store.source(tagged)).sort_by("id")
    assert found.column("n").to_pylist() == [i * 2 for i in range(510)]


@pytest.mark.parametrize("ttl", [None, 500])
def test_a_slot_that_moved_beside_one_that_moves(
    redis_cluster: Cluster, store: Store, table: str, ttl: int | None
) -> None:
    """One node has both slots for a client that has not heard of it: it answers MOVED, then ASK."""
    source, target, _ = redis_cluster.primaries()
    tags = {redis_cluster.raw.keyslot(f"{{t{i}}}"): f"{{t{i}}}" for i in range(40)}
    moved, moving = [slot for slot in tags if redis_cluster.owner(slot) == source][:2]
    names = [f"{tags[slot]}:{i}" for i in range(50) for slot in (moved, moving)]
    batch = pa.record_batch({"id": names, "n": range(100)})
    with open_store(redis_cluster.url) as other:
        for uninformed in (store, other):
            uninformed.write(table, [batch.slice(0, 1)], BY_ID)
        redis_cluster.move_slot(moved, target)
        redis_cluster.open_slot(moving, target)
        written = store.write(table, [batch], WriteOptions(key=("id",), ttl_seconds=ttl))
        assert written.rows == 100
        assert target.raw.dbsize() >= 100
        found = other.lookup(table, names)
        assert found.column("n").to_pylist() == list(range(100))


def test_a_resharding_in_a_write_loses_nothing(
    redis_cluster: Cluster, store: Store, table: str
) -> None:
    store.write(table, [rows(1)], BY_ID)
    moving = threading.Event()

    def reshard() -> None:
        first, second, _ = redis_cluster.primaries()
        for slot in range(0, 400, 2):
            redis_cluster.move_slot(slot, second if redis_cluster.owner(slot) == first else first)
            moving.set()

    worker = threading.Thread(target=reshard)

    def batches() -> Iterator[pa.RecordBatch]:
        worker.start()
        assert moving.wait(10)
        i = 0
        while worker.is_alive() or i < 20:
            yield rows(1000, start=i * 1000)
            i += 1
        written.append(i * 1000)

    written: list[int] = []
    result = store.write(table, batches(), BY_ID)
    worker.join()
    assert result.rows == written[0]
    assert redis_cluster.dbsize() == written[0] + 1
    assert ids(store, table) == list(range(written[0]))


def test_a_failover_in_a_read_and_a_write_loses_nothing(
    redis_cluster: Cluster, store: Store, table: str
) -> None:
    store.write(table, [rows()], BY_ID)
    redis_cluster.await_copies()
    source = store.source(table, parts=1, batch_rows=100)
    (part,) = source.partitions()
    reading = source.read(part)
    found = next(reading).column("id").to_pylist()
    primary = redis_cluster.primaries()[1]
    redis_cluster.failover(redis_cluster.replicas(primary)[0])
    for batch in reading:
        found += batch.column("id").to_pylist()
    assert sorted(found) == list(range(ROWS))

    def batches() -> Iterator[pa.RecordBatch]:
        for i in range(30):
            if i == 10:
                primary = redis_cluster.primaries()[0]
                redis_cluster.failover(redis_cluster.replicas(primary)[0])
            yield rows(200, start=i * 200)

    assert store.write(f"{table}w", batches(), BY_ID).rows == 6000
    assert ids(store, f"{table}w") == list(range(6000))


def test_a_primary_that_is_killed_in_a_read_is_replaced(
    mortal_cluster: Cluster, table: str
) -> None:
    with open_store(mortal_cluster.url, max_pipeline_size=200) as store:
        store.write(table, [rows()], BY_ID)
        mortal_cluster.await_copies()
        source = store.source(table, parts=1, batch_rows=100)
        (part,) = source.partitions()
        reading = source.read(part)
        found = next(reading).column("id").to_pylist()
        mortal_cluster.kill(mortal_cluster.owner(16383))
        for batch in reading:
            found += batch.column("id").to_pylist()
        assert sorted(found) == list(range(ROWS))


def test_a_primary_that_is_killed_in_a_write_is_an_error_and_a_second_run_completes_it(
    mortal_cluster: Cluster, table: str
) -> None:
    def batches(kill: bool) -> Iterator[pa.RecordBatch]:
        for i in range(30):
            if kill and i == 10:
                mortal_cluster.kill(mortal_cluster.owner(0))
            yield rows(200, start=i * 200)

    seeds = ",".join(
        f"{node.url.rpartition('@')[2].removeprefix('redis://').split('/')[0]}"
        for node in mortal_cluster.nodes
    )
    with open_store(mortal_cluster.url, nodes=seeds) as store:
        with pytest.raises(StoreUnavailableError, match="write again"):
            store.write(table, batches(True), BY_ID)
        mortal_cluster.await_promotion(0)
        assert store.write(table, batches(False), BY_ID).rows == 6000
        assert ids(store, table) == list(range(6000))


def test_replicas_are_read_where_they_are_asked_for(
    redis_cluster: Cluster, store: Store, table: str
) -> None:
    store.write(table, [rows()], BY_ID)
    redis_cluster.await_copies()
    redis_cluster.await_listing()
    for node in redis_cluster.nodes:
        node.raw.config_resetstat()
    with open_store(redis_cluster.url, read_replicas=True) as replicas:
        assert ids(replicas, table) == list(range(ROWS))
    for primary in redis_cluster.primaries():
        assert primary.raw.info("commandstats").get("cmdstat_hlen", {"calls": 0})["calls"] == 0


def test_a_task_waits_for_replicas(redis_cluster: Cluster, table: str) -> None:
    with open_store(redis_cluster.url, wait_replicas=1) as store:
        assert store.write(table, [rows()], BY_ID).rows == ROWS
    with (
        open_store(redis_cluster.url, wait_replicas=2, timeout_seconds=1) as store,
        pytest.raises(StoreUnavailableError, match="1 of 2 replicas"),
    ):
        store.write(table, [rows()], BY_ID)
