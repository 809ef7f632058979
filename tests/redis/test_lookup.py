"""Looking up rows of hashes: what is asked of the server, and what is kept of its answers."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
import redis
from proxy import proxied
from servers import Server, installed
from topology import Cluster, sentinels, tls_server

from connector import OptionError, SchemaError, StoreTimeoutError, WriteOptions, open_store
from connector.embedded import serve
from connector.redis.caching import LookupCache
from connector.redis.store import RedisStore

BY_ID = WriteOptions(key=("id",))
COLUMNS = ["text", "number"]
ROWS = pa.table(
    {
        "id": range(1000),
        "text": [None if i % 7 == 3 else f"text {i}\r\n" for i in range(1000)],
        "number": [None if i % 5 == 2 else i / 4 for i in range(1000)],
    }
)


def opened(url: str, **options: Any) -> RedisStore:
    store = open_store(url, **options)
    assert isinstance(store, RedisStore)
    return store


def kept(store: RedisStore) -> LookupCache:
    assert store.lookup_cache is not None
    return store.lookup_cache


def hmgets(raw: redis.Redis) -> int:
    found: dict[str, Any] = raw.info("commandstats")
    return int(found.get("cmdstat_hmget", {"calls": 0})["calls"])


def soon(holds: Callable[[], bool]) -> None:
    """Wait until it holds: an invalidation may come a moment after the change that it tells of."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def caching(server: Server, table: str) -> Iterator[RedisStore]:
    """A store that keeps up to 500 rows, of a table with ROWS in it."""
    with opened(server.url, lookup_cache_rows=500) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        yield store


@pytest.mark.parametrize("cache_rows", [0, 50, 10_000])
def test_any_keys_in_any_order(server: Server, table: str, cache_rows: int) -> None:
    expected = {row["id"]: row for row in ROWS.to_pylist()}
    chance = random.Random(cache_rows)
    with opened(server.url, lookup_cache_rows=cache_rows, max_pipeline_size=100) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        for _ in range(100):
            keys = [chance.randrange(-50, 1050) for _ in range(chance.choice([1, 2, 90, 700]))]
            columns = chance.choice([None, ["number"], ["text", "number"], ["number", "text"], []])
            found = store.lookup(table, keys, columns).to_pylist()
            names = columns or (ROWS.column_names[1:] if columns is None else [])
            assert [row["id"] for row in found] == keys
            for row in found:
                there = expected.get(row["id"], {})
                assert list(row) == ["id", *names]
                assert all(row[name] == there.get(name) for name in names)


def test_a_key_that_stands_twice_is_fetched_once(server: Server, table: str) -> None:
    with opened(server.url) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        store.lookup(table, [1])
        before = hmgets(server.raw)
        found = store.lookup(table, [5, 7, 5, 5, -1, -1], COLUMNS)
        assert hmgets(server.raw) - before == 3
        assert found.column("number").to_pylist() == [1.25, None, 1.25, 1.25, None, None]


def test_a_lookup_asks_for_nothing_but_the_rows(server: Server, table: str) -> None:
    with opened(server.url) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        store.lookup(table, [1])
        before = server.raw.info("stats")["total_commands_processed"]
        store.lookup(table, list(range(-10, 90)))
        after = server.raw.info("stats")["total_commands_processed"]
        assert after - before <= 100 + 1  # and the INFO of this test


@pytest.mark.parametrize("cache_rows", [0, 100])
def test_types_are_decoded_as_a_read_does(server: Server, table: str, cache_rows: int) -> None:
    rows = pa.table(
        {
            "a": ["x", "y:z", "x"],
            "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
            "words": [["p", "q"], [], None],
            "other": pa.array([[1.5], [2.5, 3.5], None], pa.list_(pa.float32())),
            "flag": [True, None, False],
            "b": [1, 2, 3],
            "again": pa.array([None, [7.0, 8.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
            "raw": [b"\x00\r\n", b"", None],
        }
    )
    with opened(server.url, lookup_cache_rows=cache_rows) as store:
        store.write(table, rows.to_batches(), WriteOptions(key=("b", "a")))
        for _ in range(2):
            found = store.lookup(table, [(3, "x"), (1, "x"), (9, "x"), (2, "y:z")])
            assert found.column_names == ["b", "a", *store.schema(table).names[1:5], "again", "raw"]
            there = found.take([1, 3, 0]).select(rows.column_names)
            assert there.to_pylist() == rows.to_pylist()
            assert set(found.to_pylist()[2].values()) == {9, "x", None}


@pytest.mark.parametrize("cache_rows", [0, 100])
def test_what_is_out_of_the_ordinary_is_as_in_a_read(
    server: Server, table: str, cache_rows: int
) -> None:
    options = {"lookup_cache_rows": cache_rows}
    with opened(server.url, **options) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        server.raw.hset(f"{table}:4", "number", "four")
        with pytest.raises(Exception, match="'number' of key .* holds b'four'"):
            store.lookup(table, [3, 4])
        server.raw.delete(f"{table}:5")
        server.raw.rpush(f"{table}:5", "no hash")
        with pytest.raises(SchemaError, match="1 of 2 keys were refused"):
            store.lookup(table, [5, 6])
        assert store.lookup(table, [6]).column("number").to_pylist() == [1.5]
    with opened(server.url, **options, on_bad_field="null", on_bad_key="skip") as store:
        assert store.lookup(table, [3, 4, 5], ["number"]).column(1).to_pylist() == [
            0.75,
            None,
            None,
        ]
        assert store.lookup(table, [6], ["__ttl", "number"]).to_pylist() == [
            {"id": 6, "__ttl": None, "number": 1.5}
        ]


def test_a_null_where_none_may_be_is_told_from_a_row_that_is_not_there(
    server: Server, table: str
) -> None:
    schema = pa.schema([("id", pa.int64()), pa.field("must", pa.int64(), nullable=False)])
    rows = pa.record_batch({"id": [1, 2], "must": [1, 2]}, schema=schema)
    with opened(server.url) as store:
        store.write(table, [rows], BY_ID)
        if store.schema(table).field("must").nullable:
            pytest.skip("saved schemas have nullable columns alone")
        assert store.lookup(table, [1, 3]).column("must").to_pylist() == [1, None]
        server.raw.hset(f"{table}:2", "other", "x")
        server.raw.hdel(f"{table}:2", "must")
        with pytest.raises(SchemaError, match="has no field 'must'"):
            store.lookup(table, [1, 2])


def test_a_cluster_is_asked_by_node(redis_cluster: Cluster, table: str) -> None:
    with opened(redis_cluster.url, max_pipeline_size=100) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
        keys = list(range(-5, 1000))
        random.Random(0).shuffle(keys)
        found = store.lookup(table, [*keys, *keys[:10]], COLUMNS)
        there = {row["id"]: row for row in ROWS.to_pylist()}
        nothing = {"text": None, "number": None}
        expected = [there.get(key, {"id": key, **nothing}) for key in [*keys, *keys[:10]]]
        assert found.to_pylist() == expected
    with (
        opened(redis_cluster.url, lookup_cache_rows=10) as store,
        pytest.raises(OptionError, match=r"lookup\.cache\.rows.*cluster"),
    ):
        store.lookup(table, [1])


def test_rows_of_other_models_are_not_kept(server: Server, table: str) -> None:
    with opened(server.url, model="list") as store:
        store.write(table, [pa.record_batch({"id": [1], "v": [["a"]]})], BY_ID)
    with (
        opened(server.url, lookup_cache_rows=10) as store,
        pytest.raises(OptionError, match=r"lookup\.cache\.rows.*model 'list'"),
    ):
        store.lookup(table, [1])


def test_rows_are_kept_until_they_change(caching: RedisStore, server: Server, table: str) -> None:
    first = caching.lookup(table, range(100))
    before = hmgets(server.raw)
    assert caching.lookup(table, range(100)).equals(first)
    assert hmgets(server.raw) == before
    cache = kept(caching)
    assert (cache.hits, cache.misses, cache.invalidations) == (100, 100, 0)
    server.raw.hset(f"{table}:7", "number", "99.5")
    soon(lambda: caching.lookup(table, [7]).column("number").to_pylist() == [99.5])
    assert cache.invalidations == 1
    server.raw.delete(f"{table}:8")
    soon(lambda: caching.lookup(table, [8]).column("text").to_pylist() == [None])
    server.raw.pexpire(f"{table}:9", 30)
    soon(lambda: caching.lookup(table, [9]).column("text").to_pylist() == [None])
    assert hmgets(server.raw) - before <= 5  # the others were not asked for again


def test_that_there_is_no_row_is_kept_too(caching: RedisStore, server: Server, table: str) -> None:
    for _ in range(2):
        assert caching.lookup(table, [-1]).column("text").to_pylist() == [None]
    assert (kept(caching).hits, kept(caching).misses) == (1, 1)
    server.raw.hset(f"{table}:-1", "text", "new")
    soon(lambda: caching.lookup(table, [-1]).column("text").to_pylist() == ["new"])


def test_other_columns_of_a_row_that_is_kept_are_fetched_and_dropped_with_it(
    caching: RedisStore, server: Server, table: str
) -> None:
    assert caching.lookup(table, [1], ["number"]).column("number").to_pylist() == [0.25]
    assert caching.lookup(table, [1], ["text"]).column("text").to_pylist() == ["text 1\r\n"]
    assert (kept(caching).misses, len(kept(caching))) == (2, 1)
    server.raw.hset(f"{table}:1", mapping={"number": "7", "text": "new"})
    soon(lambda: caching.lookup(table, [1], ["text"]).column("text").to_pylist() == ["new"])
    assert caching.lookup(table, [1], ["number"]).column("number").to_pylist() == [7.0]


def test_a_flush_drops_all(caching: RedisStore, server: Server, table: str) -> None:
    if not server.private:
        pytest.skip("the server is not ours to empty")
    caching.lookup(table, range(100))
    server.raw.flushall()
    soon(lambda: caching.lookup(table, range(100)).column("text").null_count == 100)
    assert kept(caching).invalidations == 100


def test_no_more_rows_are_kept_than_allowed(caching: RedisStore, table: str) -> None:
    """Those asked for longest ago go: 500 came first, but is asked for again before others come."""
    cache = kept(caching)
    first = caching.lookup(table, range(1000))
    assert (len(cache), cache.misses) == (500, 1000)
    caching.lookup(table, [500])
    caching.lookup(table, range(-100, 0))
    assert (len(cache), cache.hits, cache.misses) == (500, 1, 1100)
    caching.lookup(table, [500])
    assert cache.hits == 2
    caching.lookup(table, [501])
    assert cache.misses == 1101
    assert caching.lookup(table, range(1000)).equals(first)
    assert len(cache) == 500


_SLOW_DELETION = """
for i = 1, 100000000 do end
for id = ARGV[2], ARGV[3] do redis.call('DEL', ARGV[1] .. ':' .. id) end
"""


def test_a_crowd_of_invalidations_before_a_reply(server: Server, table: str) -> None:
    """A lookup is sent while a script runs that deletes thousands of rows: their pushes come first."""
    keys = range(10_000, 14_000)
    rows = pa.record_batch({"id": keys, "text": ["x"] * len(keys)})
    with opened(server.url, lookup_cache_rows=5000) as store:
        store.write(table, [rows], BY_ID)
        assert store.lookup(table, keys).column("text").null_count == 0
        deletion = (_SLOW_DELETION, 0, table, keys[0], keys[-1])
        thread = threading.Thread(target=server.raw.eval, args=deletion)
        thread.start()
        time.sleep(0.05)
        found = store.lookup(table, [-7, keys[0]])
        assert kept(store).invalidations == len(keys)
        thread.join()
        assert found.column("text").to_pylist() == [None, "x"]  # as it was when it was asked for
        assert store.lookup(table, keys).column("text").null_count == len(keys)


@pytest.mark.parametrize("kind", ["tracking", "all"])
def test_a_connection_that_breaks_takes_what_was_kept_with_it(
    caching: RedisStore, server: Server, table: str, kind: str
) -> None:
    caching.lookup(table, range(100))
    mine = server.raw.client_id()
    clients = server.raw.client_list()
    tracking = [each["id"] for each in clients if "t" in each["flags"]]
    assert len(tracking) == 1
    for each in clients:
        wanted = each["id"] in tracking if kind == "tracking" else int(each["id"]) != mine
        if wanted:
            server.raw.client_kill_filter(_id=each["id"])
    server.raw.hset(f"{table}:1", "text", "unheard of")
    assert caching.lookup(table, [1]).column("text").to_pylist() == ["unheard of"]
    server.raw.hset(f"{table}:1", "text", "heard of")
    soon(lambda: caching.lookup(table, [1]).column("text").to_pylist() == ["heard of"])
    assert kept(caching).invalidations == 1


def test_a_server_that_starts_anew(table: str) -> None:
    with serve() as first:
        store = opened(first.url, lookup_cache_rows=100)
        store.write(table, ROWS.to_batches(), BY_ID)
        store.lookup(table, range(50), COLUMNS)
        port = first.port
    with serve(port=port) as second, redis.Redis.from_url(second.url) as raw:
        raw.hset(f"{table}:1", "text", "of the second")
        found = store.lookup(table, [1, 2], COLUMNS)
        assert found.column("text").to_pylist() == ["of the second", None]
        store.close()


def test_a_child_has_a_cache_of_its_own(caching: RedisStore, server: Server, table: str) -> None:
    caching.lookup(table, range(100))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            found = caching.lookup(table, [1, 2]).column("text").to_pylist()
            right = found == ["text 1\r\n", "text 2\r\n"] and kept(caching).misses == 2
            code = 0 if right else 2
            os.write(writer, b"done")
        finally:
            os._exit(code)
    os.close(writer)
    assert os.read(reader, 4) == b"done"
    assert os.waitpid(child, 0)[1] == 0
    os.close(reader)
    assert caching.lookup(table, range(100)).num_rows == 100
    assert (kept(caching).hits, kept(caching).misses) == (100, 100)
    server.raw.hset(f"{table}:1", "text", "changed")
    soon(lambda: caching.lookup(table, [1]).column("text").to_pylist() == ["changed"])


def test_lookups_beside_writers_end_up_right(server: Server, table: str) -> None:
    """Threads look up while others write; whatever came between, quiet brings the server's view."""
    ids = range(60)
    stop = threading.Event()
    right: list[bool] = []

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with redis.Redis.from_url(server.url) as raw:
            while not stop.is_set():
                key = f"{table}:{chance.choice(ids)}"
                if chance.random() < 0.2:
                    raw.delete(key)
                else:
                    number = chance.randrange(10**6)
                    raw.hset(key, mapping={"text": str(number), "number": str(number)})

    def look_up(seed: int) -> None:
        chance = random.Random(seed)
        rows: list[dict[str, Any]] = []
        while not stop.is_set():
            keys = chance.sample(ids, chance.choice([1, 5, 40]))
            rows += store.lookup(table, keys, COLUMNS).to_pylist()
        written = [row for row in rows if row["text"] is not None and row["text"].isdigit()]
        right.append(all(float(row["text"]) == row["number"] for row in written))  # none by halves

    with opened(server.url, lookup_cache_rows=40) as store:
        store.write(table, ROWS.slice(0, 60).to_batches(), BY_ID)
        for round_number in range(4):
            stop.clear()
            work = [(write, 2 * round_number), (write, 2 * round_number + 1)]
            work += [(look_up, round_number), (look_up, round_number + 100)]
            threads = [threading.Thread(target=run, args=(seed,)) for run, seed in work]
            for thread in threads:
                thread.start()
            time.sleep(0.8)
            stop.set()
            for thread in threads:
                thread.join()
            assert right == [True, True] * (round_number + 1)
            time.sleep(0.2)
            pipeline = server.raw.pipeline()
            for key in ids:
                pipeline.hget(f"{table}:{key}", "text")
            stored = [None if text is None else text.decode() for text in pipeline.execute()]
            for start in (0, 20, 40, 0):
                found = store.lookup(table, ids[start : start + 20], COLUMNS)
                assert found.column("text").to_pylist() == stored[start : start + 20]
        cache = kept(store)
        assert len(cache) <= 40
        assert min(cache.hits, cache.misses, cache.invalidations) > 100


def test_thousands_of_lookups_against_a_dict(
    caching: RedisStore, server: Server, table: str
) -> None:
    expected: dict[int, str | None] = {i: f"text {i}\r\n" for i in range(1000) if i % 7 != 3}
    chance = random.Random(5)
    for step in range(2000):
        if step % 4 == 0:
            key = chance.randrange(1000)
            expected[key] = f"at {step}"
            server.raw.hset(f"{table}:{key}", "text", f"at {step}")
            before = caching.lookup(table, [key], ["text"])
            if before.column("text").to_pylist() != [expected[key]]:
                soon(
                    lambda key=key: (
                        caching.lookup(table, [key], ["text"]).column("text").to_pylist()
                        == [expected[key]]
                    )
                )
        keys = chance.choices(range(-20, 1000), k=chance.choice([1, 3, 30]))
        found = caching.lookup(table, keys, ["text"]).column("text").to_pylist()
        assert found == [expected.get(key) for key in keys]
    assert kept(caching).hits > 1000


def test_what_a_silent_connection_kept_is_not_answered(
    server: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers get lost, as where a machine between drops them: nobody says that rows changed."""
    monkeypatch.setattr("connector.redis.caching._QUIET_SECONDS", 0)
    with (
        proxied(server.url) as proxy,
        opened(proxy.url, lookup_cache_rows=10, timeout_seconds=0.5) as store,
    ):
        passing = proxy.tamper
        store.write(table, ROWS.to_batches(), BY_ID)
        for _ in range(2):
            assert store.lookup(table, [1, 2], ["text"]).num_rows == 2
        assert kept(store).hits == 2
        proxy.tamper = lambda data, answered: b""
        server.raw.hset(f"{table}:1", "text", "changed")
        with pytest.raises(StoreTimeoutError, match="looking up rows"):
            store.lookup(table, [1, 2], ["text"])
        proxy.tamper = passing
        found = store.lookup(table, [1, 2], ["text"])
        assert found.column("text").to_pylist() == ["changed", "text 2\r\n"]


@pytest.mark.parametrize("mode", ["tls", "unix"])
def test_however_the_server_is_reached(table: str, mode: str) -> None:
    binary = installed("redis")
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {}
        if mode == "tls":
            server = stack.enter_context(tls_server(binary))
            options = {
                "tls_ca_file": server.ca_file,
                "tls_cert_file": server.client.cert_file,
                "tls_key_file": server.client.key_file,
            }
            url = server.url
        else:
            url = stack.enter_context(serve(binary, unix_socket=True)).url
        store = stack.enter_context(opened(url, lookup_cache_rows=100, **options))
        store.write(table, ROWS.to_batches(), BY_ID)
        for _ in range(2):
            assert store.lookup(table, [1, 2], ["number"]).column("number").to_pylist() == [
                0.25,
                None,
            ]
        assert (kept(store).hits, kept(store).misses) == (2, 2)
        store.write(table, [pa.record_batch({"id": [1], "number": [7.0]})], BY_ID)
        soon(lambda: store.lookup(table, [1], ["number"]).column("number").to_pylist() == [7.0])


def test_the_cache_follows_the_master(table: str) -> None:
    with (
        sentinels(installed("redis")) as watched,
        opened(
            watched.urls[0], sentinel_master=watched.master_name, lookup_cache_rows=100
        ) as store,
    ):
        store.write(table, ROWS.to_batches(), BY_ID)
        store.lookup(table, range(100), ["text"])
        watched.await_copies()
        watched.failover()
        watched.raw().hset(f"{table}:1", "text", "of the successor")
        found = store.lookup(table, [1, 2], ["text"]).column("text").to_pylist()
        assert found == ["of the successor", "text 2\r\n"]
        watched.raw().hset(f"{table}:2", "text", "changed there")
        soon(lambda: store.lookup(table, [2], ["text"]).column(1).to_pylist() == ["changed there"])
        assert kept(store).invalidations == 1


def test_a_user_without_leave_to_track(valkey_server: Server, table: str) -> None:
    with opened(valkey_server.url) as store:
        store.write(table, ROWS.to_batches(), BY_ID)
    valkey_server.raw.execute_command(
        "ACL", "SETUSER", "looker", "on", ">pw", "~*", "+@read", "+hello"
    )
    try:
        options = {"username": "looker", "password": "pw"}
        with opened(valkey_server.url, **options) as store:
            assert store.lookup(table, [1], ["number"]).column("number").to_pylist() == [0.25]
        with (
            opened(valkey_server.url, **options, lookup_cache_rows=10) as store,
            pytest.raises(Exception, match=r"looking up rows.*no permissions.*client") as caught,
        ):
            store.lookup(table, [1])
        assert type(caught.value).__name__ == "AuthenticationError"
    finally:
        valkey_server.raw.execute_command("ACL", "DELUSER", "looker")
