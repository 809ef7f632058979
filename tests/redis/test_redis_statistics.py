"""How large tables in Redis are, and how partitions are counted: what is asked, and what is answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
import redis
from servers import Server
from topology import Cluster, with_user

from connector import SchemaError, StoreSource, WriteOptions, open_store
from connector.statistics import Statistics

BY_ID = WriteOptions(key=("id",))
READING = {"hmget", "hgetall", "hlen", "get", "strlen", "xrange", "lrange", "smembers", "zrange"}


@dataclass(frozen=True)
class Place:
    """Servers under test.

    Attributes:
        url: of the server, or of a node.
        nodes: a raw client of each server that holds keys.
        raw: a raw client of all of them.
    """

    url: str
    nodes: list[redis.Redis]
    raw: Any

    def reset(self) -> None:
        for node in self.nodes:
            node.config_resetstat()

    def asked(self) -> dict[str, int]:
        """How often each command was called since ``reset``."""
        found: dict[str, int] = {}
        for node in self.nodes:
            for name, told in node.info("commandstats").items():
                command = name.removeprefix("cmdstat_")
                found[command] = found.get(command, 0) + told["calls"]
        return found

    def sent_bytes(self) -> int:
        return sum(node.info("stats")["total_net_output_bytes"] for node in self.nodes)


@pytest.fixture(params=["valkey", "redis", "cluster-valkey", "cluster-redis"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    kind, _, name = request.param.rpartition("-")
    if kind:
        cluster = request.getfixturevalue("_clusters")(name)
        cluster.clear()
        yield Place(cluster.url, [node.raw for node in cluster.primaries()], cluster.raw)
        cluster.clear()
    else:
        server = request.getfixturevalue(f"{name}_server")
        yield Place(server.url, [server.raw], server.raw)


def rows(count: int) -> pa.RecordBatch:
    ids = range(count)
    return pa.record_batch({"id": list(ids), "n": [i % 7 for i in ids], "s": ["x" * 20] * count})


ONE = pa.record_batch({"id": [*range(500)], "value": [f"v{i % 9}" for i in range(500)]})
MANY = pa.record_batch(
    {"id": [*range(500)], "value": [[f"v{j}" for j in range(1 + i % 5)] for i in range(500)]}
)
MEMBERS = pa.record_batch(
    {"id": [i // 5 for i in range(500)], "member": [f"m{i}" for i in range(500)]}
)
ENTRIES = pa.record_batch(
    {
        "id": [i % 3 for i in range(2400)],
        "_entry": [f"{i + 1}-0" for i in range(2400)],
        "n": [*range(2400)],
    }
)
MODELS = {
    "hash": rows(500),
    "json": rows(500),
    "string": ONE,
    "list": MANY,
    "set": MANY,
    "set/exploded": MEMBERS,
    "stream": ENTRIES,
    "arrow": rows(500),
}


def written(place: Place, table: str, model: str, **options: Any) -> StoreSource:
    name, _, exploded = model.partition("/")
    if exploded:
        options["explode"] = True
    store = open_store(place.url, model=name, arrow_rows=90, **options)
    store.write(table, [MODELS[model]], BY_ID)
    return store.source(table, parts=4)


def counted(source: StoreSource) -> int:
    return sum(source.count(part) for part in source.partitions())


def read(source: StoreSource) -> int:
    return sum(batch.num_rows for part in source.partitions() for batch in source.read(part))


def told(source: StoreSource) -> Statistics:
    found = source.statistics()
    assert found is not None
    return found


@pytest.mark.parametrize("model", MODELS)
def test_rows_of_every_model_are_counted_and_told(place: Place, table: str, model: str) -> None:
    source = written(place, table, model)
    with source.store:
        assert counted(source) == read(source) == MODELS[model].num_rows
        found = told(source)
        assert (found.rows, found.exact) == (MODELS[model].num_rows, True)
        assert [*found.column_bytes] == source.schema.names
        assert min(found.column_bytes.values()) > 0


@pytest.mark.parametrize(
    ("model", "may"),
    [
        ("hash", {"hlen"}),
        ("string", {"strlen"}),
        ("list", set()),
        ("stream", set()),
        ("arrow", set()),
    ],
)
def test_counting_reads_no_value(place: Place, table: str, model: str, may: set[str]) -> None:
    source = written(place, table, model)
    with source.store:
        parts = source.partitions()
        place.reset()
        assert sum(map(source.count, parts)) == MODELS[model].num_rows
        assert READING.intersection(place.asked()) == may
        assert read(source)
        assert READING.intersection(place.asked()) > may  # the witness sees what reading asks


def test_keys_listed_by_type_are_not_asked_for(server: Server, table: str) -> None:
    place = Place(server.url, [server.raw], server.raw)
    source = written(place, table, "hash", filter_keys_by_type=True)
    server.raw.set(f"{table}:text", "no hash")
    with source.store:
        place.reset()
        assert counted(source) == 500
        assert not READING.intersection(place.asked())
        assert read(source) == 500


@pytest.mark.parametrize("by_type", [False, True])
def test_documents_are_counted_and_told(module_server: Server, table: str, by_type: bool) -> None:
    place = Place(module_server.url, [module_server.raw], module_server.raw)
    source = written(place, table, "json", filter_keys_by_type=by_type)
    with source.store:
        place.reset()
        assert counted(source) == read(source) == 500
        assert place.asked().get("json.type", 0) == (0 if by_type else 500)
        assert told(source).rows == 500


def test_an_entry_that_is_deleted_is_not_counted(server: Server, table: str) -> None:
    source = written(Place(server.url, [server.raw], server.raw), table, "stream")
    server.raw.xdel(f"{table}:1", "2-0", "5-0")
    server.raw.xtrim(f"{table}:2", maxlen=0)
    with source.store:
        assert counted(source) == read(source) == 2400 - 2 - 800
        assert told(source).rows == 2400 - 2 - 800


def test_keys_of_other_types_are_counted_as_they_are_read(place: Place, table: str) -> None:
    source = written(place, table, "hash")
    place.raw.set(f"{table}:7777", "no hash")
    place.raw.rpush(f"{table}:7778", "no hash")
    with source.store, pytest.raises(SchemaError, match=r"on\.bad\.key"):
        counted(source)
    with open_store(place.url, on_bad_key="skip") as store:
        source = store.source(table, parts=4)
        assert counted(source) == read(source) == 500
        assert store.counts.bad_keys == 4  # type: ignore[attr-defined]  # by each of the two
        assert told(source).rows == 500
    assert told(source).rows == 500


def test_rows_that_a_bad_value_leaves_out_are_not_counted(place: Place, table: str) -> None:
    written(place, table, "hash").store.close()
    for i in range(0, 100, 2):
        place.raw.hset(f"{table}:{i}", "n", "no number")
    with open_store(place.url, on_bad_field="drop") as store:
        source = store.source(table, parts=4)
        assert counted(source) == read(source) == 450
        assert counted(store.source(table, columns=["s"], parts=4)) == 500
        wanted = store.source(table, filter="s IS NOT NULL", parts=4)
        assert counted(wanted) == read(wanted) == 450
        assert not told(source).exact
    with open_store(place.url) as store:  # nothing fails for a value that is not asked for
        assert told(store.source(table)).rows == 500


def test_rows_that_expired_are_not_counted(place: Place, table: str) -> None:
    source = written(place, table, "hash")
    for i in range(200):
        place.raw.pexpire(f"{table}:{i}", 1)
    with source.store:
        assert counted(source) == read(source) == 300
        assert told(source).rows == 300


def test_a_few_rows_among_many_keys_are_not_missed(place: Place, table: str) -> None:
    with open_store(place.url) as store:
        store.write(f"{table}x", [rows(20_000)], BY_ID)
        store.write(table, [rows(10)], BY_ID)
        found = told(store.source(table))
        assert 10 <= found.rows <= 400
        assert not found.exact
        assert found.column_bytes["s"] > 20


def test_rows_are_told_as_the_servers_list_them(place: Place, table: str) -> None:
    with open_store(place.url) as store:
        store.write(f"{table}x", [rows(8_000)], BY_ID)
        store.write(table, [rows(5_000)], BY_ID)
        place.reset()
        found = told(store.source(table, schema=store.schema(table)))
        commands = place.asked()
        listed = sum(1 for _ in place.raw.scan_iter(match=f"{table}:*", count=5000))
        assert 0.7 * listed <= found.rows <= 2 * listed
        assert commands.get("scan", 0) == 16
        assert commands["hmget"] <= 100


def test_only_keys_that_match_the_pattern_are_told(place: Place, table: str) -> None:
    with open_store(place.url) as store:
        store.write(table, [rows(8_000)], BY_ID)
    with open_store(place.url, keys_pattern=f"{table}:[1-3]*") as store:
        source = store.source("any", parts=4)
        listed = sum(1 for i in range(8_000) if str(i)[0] in "123")
        assert counted(source) == listed
        assert 0.7 * listed <= told(source).rows <= 2 * listed


def test_rows_are_told_of_the_chosen_database(server: Server, table: str) -> None:
    with open_store(server.url) as store:
        store.write(table, [rows(6_000)], BY_ID)
    with open_store(server.url.removesuffix("/0") + "/3") as store:
        store.write(table, [rows(70)], BY_ID)
        found = told(store.source(table))
        store.drop(table)
    assert (found.rows, found.exact) == (70, True)


def test_many_keys_of_several_rows_tell_nothing(place: Place, table: str) -> None:
    source = written(place, table, "stream")
    with source.store as store, open_store(place.url) as other:
        other.write(f"{table}x", [rows(5_000)], BY_ID)
        assert source.statistics() is None
        assert counted(store.source(table)) == 2400


def test_large_values_are_not_all_fetched(place: Place, table: str) -> None:
    batch = pa.record_batch({"id": [*range(60)], "blob": [bytes(1 << 20)] * 60})
    with open_store(place.url) as store:
        store.write(table, [batch], BY_ID)
        source = store.source(table)
        before = place.sent_bytes()
        found = told(source)
        assert place.sent_bytes() - before < 12 << 20
    assert found.column_bytes["blob"] == pytest.approx(1 << 20, rel=0.01)


@pytest.mark.parametrize("name", ["{{u}}{}", "{}"])
def test_rows_that_share_a_slot_are_not_missed(
    redis_cluster: Cluster, table: str, name: str
) -> None:
    """By a table's hash tag, or by that of its rows' names."""
    table, other = name.format(table), f"{table}x"
    keys = [f"{{u}}{i}" for i in range(6_000)]
    batch = pa.record_batch({"id": keys, "n": [*range(6_000)]})
    with open_store(redis_cluster.url) as store:
        store.write(other, [rows(6_000)], BY_ID)
        store.write(table, [batch], BY_ID)
        source = store.source(table)
        assert counted(source) == 6_000
        assert 0.7 * 6_000 <= told(source).rows <= 2 * 6_000
        assert 0.7 * 6_000 <= told(store.source(other)).rows <= 2 * 6_000


@pytest.mark.parametrize("count", [2_000, 6_000])
def test_rows_that_moved_are_not_missed(redis_cluster: Cluster, table: str, count: int) -> None:
    table = f"{{u}}{table}"
    with open_store(redis_cluster.url) as store:
        store.write(table, [rows(count)], BY_ID)
        source = store.source(table)
        assert told(source).rows >= count
        slot = redis_cluster.raw.keyslot(f"{table}:1")
        owner = redis_cluster.owner(slot)
        redis_cluster.move_slot(slot, next(n for n in redis_cluster.primaries() if n is not owner))
        assert 0.7 * count <= told(source).rows <= 2 * count
        redis_cluster.move_slot(slot, owner)


@pytest.mark.parametrize("lacking", ["-dbsize", "-scan", "-hmget"])
def test_who_may_not_ask_is_told_nothing(server: Server, lacking: str) -> None:
    with open_store(server.url) as store:
        store.write("flights", [rows(5_000)], BY_ID)
        schema = store.schema("flights")
    may = ("%R~flights:*", "+@read", "+scan")
    with with_user(server, "reader", "pw", *may) as url, open_store(url) as store:
        assert told(store.source("flights", schema=schema)).rows >= 5_000
    with with_user(server, "reader", "pw", *may, lacking) as url, open_store(url) as store:
        assert store.source("flights", schema=schema).statistics() is None


def test_who_may_not_count_slots_is_told_nothing(redis_cluster: Cluster) -> None:
    with open_store(redis_cluster.url) as store:
        store.write("flights", [rows(5_000)], BY_ID)
        schema = store.schema("flights")
    may = ("%R~flights:*", "+@read", "+cluster|slots", "+cluster|getkeysinslot")
    for node in redis_cluster.nodes:
        node.raw.execute_command("ACL SETUSER", "reader", "on", ">pw", *may)
    try:
        login = {"username": "reader", "password": "pw"}
        with open_store(redis_cluster.url, **login) as store:
            source = store.source("flights", schema=schema)
            assert source.statistics() is None
            assert counted(source) == 5_000
            for node in redis_cluster.nodes:
                node.raw.execute_command("ACL SETUSER", "reader", "+cluster|countkeysinslot")
            assert told(source).rows >= 5_000
    finally:
        for node in redis_cluster.nodes:
            node.raw.acl_deluser("reader")
