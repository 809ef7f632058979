"""Writing as others see it: expiry that never lags, rejects, rates, bytes in flight, two writers."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from servers import Server

from connector import (
    OptionError,
    SchemaError,
    SchemaEvolution,
    Store,
    WriteFields,
    WriteMode,
    WriteOptions,
    WriteRejectedError,
    WriteRows,
    open_store,
    read_all,
)
from connector.embedded import serve

BY_ID = WriteOptions(key=("id",))


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    with open_store(server.url) as opened:
        yield opened


def rows(count: int, **more: object) -> pa.RecordBatch:
    return pa.record_batch({"id": range(count), "n": range(count), **more})


def test_each_row_expires_as_its_column_says(server: Server, store: Store, table: str) -> None:
    batch = pa.record_batch({"id": [1, 2, 3], "n": [1, None, 3], "life": [100, 200, None]})
    options = WriteOptions(key=("id",), ttl_column="life")
    server.raw.hset(f"{table}:3", "n", 1)
    server.raw.expire(f"{table}:3", 50)
    assert store.write(table, [batch], options).rows == 3
    assert 90 < server.raw.ttl(f"{table}:1") <= 100
    assert 190 < server.raw.ttl(f"{table}:2") <= 200
    assert server.raw.ttl(f"{table}:3") == -1
    assert store.schema(table).names == ["id", "n"]
    assert server.raw.hgetall(f"{table}:1") == {b"n": b"1"}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_rows_expire_at_a_moment(
    server: Server, store: Store, table: str, unit: str, zone: str | None
) -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=300)
    at = pa.array([moment.replace(tzinfo=None)], pa.timestamp("us")).cast(
        pa.timestamp(unit), safe=False
    )
    column = at if zone is None else at.cast(pa.timestamp(unit, zone))
    batch = pa.record_batch({"id": [1], "n": [1], "until": column})
    store.write(table, [batch], WriteOptions(key=("id",), ttl_column="until"))
    assert 290_000 < server.raw.pttl(f"{table}:1") <= 300_000


@pytest.mark.parametrize("life", [[0], [-5]])
def test_no_row_can_be_dead_at_once(store: Store, table: str, life: list[int]) -> None:
    batch = pa.record_batch({"id": [1], "life": life})
    with pytest.raises(SchemaError, match="at least 1"):
        store.write(table, [batch], WriteOptions(key=("id",), ttl_column="life"))


def test_a_ttl_is_asked_for_in_one_way(store: Store, table: str) -> None:
    with pytest.raises(OptionError, match="not both"):
        WriteOptions(ttl_seconds=5, ttl_column="life")
    batch = pa.record_batch({"id": [1], "__ttl": [5]})
    with pytest.raises(OptionError, match="__ttl"):
        store.write(table, [batch], WriteOptions(key=("id",), ttl_seconds=5))
    with pytest.raises(SchemaError, match="no column 'life'"):
        store.write(table, [batch], WriteOptions(key=("id",), ttl_column="life"))
    text = pa.record_batch({"id": [1], "life": ["soon"]})
    with pytest.raises(SchemaError, match="cannot say when"):
        store.write(table, [text], WriteOptions(key=("id",), ttl_column="life"))


def test_a_copy_keeps_its_expiry(server: Server, store: Store, table: str) -> None:
    store.write(table, [rows(30)], BY_ID)
    for i in range(10):
        server.raw.expire(f"{table}:{i}", 1000 + i)
    server.raw.pexpire(f"{table}:10", 999_001)
    source = store.source(table, columns=["id", "n", "__ttl"])
    copied = read_all(source)
    store.write(f"{table}b", copied.to_batches(), BY_ID)
    for i in range(30):
        expected = 1000 + i if i < 10 else 1000 if i == 10 else -1
        assert abs(server.raw.ttl(f"{table}b:{i}") - expected) <= 3, i
    assert store.schema(f"{table}b").names == ["id", "n"]


def test_the_key_is_read_on_request(server: Server, store: Store, table: str) -> None:
    store.write(table, [rows(5)], BY_ID)
    found = read_all(store.source(table, columns=["__key", "n"])).sort_by("n")
    assert found.to_pydict() == {"__key": [f"{table}:{i}" for i in range(5)], "n": list(range(5))}
    assert read_all(store.source(table, columns=["__key"])).num_rows == 5
    assert set(read_all(store.source(table, columns=["__ttl"])).column(0).to_pylist()) == {None}


@pytest.mark.parametrize(
    ("mode", "fields", "which"),
    [
        (mode, fields, which)
        for mode, fields, which in itertools.product(WriteMode, WriteFields, WriteRows)
        if mode is WriteMode.APPEND or which is WriteRows.UPSERT
    ],
)
def test_no_row_is_ever_seen_without_its_expiry(
    server: Server, store: Store, table: str, mode: WriteMode, fields: WriteFields, which: WriteRows
) -> None:
    if which is WriteRows.UPDATE:
        store.write(table, [rows(3000)], WriteOptions(key=("id",), ttl_seconds=50))
    done = threading.Event()
    bare: list[bytes] = []

    def watch() -> None:
        with redis.Redis.from_url(server.url) as raw:
            while not done.is_set():
                for key in raw.scan_iter(match=f"{table}:*", count=500):
                    if raw.ttl(key) == -1:
                        bare.append(key)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        some = [None if i % 3 else "x" for i in range(3000)]
        options = WriteOptions(key=("id",), mode=mode, fields=fields, rows=which, ttl_seconds=100)
        result = store.write(
            table, [rows(3000, text=some)] if mode is WriteMode.OVERWRITE else [rows(3000)], options
        )
    finally:
        done.set()
        watcher.join()
    assert result.rows == 3000
    assert not bare
    assert all(server.raw.ttl(f"{table}:{i}") > 90 for i in range(0, 3000, 100))


def test_conditions_hold_for_rows_with_nulls_and_expiry(
    server: Server, store: Store, table: str
) -> None:
    server.raw.hset(f"{table}:1", mapping={"a": "old", "b": "old", "foreign": "x"})
    batch = pa.record_batch(
        {"id": [1, 2], "a": [None, "new"], "b": ["new", None], "__ttl": [50, None]}
    )
    update = WriteOptions(key=("id",), rows=WriteRows.UPDATE)
    result = store.write(table, [batch], update)
    assert (result.rows, result.skipped) == (1, 1)
    assert server.raw.hgetall(f"{table}:1") == {b"b": b"new", b"foreign": b"x"}
    assert 40 < server.raw.ttl(f"{table}:1") <= 50
    insert = WriteOptions(key=("id",), rows=WriteRows.INSERT)
    result = store.write(table, [batch], insert)
    assert (result.rows, result.skipped) == (1, 1)
    assert server.raw.hgetall(f"{table}:2") == {b"a": b"new"}
    assert server.raw.ttl(f"{table}:2") == -1


def test_a_refused_row_is_an_error(server: Server, store: Store, table: str) -> None:
    server.raw.rpush(f"{table}:5", "no hash")
    with pytest.raises(WriteRejectedError, match=f"1 of 10 rows.*{table}:5.*WRONGTYPE"):
        store.write(table, [rows(10)], BY_ID)


@pytest.mark.parametrize("how", ["merge", "ttl", "insert"])
def test_rejected_rows_are_told_with_key_and_reason(
    server: Server, table: str, tmp_path: Path, how: str
) -> None:
    for i in (5, 7, 2005):
        server.raw.rpush(f"{table}:{i}", "no hash")
    given: dict[str, object] = {"ttl_seconds": 60} if how == "ttl" else {}
    if how == "insert":
        given = {"rows": WriteRows.UPDATE}
        with open_store(server.url) as store:
            store.write(
                table, [rows(3000)], WriteOptions(key=("id",), reject_path=str(tmp_path / "x"))
            )
    path = tmp_path / "rejects"
    options = WriteOptions(key=("id",), reject_path=f"file://{path}", **given)  # type: ignore[arg-type]
    with open_store(server.url, max_pipeline_size=100) as store:
        result = store.write(table, [rows(3000)], options)
        assert (result.rows, result.rejected) == (2997, 3)
    (file,) = path.iterdir()
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(item["key"] for item in told) == sorted(f"{table}:{i}" for i in (5, 7, 2005))
    assert all("WRONGTYPE" in item["reason"] and item["table"] == table for item in told)
    assert len(list(server.raw.scan_iter(match=f"{table}:*", count=1000))) == 3000


def test_too_many_rejects_are_an_error(server: Server, table: str, tmp_path: Path) -> None:
    for i in range(20):
        server.raw.rpush(f"{table}:{i}", "no hash")
    options = WriteOptions(key=("id",), reject_path=str(tmp_path), reject_limit=10)
    with (
        open_store(server.url) as store,
        pytest.raises(WriteRejectedError, match=r"at most 10.*reject\.limit"),
    ):
        store.write(table, [rows(100)], options)
    assert len(next(tmp_path.iterdir()).read_text().splitlines()) == 20


def test_an_overwrite_keeps_what_it_could_not_replace(table: str, tmp_path: Path) -> None:
    options = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE, reject_path=str(tmp_path))
    with (
        serve() as server,
        open_store(server.url) as store,
        redis.Redis.from_url(server.url) as raw,
    ):
        store.write(table, [rows(10)], BY_ID)
        job = store.begin(table, rows(1).schema, options)
        first = store.write_part(job, [rows(3)])
        raw.config_set("maxmemory", 1)
        second = store.write_part(job, [rows(8).slice(3)])
        raw.config_set("maxmemory", 0)
        store.commit(job, [first, second])
        assert (second.rows, second.rejected) == (0, 5)
        found = read_all(store.source(table)).sort_by("id")
    assert found.column("id").to_pylist() == list(range(8))
    assert "OOM" in next(tmp_path.iterdir()).read_text()


def test_a_rate_is_kept(server: Server, table: str) -> None:
    with open_store(server.url, rows_per_second=2000, max_pipeline_size=100) as store:
        began = time.monotonic()
        store.write(table, [rows(1000)], BY_ID)
        assert 0.4 < time.monotonic() - began < 3
        began = time.monotonic()
        assert read_all(store.source(table, batch_rows=100)).num_rows == 1000
        assert 0.4 < time.monotonic() - began < 3


def test_few_bytes_are_in_flight(server: Server, table: str) -> None:
    blobs = pa.record_batch({"id": range(64), "blob": [bytes(1 << 20)] * 64})
    with open_store(server.url, inflight_bytes=1 << 20, max_pipeline_bytes=1 << 20) as store:
        assert store.write(table, [blobs], BY_ID).rows == 64
        assert read_all(store.source(table, columns=["id"])).num_rows == 64


def test_two_writers_of_one_table(server: Server, table: str) -> None:
    def write(start: int, column: str) -> None:
        options = WriteOptions(key=("id",), evolution=SchemaEvolution.ADD)
        with open_store(server.url) as store:
            for i in range(20):
                ids = range(start + i * 100, start + i * 100 + 100)
                store.write(table, [pa.record_batch({"id": ids, column: ids})], options)

    writers = [threading.Thread(target=write, args=(1000 * i, f"c{i}")) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with open_store(server.url) as store:
        assert set(store.schema(table).names) == {"id", "c0", "c1", "c2", "c3"}
        found = read_all(store.source(table)).sort_by("id")
    assert found.column("id").to_pylist() == list(range(5000))
    for i in range(4):
        mine = [v for v in found.column(f"c{i}").to_pylist() if v is not None]
        assert mine == list(range(1000 * i, 1000 * i + 2000))
