"""Rows appended to streams once, whatever is sent twice, cut off, sent late, or by two at a time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from proxy import proxied
from servers import Server
from topology import Cluster

from connector import ConnectorError, StoreError, WriteRejectedError
from connector.redis.options import RedisOptions
from connector.redis.slots import key_slots
from connector.redis.streams.appending import Mark, append_rows

MARK = Mark("query", 0, 0, 1000)
Place = tuple[Any, RedisOptions]


@pytest.fixture(params=["valkey", "redis", "cluster"])
def place(request: pytest.FixtureRequest) -> Place:
    """A raw client of some servers, and how to reach them; small requests."""
    if request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("_clusters")("redis")
        cluster.clear()
        return cluster.raw, RedisOptions(url=cluster.url, max_pipeline_size=100)
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server.raw, RedisOptions(url=server.url, max_pipeline_size=100)


def numbered(numbers: range) -> pa.RecordBatch:
    texts = [None if n % 3 == 0 else f"text {n}\r\n" for n in numbers]
    return pa.record_batch({"n": list(numbers), "text": pa.array(texts, pa.string())})


def to_one(key: str, numbers: range, rows: int) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
    """Batches of some rows each, for one stream."""
    for first in range(numbers.start, numbers.stop, rows):
        batch = numbered(range(first, min(first + rows, numbers.stop)))
        yield pa.array([key.encode()] * batch.num_rows, pa.binary()), batch


def stored(raw: Any, key: str) -> list[int]:
    return [int(fields[b"n"]) for _, fields in raw.xrange(key)]


def test_rows_are_entries_in_their_order(place: Place, table: str) -> None:
    raw, options = place
    assert append_rows(table, MARK, options, to_one(table, range(250), 60)) == (250, 250)
    assert stored(raw, table) == list(range(250))
    assert [fields for _, fields in raw.xrange(table, count=2)] == [
        {b"n": b"0"},
        {b"n": b"1", b"text": b"text 1\r\n"},
    ]


@pytest.mark.parametrize("rows", [60, 7, 250])
def test_rows_that_are_sent_again_are_there_once(place: Place, table: str, rows: int) -> None:
    raw, options = place
    append_rows(table, MARK, options, to_one(table, range(150), 60))
    assert append_rows(table, MARK, options, to_one(table, range(250), rows)) == (250, 100)
    assert append_rows(table, MARK, options, to_one(table, range(250), rows)) == (250, 0)
    assert stored(raw, table) == list(range(250))


def test_parts_and_batches_are_told_apart(place: Place, table: str) -> None:
    raw, options = place
    for batch in range(3):
        for part in range(2):
            mark = replace(MARK, batch=batch, part=part)
            for _ in range(2):
                append_rows(table, mark, options, to_one(table, range(40), 30))
    assert sorted(stored(raw, table)) == sorted(6 * [*range(40)])
    other = replace(MARK, query="other")
    assert append_rows(table, other, options, to_one(table, range(5), 30)) == (5, 5)


def test_every_row_goes_to_its_stream(place: Place, table: str) -> None:
    raw, options = place
    chance = random.Random(3)
    wanted: dict[str, list[int]] = defaultdict(list)
    batches = []
    for first in range(0, 3000, 500):
        keys = [f"{table}:{{{chance.randrange(20)}}}" for _ in range(500)]
        for n, key in enumerate(keys, first):
            wanted[key].append(n)
        names = pa.array([key.encode() for key in keys], pa.binary())
        batches.append((names, numbered(range(first, first + 500))))
    assert append_rows(table, MARK, options, batches[:4]) == (2000, 2000)
    assert append_rows(table, MARK, options, batches) == (3000, 1000)
    assert {key: stored(raw, key) for key in wanted} == wanted


@pytest.mark.parametrize("key", ["plain", "tag{of}it", "}{", "a}b", "{}", "a{}b", "{a{b}"])
def test_marks_lie_in_the_slots_of_their_streams(place: Place, table: str, key: str) -> None:
    raw, options = place
    stream = f"{table}{key}".encode()
    marks = MARK.keys(pa.array([stream], pa.binary()))
    assert key_slots(marks) == key_slots(pa.array([stream], pa.binary()))
    append_rows(table, MARK, options, to_one(stream.decode(), range(3), 3))
    (mark,) = marks.to_pylist()
    assert raw.hgetall(mark) == {b"batch": b"0", b"0": b"3"}
    assert 0 < raw.ttl(mark) <= 1000


def test_marks_do_not_grow_with_batches(place: Place, table: str) -> None:
    raw, options = place
    for batch in range(20):
        for part in range(batch % 3 + 1):
            mark = replace(MARK, batch=batch, part=part)
            append_rows(table, mark, options, to_one(table, range(4), 4))
    (key,) = MARK.keys(pa.array([table.encode()], pa.binary())).to_pylist()
    assert raw.hgetall(key) == {b"batch": b"19", b"0": b"4", b"1": b"4"}


def test_a_task_of_an_older_batch_that_comes_late_is_refused(place: Place, table: str) -> None:
    raw, options = place
    append_rows(table, replace(MARK, batch=1), options, to_one(table, range(5), 5))
    with pytest.raises(WriteRejectedError, match="batch 1 has been appended already"):
        append_rows(table, MARK, options, to_one(table, range(5), 5))
    assert stored(raw, table) == list(range(5))


def test_two_attempts_at_once_append_once(place: Place, table: str) -> None:
    raw, options = place
    with ThreadPoolExecutor(3) as threads:
        runs = [
            threads.submit(append_rows, table, MARK, options, to_one(table, range(2000), rows))
            for rows in (100, 150, 37)
        ]
        found = [run.result() for run in runs]
    assert stored(raw, table) == list(range(2000))
    assert sum(new for _, new in found) == 2000


@pytest.mark.parametrize("seed", range(8))
def test_a_connection_that_is_cut_anywhere_costs_no_row(
    redis_server: Server, table: str, seed: int
) -> None:
    chance = random.Random(seed)
    keys = pa.array([f"{table}{chance.randrange(3)}".encode() for _ in range(900)], pa.binary())
    batches = [(keys.slice(i, 300), numbered(range(i, i + 300))) for i in range(0, 900, 300)]

    def cut(limit: int) -> Callable[[bytes, int], bytes | None]:
        return lambda data, before: data if before + len(data) < limit else None

    failed, done = 0, False
    while not done:
        with proxied(redis_server.url, cut(chance.randrange(200, 300) + 40 * failed)) as proxy:
            options = RedisOptions(url=proxy.url, max_pipeline_size=20)
            try:
                append_rows(table, MARK, options, batches)
                done = True
            except StoreError:
                failed += 1
    names = {
        key: [n for n, k in enumerate(keys.to_pylist()) if k == key]
        for key in set(keys.to_pylist())
    }
    assert {key: stored(redis_server.raw, key) for key in names} == names
    assert failed > 1


def test_what_the_server_refuses_is_an_error(place: Place, table: str) -> None:
    raw, options = place
    raw.set(table, "text")
    with pytest.raises(ConnectorError, match=f"appending to '{table}'.*WRONGTYPE"):
        append_rows(table, MARK, options, to_one(table, range(5), 5))
    raw.delete(table)
    assert append_rows(table, MARK, options, to_one(table, range(5), 5)) == (5, 5)


def test_a_stream_that_is_full_refuses_in_the_middle_and_goes_on(
    redis_server: Server, table: str
) -> None:
    raw, options = redis_server.raw, RedisOptions(url=redis_server.url)
    raw.xadd(table, {"n": -1}, id=f"{(1 << 64) - 1}-{(1 << 64) - 4}")
    with pytest.raises(WriteRejectedError, match="exhausted the last possible ID"):
        append_rows(table, MARK, options, to_one(table, range(5), 5))
    assert stored(raw, table) == [-1, 0, 1, 2]
    raw.delete(table)
    append_rows(table, MARK, options, to_one(table, range(5), 5))
    assert stored(raw, table) == [3, 4]


def test_rows_follow_a_stream_that_moves(redis_cluster: Cluster, table: str) -> None:
    cluster = redis_cluster
    raw, options = cluster.raw, RedisOptions(url=cluster.url, max_pipeline_size=50)
    owner = raw.get_node_from_key(table).port
    to = next(node for node in cluster.primaries() if node.port != owner)

    def batches() -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        for i, batch in enumerate(to_one(table, range(3000), 100)):
            if i == 10:
                cluster.move_slot(raw.keyslot(table), to=to)
            yield batch

    assert append_rows(table, MARK, options, batches()) == (3000, 3000)
    assert stored(raw, table) == list(range(3000))
