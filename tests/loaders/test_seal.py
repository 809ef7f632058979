"""Sealing: keys, resuming, repeats, damage, and processes that get in each other's way."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from loaders_sealing import CountingSource, doubled, table

from connector import (
    CacheError,
    MemoryStore,
    OptionError,
    SchemaError,
    TableSource,
    WriteOptions,
    open_store,
    read_all,
)
from loaders import Transform, seal
from loaders.files import private_file, sweep, translated


@pytest.fixture
def source(tmp_path: Path) -> CountingSource:
    return CountingSource(TableSource(table(), parts=4), tmp_path / "log")


def test_a_second_seal_finds_the_shards(source: CountingSource, tmp_path: Path):
    first = seal(source, transform=doubled, cache=tmp_path / "c", version="1")
    again = seal(source, transform=doubled, cache=tmp_path / "c", version="1")
    assert source.reads() == [0, 1, 2, 3]
    assert (first.stats.hits, first.stats.misses) == (0, 4)
    assert (again.stats.hits, again.stats.misses) == (4, 0)
    assert first.stats.bytes_written == again.stats.bytes_read > 0
    assert first.fingerprint == again.fingerprint
    assert read_all(again)["x"].to_pylist() == [float(i) for i in range(1000)]


def test_another_definition_never_finds_them(source: CountingSource, tmp_path: Path):
    seals = [
        seal(source, cache=tmp_path, version="1"),
        seal(source, cache=tmp_path, version="2"),
        seal(source, transform=doubled, cache=tmp_path, version="1"),
        seal(source, transform=Transform(doubled, version="b"), cache=tmp_path, version="1"),
        seal(TableSource(table(999), parts=4), cache=tmp_path, version="1"),
        seal(source, cache=tmp_path, max_age_seconds=60),
    ]
    assert len({shards.directory for shards in seals}) == len(seals)
    assert all(shards.stats.hits == 0 for shards in seals)


def test_a_seal_is_used_until_its_age(source: CountingSource, tmp_path: Path):
    first = seal(source, cache=tmp_path / "c", max_age_seconds=60)
    assert seal(source, cache=tmp_path / "c", max_age_seconds=60).directory == first.directory
    time.sleep(0.05)
    assert seal(source, cache=tmp_path / "c", max_age_seconds=0.04).directory != first.directory


def test_neither_version_nor_age_is_refused(source: CountingSource, tmp_path: Path):
    for given in ({}, {"version": "1", "max_age_seconds": 1.0}, {"max_age_seconds": -1.0}):
        with pytest.raises(OptionError):
            seal(source, cache=tmp_path, **given)  # type: ignore[arg-type]


def test_shards_are_near_their_size(tmp_path: Path):
    shards = seal(
        TableSource(table(20_000), parts=1), cache=tmp_path, version="1", shard_bytes=50_000
    )
    assert len(shards.manifest.shards) > 5
    assert all(shard.bytes < 60_000 for shard in shards.manifest.shards)
    assert read_all(shards).equals(table(20_000))


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_shards_hold_the_same_in_less(source, tmp_path: Path, compression) -> None:
    plain = seal(source, cache=tmp_path / "c", version="1")
    small = seal(source, cache=tmp_path / "c", version="1", compression=compression)
    assert read_all(small).equals(read_all(plain)) and small.directory != plain.directory
    assert small.manifest.total_bytes < 0.9 * plain.manifest.total_bytes
    batch, _ = small.pinned(1, ["x", "id"])  # unpacks no other column
    assert batch.schema.names == ["x", "id"] and batch.num_rows == 250
    flip(small.directory / small.manifest.shards[1].name)
    again = seal(source, cache=tmp_path / "c", version="1", compression=compression)
    assert read_all(again).equals(table()) and again.stats.rebuilt == 1


def test_an_unknown_compression_is_refused(source: CountingSource, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'gzip'; it is one of none, lz4, zstd"):
        seal(source, cache=tmp_path / "c", version="1", compression="gzip")


def test_an_empty_table_keeps_its_columns(tmp_path: Path):
    shards = seal(TableSource(table(0)), transform=doubled, cache=tmp_path, version="1")
    assert shards.schema == table(0).schema and shards.rows == 0


def test_several_processes_seal_the_same(source: CountingSource, tmp_path: Path):
    told: list[tuple[int, int, int]] = []
    two = seal(
        source,
        transform=doubled,
        cache=tmp_path / "a",
        version="1",
        processes=2,
        progress=lambda *at: told.append(at),
    )
    one = seal(source, transform=doubled, cache=tmp_path / "b", version="1")
    assert two.manifest == one.manifest
    assert told[0] == (0, 4, 0) and told[-1] == (4, 4, 1000)


def test_a_transform_that_cannot_travel_is_refused_for_processes(tmp_path: Path):
    with pytest.raises(OptionError, match="top level"):
        seal(TableSource(table()), transform=lambda b: b, cache=tmp_path, version="1", processes=2)
    shards = seal(TableSource(table()), transform=lambda b: b, cache=tmp_path, version="1")
    assert pickle.loads(pickle.dumps(shards)).origin is None


SEAL_SLOWLY = """
import sys
from pathlib import Path
from loaders_sealing import CountingSource, doubled, table
from connector import TableSource
from loaders import seal
if __name__ == "__main__":
    source = CountingSource(TableSource(table(), parts=4), Path(sys.argv[1]), float(sys.argv[3]))
    print(seal(source, transform=doubled, cache=sys.argv[2], version="1").fingerprint)
"""


def sealing(tmp_path: Path, pause_seconds: float) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", SEAL_SLOWLY, tmp_path / "log", tmp_path / "c", str(pause_seconds)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_after_kill_9_finished_partitions_are_not_read_again(
    source: CountingSource, tmp_path: Path
):
    with sealing(tmp_path, 0.4) as process:
        deadline = time.monotonic() + 60
        while len(source.reads()) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert source.reads() == [0, 1, 2]
    shards = seal(source, transform=doubled, cache=tmp_path / "c", version="1")
    assert source.reads() == [0, 1, 2, 2, 3]
    assert (shards.stats.hits, shards.stats.misses) == (2, 2)
    assert read_all(shards).num_rows == 1000
    assert not list(shards.directory.glob(".private-*"))


@pytest.mark.slow
def test_two_sealers_at_once_end_with_the_same_shards(source: CountingSource, tmp_path: Path):
    with sealing(tmp_path, 0.1) as one, sealing(tmp_path, 0.1) as other:
        prints = {one.communicate()[0], other.communicate()[0]}
        assert one.returncode == other.returncode == 0
    assert len(prints) == 1
    shards = seal(source, transform=doubled, cache=tmp_path / "c", version="1")
    assert read_all(shards)["id"].to_pylist() == list(range(1000))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(("damage", "aside"), [(flip, 1), (cut, 1), (Path.unlink, 0)])
@pytest.mark.parametrize("reseal", [False, True])
def test_a_damaged_shard_is_set_aside_and_rebuilt(source, tmp_path: Path, damage, aside, reseal):
    shards = seal(source, cache=tmp_path / "c", version="1")
    damage(shards.directory / shards.manifest.shards[2].name)
    if reseal:
        shards = seal(source, cache=tmp_path / "c", version="1")
    assert read_all(shards).equals(table())
    assert (shards.stats.quarantined, shards.stats.rebuilt) == (aside, 1)
    assert source.reads() == [0, 1, 2, 3, 2]


def test_a_shard_of_changed_rows_is_not_rebuilt(tmp_path: Path):
    shards = seal(TableSource(table(100), parts=2), cache=tmp_path, version="1")
    (shards.directory / shards.manifest.shards[0].name).unlink()
    fewer = replace(shards.origin, source=TableSource(table(10), parts=2))
    with pytest.raises(CacheError, match="new version"):
        read_all(replace(shards, origin=fewer))


def _store() -> MemoryStore:
    store = open_store("memory://")
    assert isinstance(store, MemoryStore)
    return store


def test_without_an_origin_damage_is_an_error(source: CountingSource, tmp_path: Path):
    shards = replace(seal(source, cache=tmp_path / "c", version="1"), origin=None)
    flip(shards.directory / shards.manifest.shards[0].name)
    with pytest.raises(CacheError, match="checksum"):
        read_all(shards)


def test_repeats_are_left_out_by_key(tmp_path: Path):
    twice = pa.concat_tables([table(300), table(20), table(400).slice(290)])
    source = TableSource(twice, parts=5, key=("id",))
    shards = seal(source, cache=tmp_path, version="1")
    assert sorted(read_all(shards)["id"].to_pylist()) == list(range(400))
    assert not list(shards.directory.glob("*.keys"))
    for shard in shards.manifest.shards:
        flip(shards.directory / shard.name)
    assert sorted(read_all(shards)["id"].to_pylist()) == list(range(400))


@pytest.mark.parametrize("splits", [None, {"train": 0.5, "test": 0.5}])
def test_rows_without_a_key_are_not_taken_for_repeats(tmp_path: Path, splits) -> None:
    keys = pa.array([1, None, None, 2], pa.int64())
    source = TableSource(pa.table({"id": keys, "x": range(4)}), parts=1, key=("id",))
    with pytest.raises(SchemaError, match="'id' is null in 2 of 4 rows"):
        seal(source, cache=tmp_path, version="1", splits=splits)


def test_the_key_is_read_but_not_handed_to_the_transform(tmp_path: Path):
    store = _store()
    store.write("t", table(50).to_batches(), WriteOptions(key=("id",)))
    shards = seal(store.source("t", columns=["x"]), transform=doubled, cache=tmp_path, version="1")
    assert shards.schema.names == ["x"] and shards.rows == 50 and shards.key == ()


def test_a_transform_that_changes_its_mind_is_refused(tmp_path: Path):
    def fickle(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.select(["id"] if batch["id"][0].as_py() else ["x"])

    with pytest.raises(SchemaError, match="different columns"):
        seal(TableSource(table(), parts=2), transform=fickle, cache=tmp_path, version="1")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=str(tmp_path / "file")):
        seal(TableSource(table()), cache=tmp_path / "file", version="1")


def test_a_full_disk_is_named():
    with (
        pytest.raises(CacheError, match="/cache.*free some space"),
        translated(Path("/cache")),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_rubbish_of_dead_writers_is_swept(source: CountingSource, tmp_path: Path):
    (tmp_path / ".private-dead").write_text("half")
    with private_file(tmp_path) as alive:
        sweep(tmp_path)
        assert [path.name for path in tmp_path.glob(".private-*")] == [Path(alive.name).name]
    assert not list(tmp_path.glob(".private-*"))
