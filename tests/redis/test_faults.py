"""Servers that refuse, stall, lie and die: a clear error in time, and no lost or wrong row."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time

import pyarrow as pa
import pytest
import redis
from proxy import proxied
from servers import Server

from connector import (
    AuthenticationError,
    ConnectorError,
    SchemaError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    WriteMode,
    WriteOptions,
    WriteRejectedError,
    open_store,
    read_all,
)
from connector.embedded import serve

BY_ID = WriteOptions(key=("id",))
REPLACE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
ROWS = pa.table({"id": range(20_000), "text": [f"row {i}" for i in range(20_000)]})


def test_a_server_that_is_down_is_said_at_once() -> None:
    with open_store("redis://127.0.0.1:1/0", connect_timeout_seconds=2) as store:
        with pytest.raises(StoreUnavailableError, match=r"table 'flights'.*127\.0\.0\.1:1"):
            store.schema("flights")
        with pytest.raises(StoreUnavailableError):
            store.write("flights", ROWS.to_batches(), BY_ID)


def test_credentials_are_refused_without_being_shown() -> None:
    with serve(password="right-secret") as server:
        wrong = server.url.replace("right-secret", "wrong-secret")
        for url in (wrong, server.url.replace(":right-secret@", "")):
            with open_store(url) as store, pytest.raises(AuthenticationError) as caught:
                store.schema("flights")
            assert "secret" not in f"{caught.value!r} {store!r} {caught.value.__cause__!r}"
        with open_store(wrong.replace(":wrong-secret@", ""), password="right-secret") as store:
            assert store.write("t", ROWS.to_batches(), BY_ID).rows == 20_000


def test_a_user_who_may_only_read_some_keys_reads_those(valkey_server: Server) -> None:
    raw = valkey_server.raw
    raw.execute_command(
        "ACL", "SETUSER", "reader", "on", ">pw", "%R~flights:*", "%R~_kvlake:*", "+@read"
    )
    raw.hset("flights:1", "n", 1)
    raw.hset("other:1", "n", 1)
    try:
        url = valkey_server.url
        with open_store(url, username="reader", password="pw") as store:
            assert read_all(store.source("flights")).to_pylist() == [{"_id": "1", "n": 1}]
            schema = store.schema("flights")
            with pytest.raises(AuthenticationError, match="other"):
                read_all(store.source("other", schema=schema, key=["_id"]))
            with pytest.raises(AuthenticationError, match="flights"):
                store.write(
                    "flights",
                    [pa.record_batch({"_id": ["2"], "n": [1]})],
                    WriteOptions(key=("_id",)),
                )
    finally:
        raw.execute_command("ACL", "DELUSER", "reader")


def test_a_server_that_does_not_answer_is_a_timeout(server: Server, table: str) -> None:
    with proxied(server.url) as proxy, open_store(proxy.url, timeout_seconds=0.5) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        source = store.source(table)
        parts = source.partitions()
        stalled = threading.Event()

        def stall(data: bytes, _: int) -> bytes:
            stalled.wait(5)
            return data

        proxy.tamper = stall
        started = time.monotonic()
        with pytest.raises(StoreTimeoutError, match=table):
            list(source.read(parts[0]))
        with pytest.raises(StoreTimeoutError, match=table):
            store.write(table, ROWS.to_batches(), BY_ID)
        assert time.monotonic() - started < 5
        stalled.set()


@pytest.mark.parametrize("after", [0, 1, 1000, 100_000, 500_000])
def test_a_connection_cut_in_a_read_is_an_error_not_an_end(
    server: Server, table: str, after: int
) -> None:
    with open_store(server.url) as direct:
        direct.write(table, ROWS.to_batches(), BY_ID)
        source = direct.source(table, parts=1)
        (part,) = source.partitions()
    with proxied(server.url) as proxy, open_store(proxy.url) as store:
        through = store.source(table, schema=direct.schema(table), parts=1)
        proxy.tamper = lambda data, done: data if done < after else None
        with pytest.raises(StoreUnavailableError, match=f"partition 0 of table '{table}'"):
            list(through.read(part))
        proxy.tamper = lambda data, _: data
        assert sum(batch.num_rows for batch in through.read(part)) == 20_000


@pytest.mark.parametrize("options", [BY_ID, REPLACE])
@pytest.mark.parametrize("after", [100, 10_000])
def test_a_write_that_is_cut_fails_and_a_second_completes_it(
    server: Server, table: str, options: WriteOptions, after: int
) -> None:
    with proxied(server.url) as proxy, open_store(proxy.url, max_pipeline_size=500) as store:
        proxy.tamper = lambda data, done: data if done < after else None
        with pytest.raises(StoreUnavailableError, match=table):
            store.write(table, ROWS.to_batches(), options)
        proxy.tamper = lambda data, _: data
        assert store.write(table, ROWS.to_batches(), options).rows == 20_000
        assert read_all(store.source(table)).sort_by("id") == ROWS


def test_garbled_answers_never_become_rows_of_other_keys(server: Server, table: str) -> None:
    """A proxy that breaks the framing: an error every time, in time."""
    with open_store(server.url) as direct:
        direct.write(table, ROWS.to_batches(), BY_ID)
        schema, plan = direct.schema(table), direct.source(table, parts=1).partitions()
    random.seed(3)
    with proxied(server.url) as proxy, open_store(proxy.url, timeout_seconds=1) as store:
        source = store.source(table, schema=schema, parts=1)
        for _ in range(10):
            where = random.randrange(0, 400_000)

            def garble(data: bytes, done: int, where: int = where) -> bytes:
                at = where - done
                return data[:at] + data[at + 1 :] if 0 <= at < len(data) else data

            proxy.answered = 0
            proxy.tamper = garble  # a byte is missing: every later length is off by one
            with pytest.raises(ConnectorError):
                list(source.read(plan[0]))


def test_memory_that_is_full_refuses_rows_by_name(table: str) -> None:
    wide = pa.table({"id": range(20_000), "text": ["x" * 1000] * 20_000})
    with serve(config=["maxmemory 12mb", "maxmemory-policy noeviction"]) as server:
        for options in (BY_ID, REPLACE):
            with open_store(server.url) as store:
                with pytest.raises(WriteRejectedError, match=rf"'{table}'.*{table}:\d+.*OOM"):
                    store.write(table, wide.to_batches(), options)
                with redis.Redis.from_url(server.url) as raw:
                    stored = sum(1 for _ in raw.scan_iter(match=f"{table}:*", count=1000))
                assert 0 < stored < 20_000


def test_a_key_of_another_type_refuses_its_row_alone(server: Server, table: str) -> None:
    server.raw.rpush(f"{table}:777", "x")
    with open_store(server.url) as store:
        with pytest.raises(WriteRejectedError, match=rf"1 of \d+ rows.*{table}:777.*WRONGTYPE"):
            store.write(table, ROWS.to_batches(), BY_ID)
        store.write(table, ROWS.to_batches(), REPLACE)  # an overwrite replaces whatever is there
        assert read_all(store.source(table)).sort_by("id") == ROWS


def test_a_server_killed_in_a_read_or_write_is_an_error(table: str) -> None:
    many = pa.table({"id": range(300_000), "n": range(300_000)})
    with serve() as server, open_store(server.url, timeout_seconds=5) as store:
        store.write(table, many.to_batches(20_000), BY_ID)
        source = store.source(table, parts=1)
        reading = source.read(source.partitions()[0])
        next(reading)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(StoreUnavailableError):
            list(reading)
    with serve() as server, open_store(server.url, timeout_seconds=5) as store:
        killer = threading.Timer(0.2, os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(StoreUnavailableError, match=table):
            while True:
                store.write(table, many.to_batches(20_000), BY_ID)
        killer.join()


def test_an_overwrite_that_dies_at_any_point_loses_no_old_key(server: Server, table: str) -> None:
    """Law 6: crash after the parts, in the middle of them, and before anything."""
    old, new = ROWS.slice(0, 1000), ROWS.slice(500, 1000)
    with open_store(server.url) as store:
        for parts in (0, 1, 2):
            store.write(table, old.to_batches(), REPLACE)
            job = store.begin(table, new.schema, REPLACE)
            for batch in new.to_batches(500)[:parts]:
                store.write_part(job, [batch])
            keys = {int(k.rpartition(b":")[2]) for k in server.raw.scan_iter(match=f"{table}:*")}
            assert keys >= set(range(1000))
            store.write(table, new.to_batches(), REPLACE)  # the re-run
            assert read_all(store.source(table)).sort_by("id") == new


def test_commit_deletes_nothing_when_results_do_not_add_up(server: Server, table: str) -> None:
    with open_store(server.url) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        job = store.begin(table, ROWS.schema, REPLACE)
        result = store.write_part(job, ROWS.slice(0, 10).to_batches())
        broken = type(result)(rows=result.rows + 1, keys=result.keys)
        with pytest.raises(ConnectorError, match="nothing was deleted"):
            store.commit(job, [broken])
        assert read_all(store.source(table)).num_rows == 20_000


def test_closing_a_read_half_way_gives_its_connections_back(server: Server, table: str) -> None:
    with open_store(server.url) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        source = store.source(table, parts=1, batch_rows=100)
        before = len(server.raw.client_list())
        for _ in range(20):
            reading = source.read(source.partitions()[0])
            next(reading)
            reading.close()
        time.sleep(0.1)
        assert len(server.raw.client_list()) <= before + 3
        assert read_all(source).num_rows == 20_000


def test_a_store_works_on_after_a_fork(server: Server, table: str) -> None:
    with open_store(server.url) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        source = store.source(table)
        parts = source.partitions()
        child = os.fork()
        if child == 0:
            rows = sum(batch.num_rows for part in parts for batch in source.read(part))
            os._exit(0 if rows == 20_000 else 1)
        assert sum(batch.num_rows for part in parts for batch in source.read(part)) == 20_000
        assert os.waitpid(child, 0)[1] == 0


def test_an_unknown_reply_is_a_store_error(server: Server, table: str) -> None:
    with open_store(server.url) as direct:
        direct.write(table, ROWS.slice(0, 10).to_batches(), BY_ID)
        schema, plan = direct.schema(table), direct.source(table).partitions()
    with proxied(server.url) as proxy, open_store(proxy.url, timeout_seconds=1) as store:
        source = store.source(table, schema=schema)
        proxy.tamper = lambda data, _: data.replace(b"*1\r\n$", b"*2\r\n$")
        with pytest.raises(StoreError):
            list(source.read(plan[0]))


def test_a_cluster_without_slots_is_not_ready(table: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        bus = free.getsockname()[1]  # by default the port + 10,000, which may be too high
    config = ["cluster-enabled yes", f"cluster-port {bus}"]
    with serve(config=config) as server, open_store(server.url) as store:
        source = store.source(table, schema=ROWS.schema, key=["id"])
        with pytest.raises(StoreUnavailableError, match="slot"):
            source.partitions()
        with pytest.raises(StoreUnavailableError, match="slot"):
            store.write(table, ROWS.to_batches(), BY_ID)


def test_a_key_that_changes_its_type_in_a_read_is_named(server: Server, table: str) -> None:
    """Its row had no value for the columns asked for, so whether it was there is asked again."""
    schema = pa.schema([("id", pa.int64()), ("other", pa.int64())])
    with proxied(server.url) as proxy, open_store(proxy.url) as store:
        store.write(table, ROWS.slice(0, 10).to_batches(), BY_ID)

        def swap(data: bytes, _: int) -> bytes:
            if b"*1\r\n$-1\r\n" in data:
                with server.raw.pipeline() as pipeline:
                    pipeline.delete(f"{table}:5").rpush(f"{table}:5", "x").execute()
            return data

        source = store.source(table, schema=schema, key=["id"], columns=["other"], parts=1)
        plan = source.partitions()
        proxy.tamper = swap
        with pytest.raises(SchemaError, match=f"{table}:5.*WRONGTYPE"):
            list(source.read(plan[0]))
