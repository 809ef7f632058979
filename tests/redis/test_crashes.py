"""Servers that die and come back, keys that go or change under a read, answers that trickle."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from proxy import proxied
from servers import Server, installed

from connector import (
    PlanExpiredError,
    SchemaError,
    StoreError,
    WriteFields,
    WriteMode,
    WriteOptions,
    open_store,
    read_all,
)
from connector.embedded import EmbeddedServer, serve

ROWS = 20_000
BY_ID = WriteOptions(key=("id",))


def rows(count: int = ROWS, start: int = 0) -> pa.RecordBatch:
    ids = range(start, start + count)
    return pa.record_batch({"id": ids, "n": ids, "text": [f"row {i}" for i in ids]})


class Lasting:
    """A server whose data outlives it."""

    def __init__(self, start: Callable[[int | None], EmbeddedServer]) -> None:
        self._start = start
        self._server = start(None)
        self.url = self._server.url

    def kill(self) -> None:
        os.kill(self._server.pid, signal.SIGKILL)
        self._server.stop()

    def start(self) -> None:
        self._server = self._start(self._server.port)


@pytest.fixture(params=["valkey", "redis"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lasting]:
    binary = installed(request.param)
    config = [f"dir {tmp_path}", "appendonly yes", "appendfsync always"]
    with contextlib.ExitStack() as stack:
        yield Lasting(lambda port: stack.enter_context(serve(binary, port=port, config=config)))


@pytest.mark.parametrize(
    "options",
    [
        BY_ID,
        WriteOptions(key=("id",), mode=WriteMode.OVERWRITE),
        WriteOptions(key=("id",), fields=WriteFields.REPLACE, ttl_seconds=1000),
    ],
    ids=["append", "overwrite", "replace"],
)
def test_a_server_killed_in_a_write_has_exactly_the_rows_after_a_second_run(
    lasting: Lasting, table: str, options: WriteOptions
) -> None:
    with open_store(lasting.url) as store:
        if options.mode is WriteMode.OVERWRITE:
            store.write(table, [rows(5000, start=ROWS - 2000)], BY_ID)

        def batches(deadly: bool) -> Iterator[pa.RecordBatch]:
            for i in range(0, ROWS, 500):
                if deadly and i == ROWS // 2:
                    lasting.kill()
                yield rows(500, i)

        with pytest.raises(StoreError):
            store.write(table, batches(True), options)
        lasting.start()
        with redis.Redis.from_url(lasting.url) as raw:
            before = raw.dbsize()
            assert before < ROWS + 3001
            if options.mode is WriteMode.OVERWRITE:
                assert raw.exists(f"{table}:{ROWS + 2999}"), "no old key is lost before the commit"
            assert store.write(table, batches(False), options).rows == ROWS
            assert raw.dbsize() == ROWS + 1
            if options.ttl_seconds:
                assert raw.ttl(f"{table}:{ROWS - 1}") > 900
        found = read_all(store.source(table)).sort_by("id").combine_chunks()
        assert found.to_batches()[0].equals(rows())


def test_a_server_killed_in_a_read_is_an_error_and_its_plan_is_not_used_again(
    lasting: Lasting, table: str
) -> None:
    with open_store(lasting.url) as store:
        store.write(table, [rows()], BY_ID)
        source = store.source(table, parts=4, batch_rows=500)
        plan = source.partitions()
        assert len(plan) == 4
        reading = source.read(plan[0])
        next(reading)
        lasting.kill()
        with pytest.raises(StoreError):
            list(reading)
        lasting.start()
        with pytest.raises(PlanExpiredError, match="plan again"):
            list(source.read(plan[0]))
        assert read_all(source).num_rows == ROWS


def test_keys_that_expire_under_a_read_are_left_out_and_counted(server: Server, table: str) -> None:
    with open_store(server.url, scan_count=100, max_pipeline_size=100) as store:
        store.write(table, [rows(4000)], BY_ID)
        source = store.source(table, parts=1, batch_rows=100)
        (part,) = source.partitions()
        reading = source.read(part)
        found = next(reading).num_rows
        for i in range(4000):
            server.raw.pexpire(f"{table}:{i}", 1)
        time.sleep(0.01)
        for batch in reading:
            found += batch.num_rows
            assert all(column.null_count == 0 for column in batch.columns)
        assert found < 4000
        assert store.counts.rows == found  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", [["id", "n"], ["n"], ["id"], ["id", "__ttl"]])
def test_keys_of_other_types_are_an_error_or_are_counted(
    server: Server, table: str, columns: list[str]
) -> None:
    with open_store(server.url) as store:
        store.write(table, [rows(3000)], BY_ID)
        for i in range(5):
            server.raw.rpush(f"{table}:list{i}", "x")
            server.raw.set(f"{table}:{3000 + i}", "y")
        with pytest.raises(SchemaError, match=r"WRONGTYPE.*on\.bad\.key"):
            read_all(store.source(table, columns=columns))
    with open_store(server.url, on_bad_key="skip") as store:
        assert read_all(store.source(table, columns=columns)).num_rows == 3000
        assert store.counts.bad_keys == 10  # type: ignore[attr-defined]
    with open_store(server.url, filter_keys_by_type=True) as store:
        assert read_all(store.source(table, columns=columns)).num_rows == 3000
        assert store.counts.bad_keys == 0  # type: ignore[attr-defined]


def test_keys_that_change_their_type_under_a_read_are_skipped_and_counted(
    server: Server, table: str
) -> None:
    options = {"scan_count": 100, "max_pipeline_size": 100, "on_bad_key": "skip"}
    with open_store(server.url, **options) as store:
        store.write(table, [rows(4000)], BY_ID)
        source = store.source(table, parts=1, batch_rows=100)
        (part,) = source.partitions()
        reading = source.read(part)
        found = next(reading).num_rows
        with server.raw.pipeline(transaction=False) as pipeline:
            for i in range(4000):
                pipeline.delete(f"{table}:{i}").rpush(f"{table}:{i}", "x")
            pipeline.execute()
        found += sum(batch.num_rows for batch in reading)
        counts = store.counts  # type: ignore[attr-defined]
        assert found == counts.rows < 4000
        assert counts.rows + counts.bad_keys + counts.vanished == 4000


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answers_that_trickle_are_the_same_rows(server: Server, table: str, size: int) -> None:
    with open_store(server.url) as store:
        store.write(table, [rows(300)], BY_ID)
    with proxied(server.url) as proxy:
        pieces = proxy._pass

        def trickle(source, sink, answers):  # type: ignore[no-untyped-def]
            if not answers:
                return pieces(source, sink, answers)
            with contextlib.suppress(OSError):
                while data := source.recv(size):
                    sink.sendall(data)
            return None

        proxy._pass = trickle  # type: ignore[method-assign]
        with open_store(proxy.url) as store:
            found = read_all(store.source(table)).sort_by("id").combine_chunks()
            assert found.to_batches()[0].equals(rows(300))
            assert store.write(table, [rows(300)], BY_ID).rows == 300


def test_a_reader_and_writers_of_one_table_at_once(server: Server, table: str) -> None:
    """Rows that are there throughout are read at least once, whatever is added and deleted beside."""
    stop = threading.Event()

    def churn(first: int) -> None:
        with open_store(server.url) as store:
            while not stop.is_set():
                ids = pa.table({"id": range(first, first + 3000)})
                store.write(table, [rows(3000, first)], BY_ID)
                store.delete(table, ids)

    with open_store(server.url) as store:
        store.write(table, [rows(5000)], BY_ID)
        writers = [threading.Thread(target=churn, args=(10_000 * i,)) for i in (1, 2)]
        for writer in writers:
            writer.start()
        try:
            for parts in (1, 4, 4, 1):
                found = read_all(store.source(table, parts=parts)).column("id").to_pylist()
                assert set(range(5000)) <= set(found)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
