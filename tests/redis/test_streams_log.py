"""Streams read batch by batch from real servers, a raw client adding, trimming and deleting."""

from __future__ import annotations

import logging
import pickle
import re
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from proxy import proxied
from servers import Server
from topology import Cluster

from connector import SchemaError, StoreError
from connector.redis.options import RedisOptions
from connector.redis.streams.ids import EntryId
from connector.redis.streams.log import StreamLog, StreamNames
from connector.redis.streams.state import Position
from connector.scan import Scan

SCHEMA = pa.schema([("_id", pa.string()), ("_entry", pa.string()), ("n", pa.int64())])


@pytest.fixture(params=["valkey", "redis", "cluster"])
def place(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """A raw client of some servers, and their URL."""
    if request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("_clusters")("redis")
        cluster.clear()
        return cluster.raw, cluster.url
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server.raw, server.url


def opened(
    url: str, *keys: str, start: str | EntryId = "earliest", fail: bool = True, **options: Any
) -> StreamLog:
    given = RedisOptions(url=url, **options)
    return StreamLog(
        StreamNames(None, keys), given, dict.fromkeys(keys, start), fail_on_data_loss=fail
    )


def add(raw: Any, key: str, numbers: range) -> None:
    with raw.pipeline(transaction=False) as pipeline:
        for n in numbers:
            pipeline.xadd(key, {"n": n}, id=f"{1000 + n // 7}-{n % 7 + 1}")
        pipeline.execute()


def read(log: StreamLog, end: dict[str, Position], parts: int = 4) -> list[tuple[str, int]]:
    scan = Scan("streams", SCHEMA, ("_id",))
    planned = pickle.loads(pickle.dumps(log.partitions(end, parts)))
    batches = [batch for part in planned for batch in log.read(scan, part)]
    return sorted((row["_id"], row["n"]) for batch in batches for row in batch.to_pylist())


def rows(key: str, numbers: range) -> list[tuple[str, int]]:
    return [(key, n) for n in numbers]


def test_batches_follow_each_other_without_gap_or_repeat(
    place: tuple[Any, str], table: str
) -> None:
    raw, url = place
    a, b = f"{table}a", f"{table}b"
    log = opened(url, a, b)
    at = log.begin()
    add(raw, a, range(5000))
    one = log.advance(at)
    add(raw, a, range(5000, 6000))
    add(raw, b, range(10))
    two = log.advance(one)
    assert read(log, one) == rows(a, range(5000))
    assert read(log, two) == [*rows(a, range(5000, 6000)), *rows(b, range(10))]
    assert log.advance(two) == two
    assert {key: end.added for key, end in two.items()} == {a: 6000, b: 10}


def test_a_batch_is_read_again_as_it_was(place: tuple[Any, str], table: str) -> None:
    raw, url = place
    add(raw, table, range(4000))
    log = opened(url, table)
    end = log.advance(log.begin())
    planned = log.partitions(end, 3)
    assert len(planned) == 3
    add(raw, table, range(4000, 9000))
    again = {key: Position.from_json(found.to_json()) for key, found in end.items()}
    assert opened(url, table, start="latest").partitions(again, 3) == planned
    assert read(log, again, 3) == rows(table, range(4000))


@pytest.mark.parametrize("pipeline_size", [1, 3, 2048])
def test_pages_join(redis_server: Server, table: str, pipeline_size: int) -> None:
    add(redis_server.raw, table, range(50))
    log = opened(redis_server.url, table, max_pipeline_size=pipeline_size)
    assert read(log, log.advance(log.begin())) == rows(table, range(50))


def test_limits_are_kept_to_the_entry(place: tuple[Any, str], table: str) -> None:
    raw, url = place
    add(raw, table, range(1000))
    log = opened(url, table)
    at, found = log.begin(), []
    while (end := log.advance(at, limit=300)) != at:
        found.append([n for _, n in read(log, end)])
        assert end[table].added == sum(map(len, found))
        at = end
    assert list(map(len, found)) == [300, 300, 300, 100]
    assert [n for batch in found for n in batch] == list(range(1000))


def test_several_streams_share_a_limit(place: tuple[Any, str], table: str) -> None:
    raw, url = place
    keys = [f"{table}{i}" for i in range(3)]
    for i, key in enumerate(keys):
        add(raw, key, range(100 * (i + 1)))
    log = opened(url, *keys)
    at, sizes, found = log.begin(), [], []
    while (end := log.advance(at, limit=60)) != at:
        some = read(log, end)
        sizes.append(len(some))
        found += some
        at = end
    assert sizes == [60] * 10
    assert sorted(found) == [
        row for i, key in enumerate(keys) for row in rows(key, range(100 * (i + 1)))
    ]


def test_where_a_new_reader_begins(place: tuple[Any, str], table: str) -> None:
    raw, url = place
    add(raw, table, range(70))
    late = opened(url, table, start="latest")
    at = late.begin()
    add(raw, table, range(70, 77))
    assert read(late, late.advance(at)) == rows(table, range(70, 77))
    after = opened(url, table, start=EntryId.parse("1009-7"))
    assert read(after, after.advance(after.begin())) == rows(table, range(70, 77))


def test_an_end_that_was_set_is_not_passed(place: tuple[Any, str], table: str) -> None:
    raw, url = place
    add(raw, table, range(100))
    log = opened(url, table, f"{table}new")
    at, upto = log.begin(), log.states()
    add(raw, table, range(100, 200))
    add(raw, f"{table}new", range(5))
    end = log.advance(at, upto=upto)
    assert read(log, end) == rows(table, range(100))
    assert log.advance(end, upto=upto) == end
    rest = log.advance(end)
    assert len(read(log, rest)) == 105


def trimmed(raw: Any, key: str) -> None:
    raw.xtrim(key, minid="1010-1", approximate=False)


def deleted(raw: Any, key: str) -> None:
    raw.xdel(key, "1008-3", "1009-3")


@pytest.mark.parametrize(
    ("how", "left", "said"),
    [
        (
            trimmed,
            range(70, 100),
            r"lost entries behind 1007-1, the first one left is 1010-1: 20 entries",
        ),
        (deleted, range(50, 100), r"lost entries behind 1007-1 by XDEL, 1009-3 among them"),
    ],
)
def test_entries_that_went_unread_are_told(
    place: tuple[Any, str],
    table: str,
    caplog: pytest.LogCaptureFixture,
    how: Any,
    left: range,
    said: str,
) -> None:
    raw, url = place
    add(raw, table, range(50))
    log = opened(url, table)
    at = log.advance(log.begin())
    add(raw, table, range(50, 100))
    how(raw, table)
    with pytest.raises(
        StoreError, match=rf"stream '{table}' .*{said}.*fail\.on\.data\.loss"
    ) as error:
        log.advance(at)
    assert "\n" not in str(error.value)
    lenient = opened(url, table, fail=False)
    with caplog.at_level(logging.WARNING):
        end = lenient.advance(at)
    gone = {58, 65} if how is deleted else set()
    assert read(lenient, end) == [row for row in rows(table, left) if row[1] not in gone]
    assert [record for record in caplog.records if re.search(said, record.message)]
    caplog.clear()
    assert lenient.advance(end) == end
    assert not caplog.records


def test_trimming_what_was_read_is_no_loss(place: tuple[Any, str], table: str) -> None:
    raw, url = place
    log = opened(url, table)
    at = log.begin()
    for first in range(0, 300, 100):
        add(raw, table, range(first, first + 100))
        at = log.advance(at)
        assert read(log, at) == rows(table, range(first, first + 100))
        raw.xtrim(table, maxlen=0)
    raw.xdel(table, "1000-1")
    assert log.advance(at) == at


@pytest.mark.parametrize("numbers", [range(40), range(200, 240), range(200, 400)])
def test_a_stream_made_anew_is_told(place: tuple[Any, str], table: str, numbers: range) -> None:
    raw, url = place
    add(raw, table, range(100))
    log = opened(url, table)
    at = log.advance(log.begin())
    raw.delete(table)
    assert log.advance(at) == at
    add(raw, table, numbers)
    with pytest.raises(StoreError, match=rf"stream '{table}' .*was deleted and made anew"):
        log.advance(at)
    lenient = opened(url, table, fail=False)
    assert read(lenient, lenient.advance(at)) == rows(table, numbers)
    found: list[tuple[str, int]] = []
    while (end := lenient.advance(at, limit=30)) != at:
        found += read(lenient, end)
        at = end
    assert found == rows(table, numbers)


@pytest.mark.parametrize("upto", ["1000-2", "1050-1"])
def test_a_batch_that_lost_entries_before_it_was_read_fails(
    place: tuple[Any, str], table: str, upto: str
) -> None:
    raw, url = place
    add(raw, table, range(3000))
    log = opened(url, table)
    end = log.advance(log.begin())
    planned = log.partitions(end, 1)
    raw.xtrim(table, minid=upto, approximate=False)
    with pytest.raises(StoreError, match="lost entries from 1000-1 on"):
        log.partitions(end, 1)
    scan = Scan("streams", SCHEMA, ("_id",))
    with pytest.raises(StoreError, match="lost entries from 1000-1 on"):
        list(log.read(scan, planned[0]))
    lenient = opened(url, table, fail=False)
    left = sum(batch.num_rows for batch in lenient.read(scan, planned[0]))
    assert left == raw.xlen(table) < 3000


def test_trimming_between_two_pages_is_noticed(redis_server: Server, table: str) -> None:
    raw = redis_server.raw
    add(raw, table, range(3000))
    log = opened(redis_server.url, table, max_pipeline_size=100)
    planned = log.partitions(log.advance(log.begin()), 1)
    with closing(log.read(Scan("s", SCHEMA, ("_id",), batch_rows=100), planned[0])) as batches:  # type: ignore[type-var]
        next(batches)
        raw.xtrim(table, maxlen=10, approximate=False)
        with pytest.raises(StoreError, match="lost entries from"):
            list(batches)


def test_a_group_follows_and_never_goes_back(place: tuple[Any, str], table: str) -> None:
    raw, url = place
    add(raw, table, range(100))
    log = opened(url, table, f"{table}none")
    begin = log.begin()
    one = log.advance(begin, limit=30)
    log.acknowledge("g", begin)
    log.acknowledge("g", one)
    (group,) = raw.xinfo_groups(table)
    assert (group["last-delivered-id"].decode(), group["lag"]) == (str(one[table].id), 70)
    assert group["pending"] == 0
    log.acknowledge("g", begin)
    assert raw.xinfo_groups(table) == [group]
    assert not raw.exists(f"{table}none")


def test_keys_of_other_types_are_told(redis_server: Server, table: str) -> None:
    redis_server.raw.set(table, "text")
    with pytest.raises(SchemaError, match=f"key '{table}' holds no stream"):
        opened(redis_server.url, table).begin()


def test_streams_of_a_table_are_named_without_its_prefix(
    place: tuple[Any, str], table: str
) -> None:
    raw, url = place
    add(raw, f"{table}:x", range(10))
    names = StreamNames(table, ("x", "y"))
    start = dict.fromkeys(("x", "y"), "earliest")
    log = StreamLog(names, RedisOptions(url=url), start, fail_on_data_loss=True)
    assert read(log, log.advance(log.begin())) == rows("x", range(10))


def test_a_server_that_goes_is_an_error_in_time(redis_server: Server, table: str) -> None:
    add(redis_server.raw, table, range(20_000))
    with proxied(redis_server.url) as proxy:
        log = opened(proxy.url, table, timeout_seconds=5)
        planned = log.partitions(log.advance(log.begin()), 1)
        with closing(log.read(Scan("s", SCHEMA, ("_id",)), planned[0])) as batches:  # type: ignore[type-var]
            next(batches)
            proxy.tamper = lambda data, _: None
            with pytest.raises(StoreError, match="reading partition 0"):
                list(batches)


def test_a_stream_that_moves_to_another_node_is_read_on(redis_cluster: Cluster, table: str) -> None:
    raw = redis_cluster.raw
    add(raw, table, range(6000))
    log = opened(redis_cluster.url, table)
    planned = log.partitions(log.advance(log.begin()), 1)
    slot = raw.keyslot(table)
    owner = raw.get_node_from_key(table).port
    to = next(node for node in redis_cluster.primaries() if node.port != owner)
    got = []
    with closing(log.read(Scan("s", SCHEMA, ("_id",), batch_rows=100), planned[0])) as batches:  # type: ignore[type-var]
        for i, batch in enumerate(batches):
            got += batch.column("n").to_pylist()
            if i == 3:
                redis_cluster.move_slot(slot, to=to)
    assert got == list(range(6000))
    assert read(log, log.advance(log.begin())) == rows(table, range(6000))
