"""Shards with a home elsewhere: any machine has them, and a cache in front keeps within its limit."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from loaders_sealing import CountingSource, doubled, table
from moto.server import ThreadedMotoServer
from torch.utils.data import DataLoader

from connector import CacheError, OptionError, TableSource, read_all
from loaders import ShardedSource, SourceDataset, Transform, seal
from loaders.eviction import Cached, victims

ROWS = 4000
PARTS = 10


@pytest.fixture
def source(tmp_path: Path) -> CountingSource:
    return CountingSource(TableSource(table(ROWS), parts=PARTS, key=("id",)), tmp_path / "log")


def sealed(source: Any, place: Path, machine: str = "one", **options: Any) -> ShardedSource:
    given = {
        "transform": doubled,
        "version": "1",
        "home": f"file://{place}/home",
        "shard_bytes": 1 << 13,
    }
    return seal(source, cache=place / machine, **{**given, **options})


def ids(shards: ShardedSource) -> list[int]:
    return sorted(read_all(shards)["id"].to_pylist())


def local(shards: ShardedSource) -> list[Path]:
    return sorted(shards.directory.glob("*.arrow"))


def test_another_machine_has_the_shards_of_the_first(
    source: CountingSource, tmp_path: Path
) -> None:
    first = sealed(source, tmp_path)
    other = sealed(source, tmp_path, "other")
    assert source.reads() == list(range(PARTS))
    assert other.manifest == first.manifest and local(other) == []
    assert ids(other) == list(range(ROWS))
    count = len(first.manifest.shards)
    assert (other.stats.misses, other.stats.hits) == (
        count,
        count,
    )  # found by seal, brought by reading
    assert ids(other) == list(range(ROWS))
    assert other.stats.misses == count
    left = {path.suffix for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert left == {".arrow", ".json", ".pickle"}


def test_any_filesystem(source: CountingSource, tmp_path: Path) -> None:
    home = "memory://seals/home"
    try:
        first = sealed(source, tmp_path, home=home)
        shutil.rmtree(tmp_path / "one")
        again = sealed(source, tmp_path, home=home)
        assert ids(again) == list(range(ROWS)) and again.manifest == first.manifest
        assert source.reads() == list(range(PARTS))
    finally:
        fsspec.filesystem("memory").rm("/seals", recursive=True)


@pytest.fixture
def bucket(caplog: pytest.LogCaptureFixture) -> Iterator[dict[str, Any]]:
    """What fsspec needs for S3: a server of its protocol in this process, with a bucket ``seals``."""
    caplog.set_level(logging.ERROR, "werkzeug")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    options = {"key": "user", "secret": "secret", "client_kwargs": client}
    try:
        fsspec.filesystem("s3", **options).call_s3("create_bucket", Bucket="seals")
        yield options
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "context"), [(1, "fork"), (2, "spawn")])
def test_s3(
    source: CountingSource, tmp_path: Path, bucket: dict[str, Any], processes: int, context: str
) -> None:
    given = {"home": "s3://seals/here", "home_options": bucket, "processes": processes}
    first = sealed(source, tmp_path, **given)
    limit = first.manifest.total_bytes // 2
    other = sealed(source, tmp_path, "other", limit_bytes=limit, **given)
    assert source.reads() == list(range(PARTS)) or processes > 1
    assert other.manifest == first.manifest and "secret" not in repr(other)
    for _ in range(2):
        assert ids(other) == list(range(ROWS))
        assert sum(path.stat().st_size for path in local(other)) <= limit
    there = fsspec.filesystem("s3", **bucket).find("seals/here")
    assert {Path(path).suffix for path in there} == {".arrow", ".json", ".pickle"}
    third = sealed(source, tmp_path, "third", **given)  # whose shards a worker brings
    dataset = SourceDataset(third, batch_size=500, shuffle="shards")
    loader = DataLoader(dataset, None, num_workers=1, multiprocessing_context=context)
    assert sorted(i for batch in loader for i in batch["id"].tolist()) == list(range(ROWS))


def test_another_machine_finishes_what_one_began(source: CountingSource, tmp_path: Path) -> None:
    def fails(batch: pa.RecordBatch) -> pa.RecordBatch:
        if (tmp_path / "fail").exists() and batch["id"][0].as_py() >= ROWS // 2:
            raise RuntimeError("the first machine is lost")
        return doubled(batch)

    transform = Transform(fails, version="1")
    (tmp_path / "fail").touch()
    with pytest.raises(RuntimeError, match="lost"):
        sealed(source, tmp_path, transform=transform)
    (tmp_path / "fail").unlink()
    shutil.rmtree(tmp_path / "one")
    other = sealed(source, tmp_path, "other", transform=transform)
    assert ids(other) == list(range(ROWS))
    reads = source.reads()
    assert reads == [*range(PARTS // 2 + 1), *range(PARTS // 2, PARTS)]


def test_the_limit_holds_while_sealing_and_reading(source: CountingSource, tmp_path: Path) -> None:
    total = sealed(source, tmp_path, "all").manifest.total_bytes
    limit = total // 3
    shutil.rmtree(tmp_path / "home")
    shards = sealed(source, tmp_path, limit_bytes=limit)
    assert shards.stats.evictions > 0
    for _ in range(3):
        assert ids(shards) == list(range(ROWS))
        assert sum(path.stat().st_size for path in local(shards)) <= limit
    assert source.reads() == [*range(PARTS)] * 2


@pytest.mark.parametrize(("policy", "least", "most"), [("scan", 0.4, 1.0), ("lru", 0.0, 0.15)])
def test_hits_over_epochs_by_policy(
    source: CountingSource, tmp_path: Path, policy: Any, least: float, most: float
) -> None:
    total = sealed(source, tmp_path, "all").manifest.total_bytes
    shards = sealed(source, tmp_path, limit_bytes=total // 2, policy=policy)
    ids(shards)
    before = shards.stats
    for _ in range(4):
        ids(shards)
    hits, misses = shards.stats.hits - before.hits, shards.stats.misses - before.misses
    assert hits + misses == 4 * len(shards.manifest.shards)
    assert least <= hits / (hits + misses) <= most


def test_damage_here_is_mended_from_the_home_and_damage_there_from_the_source(
    source: CountingSource, tmp_path: Path
) -> None:
    shards = sealed(source, tmp_path)
    shard = shards.manifest.shards[3]
    here, there = shards.directory / shard.name, next((tmp_path / "home").rglob(shard.name))
    good = there.read_bytes()
    here.write_bytes(good[:-1] + b"x")
    assert ids(shards) == list(range(ROWS))
    assert source.reads() == list(range(PARTS)) and here.read_bytes() == good
    here.unlink()
    there.write_bytes(good[:-1] + b"x")
    again = sealed(source, tmp_path)
    assert ids(again) == list(range(ROWS))
    assert source.reads() == [*range(PARTS), shard.partition]
    assert there.read_bytes() == good and again.stats.rebuilt == 1
    lost = replace(again, origin=None)
    here.unlink()
    there.unlink()
    with pytest.raises(CacheError, match="is not at Home"):
        ids(lost)


def test_what_is_mapped_or_has_no_home_does_not_go(source: CountingSource, tmp_path: Path) -> None:
    alone = seal(TableSource(table(500), parts=2), cache=tmp_path / "one", version="1")
    shards = sealed(source, tmp_path, limit_bytes=1 << 16)
    held = [shards.pinned(i) for i in range(3)]
    kept = [shards.manifest.shards[i].name for i in range(3)]
    assert ids(shards) == list(range(ROWS))
    assert {path.name for path in local(shards)} >= set(kept)
    assert len(local(alone)) == 2
    small = replace(shards, nearby=replace(shards.nearby, limit_bytes=1 << 14))
    with pytest.raises(CacheError, match="limit_bytes is 16384, .* in use, or have no home"):
        ids(small)
    del held


def test_a_dataset_reads_through_the_cache_and_tells_a_limit_that_is_too_small(
    source: CountingSource, tmp_path: Path
) -> None:
    total = sealed(source, tmp_path, "all").manifest.total_bytes
    shards = sealed(source, tmp_path, limit_bytes=total)
    dataset = SourceDataset(shards, batch_size=100, shuffle="full", shuffle_rows=500)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        assert sorted(i for batch in dataset for i in batch["id"].tolist()) == list(range(ROWS))
    small = sealed(source, tmp_path, "small", limit_bytes=total - 1)
    with pytest.raises(CacheError, match=f"this order, on 1 workers, has up to {total} bytes"):
        next(iter(SourceDataset(small, batch_size=100)))


def read_often(shards: ShardedSource, times: int) -> None:
    for _ in range(times):
        assert ids(shards) == list(range(ROWS))


@pytest.mark.slow
def test_processes_share_a_cache_that_is_too_small(source: CountingSource, tmp_path: Path) -> None:
    shards = replace(sealed(source, tmp_path, limit_bytes=1 << 16), origin=None)
    context = multiprocessing.get_context("spawn")
    readers = [context.Process(target=read_often, args=(shards, 5)) for _ in range(3)]
    for reader in readers:
        reader.start()
    most = 0
    while any(reader.is_alive() for reader in readers):
        with (tmp_path / "one" / ".locks" / "evict").open("ab") as file:  # while nobody makes room
            fcntl.flock(file, fcntl.LOCK_SH)
            sizes = [path.stat().st_size for path in (tmp_path / "one").rglob("*.arrow")]
        most = max(most, sum(sizes))
        time.sleep(0.01)
    assert [reader.exitcode for reader in readers] == [0, 0, 0]
    assert most <= 1 << 16
    assert not list((tmp_path / "one").rglob(".private-*"))


def read_as_nobody(shards: ShardedSource) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)
    assert not os.access(shards.directory, os.W_OK)
    assert ids(shards) == list(range(ROWS))


def test_a_cache_that_cannot_be_written_is_read(source: CountingSource) -> None:
    with tempfile.TemporaryDirectory() as place:  # where others than its owner may go
        shards = sealed(source, Path(place))
        directories = [Path(place), *(path for path in Path(place).rglob("*") if path.is_dir())]
        for path in directories:
            path.chmod(0o555)
        reader = multiprocessing.get_context("fork").Process(target=read_as_nobody, args=(shards,))
        reader.start()
        reader.join(60)
        for path in directories:
            path.chmod(0o755)
        assert reader.exitcode == 0


def cached(name: str, bytes: int, added: float, used: float, active: bool) -> Cached:
    return Cached(name, bytes, added, used, active)


def test_the_order_of_going() -> None:
    shards = [
        cached("old seal", 5, 1, 2, False),
        cached("older seal", 4, 2, 1, False),
        cached("used first", 3, 3, 10, True),
        cached("used last", 9, 4, 20, True),
    ]
    orders = {
        policy: [
            shard.name for shard, _ in victims(shards, policy, 100, 97 if policy == "ttl" else None)
        ]
        for policy in ("scan", "lru", "fifo", "size", "ttl")
    }
    assert orders == {
        "scan": ["older seal", "old seal", "used last", "used first"],
        "lru": ["older seal", "old seal", "used first", "used last"],
        "fifo": ["old seal", "older seal", "used first", "used last"],
        "size": ["used last", "old seal", "older seal", "used first"],
        "ttl": ["old seal", "older seal", "used first", "used last"],
    }
    assert [too_old for _, too_old in victims(shards, "ttl", 100, 97)] == [True, True, False, False]
    set_back = [too_old for _, too_old in victims(shards, "ttl", 2, 97)]
    assert set_back == [False, False, True, True]


def test_refusals(source: CountingSource, tmp_path: Path) -> None:
    for options, said in (
        ({"home": None, "limit_bytes": 1 << 20}, "need home="),
        ({"version": None, "max_age_seconds": 5}, "home= needs version="),
        ({"limit_bytes": 100}, "limit_bytes must be 16384 at least"),
        ({"policy": "random"}, "policy is 'random'"),
        ({"policy": "ttl"}, "go together"),
        ({"home": "nosuch://place"}, "nosuch://place"),
    ):
        with pytest.raises(OptionError, match=said):
            sealed(source, tmp_path, **options)
