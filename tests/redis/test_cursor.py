"""Cutting a keyspace: every key once at rest, none missed while the table grows and shrinks."""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from servers import Server

from connector import PlanExpiredError, WriteOptions, open_store
from connector.embedded import serve
from connector.redis.cursor import (
    END,
    CursorRange,
    node_ranges,
    position,
    ranges,
    reverse_bits,
)
from connector.redis.keyspace import escaped

SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64())])


def put(server: Server, table: str, ids: range) -> None:
    for start in range(ids.start, ids.stop, 5000):
        with server.raw.pipeline(transaction=False) as pipeline:
            for i in range(start, min(ids.stop, start + 5000)):
                pipeline.hset(f"{table}:{i}", "n", i)
            pipeline.execute()


def drop(server: Server, table: str, ids: range) -> None:
    with server.raw.pipeline(transaction=False) as pipeline:
        for start in range(ids.start, ids.stop, 1000):
            pipeline.delete(*(f"{table}:{i}" for i in range(start, min(ids.stop, start + 1000))))
        pipeline.execute()


@given(st.integers(0, 2**64 - 1))
def test_reversing_twice_is_nothing(number: int) -> None:
    assert reverse_bits(reverse_bits(number)) == number


@given(st.integers(1, 1000), st.integers(0, 10**9))
def test_ranges_cover_all_positions_and_end_where_buckets_do(parts: int, keys: int) -> None:
    made = ranges(parts, keys)
    assert 1 <= len(made) <= parts
    assert made[0][0] == 0 and made[-1][1] == END
    assert all(a[1] == b[0] for a, b in itertools.pairwise(made))
    grain = END // (1 << max(0, (keys // 1000).bit_length() - 1))
    assert all(start % grain == 0 and start < stop for start, stop in made)
    widths = [stop - start for start, stop in made]
    assert max(widths) - min(widths) <= grain


def test_the_last_cursor_is_the_end() -> None:
    assert position(0) == END
    assert position(1) == END // 2


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 16])
def test_at_rest_every_key_is_read_once_and_parts_are_even(
    server: Server, table: str, parts: int
) -> None:
    put(server, table, range(40_000))
    put(server, f"x{table}", range(3000))  # other tables share the keyspace
    with open_store(server.url, scan_count=100) as store:
        source = store.source(table, schema=SCHEMA, key=["id"], parts=parts)
        planned = source.partitions()
        assert len(planned) == parts
        counts = [[n for b in source.read(p) for n in b.column("n").to_pylist()] for p in planned]
    assert sorted(n for part in counts for n in part) == list(range(40_000))
    even = 40_000 / parts
    assert all(0.8 * even < len(part) < 1.2 * even for part in counts)


@pytest.mark.parametrize("first", ["grow", "shrink"])
def test_no_key_is_missed_while_the_table_grows_and_shrinks(
    server: Server, table: str, first: str
) -> None:
    """Every part is read a batch at a time, and between two batches the table is resized."""
    stable, other = range(20_000), f"z{table}"
    put(server, table, stable)
    if first == "shrink":
        put(server, other, range(150_000))
    with open_store(server.url, scan_count=200, max_pipeline_size=200) as store:
        source = store.source(table, schema=SCHEMA, key=["id"], parts=8, batch_rows=200)
        planned = source.partitions()
        assert len(planned) == 8
        reading = [source.read(part) for part in planned]
        seen: Counter[int] = Counter()
        step, size = 0, 150_000 if first == "shrink" else 0
        growing = first == "grow"
        while reading:
            for batches in list(reading):
                batch = next(batches, None)
                if batch is None:
                    reading.remove(batches)
                    continue
                seen.update(batch.column("n").to_pylist())
            step += 1
            if growing:
                put(server, other, range(size, size + 30_000))
                size += 30_000
            elif size:
                drop(server, other, range(size - 30_000, size))
                size -= 30_000
            if size in (0, 150_000):
                growing = not growing
        assert step > 5, "the table was not resized often enough while it was read"
    assert set(seen) == set(stable), "a key that was there throughout was missed"
    assert max(seen.values()) <= 2


@pytest.mark.slow
def test_no_key_is_missed_beside_a_writer_at_full_speed(server: Server, table: str) -> None:
    stable, other = range(30_000), f"z{table}"
    put(server, table, stable)
    stop = threading.Event()

    def churn() -> None:
        with redis.Redis.from_url(server.url) as raw:
            mine = Server(server.name, server.url, raw, server.private)
            while not stop.is_set():
                put(mine, other, range(100_000))
                drop(mine, other, range(100_000))

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        with open_store(server.url, scan_count=300) as store:
            source = store.source(table, schema=SCHEMA, key=["id"], parts=16)
            for _ in range(15):
                found = Counter(
                    n
                    for part in source.partitions()
                    for batch in source.read(part)
                    for n in batch.column("n").to_pylist()
                )
                assert set(found) == set(stable)
                assert max(found.values()) <= 2
    finally:
        stop.set()
        writer.join()


def test_a_plan_scans_the_node_once(server: Server, table: str) -> None:
    """Eight partitions together cost the server about the SCANs of one, not eight times as many."""
    calls = []
    with open_store(server.url, scan_count=100) as store:
        store.write(table, [pa.record_batch({"id": range(20_000)})], WriteOptions(key=("id",)))
        for parts in (1, 8):
            server.raw.config_resetstat()
            source = store.source(table, parts=parts)
            plan = source.partitions()
            assert len(plan) == parts
            assert sum(b.num_rows for part in plan for b in source.read(part)) == 20_000
            calls.append(server.raw.info("commandstats")["cmdstat_scan"]["calls"])
    assert calls[1] < 1.5 * calls[0], calls


@given(st.binary(max_size=8))
def test_a_pattern_matches_its_prefix_to_the_letter(prefix: bytes) -> None:
    r"""Checked against the glob rules of the server's documentation: ``\\`` makes a character plain."""
    pattern = escaped(prefix) + b"*"
    assert pattern.endswith(b"*")
    plain, i = b"", 0
    while i < len(pattern) - 1:
        assert pattern[i : i + 1] not in (b"*", b"?", b"[")
        i += pattern[i : i + 1] == b"\\"
        plain += pattern[i : i + 1]
        i += 1
    assert plain == prefix


def test_a_table_whose_name_is_a_pattern_is_only_itself(server: Server, table: str) -> None:
    for name in (f"{table}[a]*?", f"{table}a1", f"{table}\\"):
        server.raw.hset(f"{name}:1", "n", 1)
    with open_store(server.url) as store:
        for name in (f"{table}[a]*?", f"{table}\\"):
            source = store.source(name, schema=SCHEMA, key=["id"])
            assert [b.num_rows for p in source.partitions() for b in source.read(p)] == [1]


@pytest.fixture
def counting_cursors() -> Iterator[str]:
    """A server with many keys whose cursors are plain counters, as a proxy in front of nodes has."""

    def answer(client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            while line := lines.readline():
                words = []
                for _ in range(int(line[1:])):
                    words.append(lines.read(int(lines.readline()[1:]) + 2)[:-2].upper())
                if words[0] == b"DBSIZE":
                    client.sendall(b":1000000\r\n")
                elif words[0] == b"SCAN":
                    cursor = b"%d" % (int(words[1]) + 1)
                    client.sendall(b"*2\r\n$%d\r\n%b\r\n*0\r\n" % (len(cursor), cursor))
                else:
                    client.sendall(b"+OK\r\n")

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_server_with_other_cursors_is_planned_whole(counting_cursors: str) -> None:
    with redis.Redis.from_url(counting_cursors, protocol=2) as client:
        assert node_ranges(client, 8) == [CursorRange(0)]


def test_a_plan_does_not_outlive_its_server(table: str) -> None:
    """A restarted server draws another seed: the old ranges would lose and repeat rows."""
    rows = pa.table({"id": [str(i) for i in range(5000)], "n": range(5000)}).to_batches()
    with serve() as first, open_store(first.url) as store:
        store.write(table, rows, WriteOptions(key=("id",)))
        plan = store.source(table, parts=4).partitions()
        assert len(plan) == 4
    with serve() as second, open_store(second.url) as store:
        store.write(table, rows, WriteOptions(key=("id",)))
        source = store.source(table, parts=4)
        with pytest.raises(PlanExpiredError, match="plan again"):
            list(source.read(plan[0]))
        assert (
            sum(batch.num_rows for part in source.partitions() for batch in source.read(part))
            == 5000
        )
