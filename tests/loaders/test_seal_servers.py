"""Sealing from a real server, also one that is restarted meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from servers import Server

from connector import PlanExpiredError, StoreSource, WriteOptions, open_store, read_all
from connector.embedded import serve
from loaders import ShardedSource, seal

ROWS = pa.table({"id": range(6000), "n": [i * 3 for i in range(6000)]})


def put(url: str, table: str) -> StoreSource:
    with open_store(url) as store:
        store.write(table, ROWS.to_batches(), WriteOptions(key=("id",)))
        return store.source(table, columns=["n"], parts=4)


def numbers(shards: ShardedSource) -> Counter[int]:
    return Counter(read_all(shards).column("n").to_pylist())


SHARES = {"train": 0.5, "test": 0.5}
EXPECTED = Counter(ROWS.column("n").to_pylist())


@pytest.fixture(params=["valkey", "redis", "aerospike"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of each server in turn."""
    return str(request.getfixturevalue(f"{request.param}_server").url)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_row_once_without_its_key(
    url: str, table: str, tmp_path: Path, processes: int
) -> None:
    source = put(url, table)
    shards = seal(source, cache=tmp_path, version="1", processes=processes)
    assert shards.schema.names == ["n"]
    assert numbers(shards) == EXPECTED
    again = seal(source, cache=tmp_path, version="1")
    assert (again.stats.misses, again.stats.hits) == (0, len(shards.manifest.shards))


def test_a_damaged_shard_is_rebuilt_from_the_server(url: str, table: str, tmp_path: Path) -> None:
    shards = seal(put(url, table), cache=tmp_path, version="1")
    path = shards.directory / shards.manifest.shards[1].name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert numbers(shards) == EXPECTED
    assert (shards.stats.quarantined, shards.stats.rebuilt) == (1, 1)


def test_a_restarted_server_has_every_partition_sealed_anew(table: str, tmp_path: Path) -> None:
    """Its ranges hold other keys than before: a partition alone would lose and repeat rows."""
    with serve() as first:
        source = put(first.url, table)
        shards = seal(source, cache=tmp_path, version="1")
        (shards.directory / shards.manifest.shards[0].name).unlink()
    with serve(port=first.port) as second:
        put(second.url, table)
        with pytest.raises(PlanExpiredError, match="Call seal again"):
            read_all(shards)
        renewed = seal(source, cache=tmp_path, version="1")
        assert numbers(renewed) == EXPECTED
        assert renewed.stats.misses == len(renewed.manifest.shards)


def test_an_interrupted_seal_is_not_resumed_on_another_run_of_the_server(
    table: str, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, planned: int, rows: int) -> None:
        if done == 2:
            raise Stop

    with serve() as first:
        source = put(first.url, table)
        with pytest.raises(Stop):
            seal(source, cache=tmp_path, version="1", progress=stop)
    with serve(port=first.port) as second:
        put(second.url, table)
        assert numbers(seal(source, cache=tmp_path, version="1")) == EXPECTED


def put_elements(raw: Any, model: str, key: str, count: int) -> None:
    """So many elements, of which those of a list repeat."""
    match model:
        case "list":
            raw.rpush(key, *(i // 2 for i in range(count)))
        case "set":
            raw.sadd(key, *range(count))
        case "zset":
            raw.zadd(key, {str(i): i // 2 for i in range(count)})
        case "stream":
            for i in range(count):
                raw.xadd(key, {"value": i // 2}, id=f"1-{i + 1}")


@pytest.mark.parametrize(
    ("model", "column"),
    [("list", "value"), ("set", "member"), ("zset", "score"), ("stream", "value")],
)
def test_rows_that_share_a_key_are_sealed_each_once(
    valkey_server: Server, table: str, tmp_path: Path, model: str, column: str
) -> None:
    """What tells them apart, their element's index, member or entry, need not be among the columns."""
    counts = [i % 7 + 1 for i in range(200)]
    for i, count in enumerate(counts):
        put_elements(valkey_server.raw, model, f"{table}:k{i}", count)
    options = {"model": model} if model == "stream" else {"model": model, "explode": True}
    with open_store(valkey_server.url, **options) as store:
        source = store.source(table, columns=[column], parts=4)
        shards = seal(source, cache=tmp_path, version="1")
        by_key = store.source(table, parts=2)
        assert seal(by_key, cache=tmp_path, version="1", splits=SHARES).rows == sum(counts)
    halved = model != "set"
    values = [each // 2 if halved else each for count in counts for each in range(count)]
    assert shards.schema.names == [column]
    assert Counter(read_all(shards)[column].to_pylist()) == Counter(values)
