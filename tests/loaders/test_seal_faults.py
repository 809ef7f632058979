"""Seals that are broken off: a full disk, a store that is killed, a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from loaders_sealing import table as rows_of
from servers import aerospike

from connector import (
    CacheError,
    StoreUnavailableError,
    TableSource,
    WriteOptions,
    embedded,
    open_store,
    read_all,
)
from loaders import Transform, seal
from loaders.seal import Progress

PARTS = 8
ROWS = rows_of(8000)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_is_told_and_what_is_sealed_stays(tmp_path: Path, processes: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    here = Path(__file__).parent
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    command += [sys.executable, str(here / "full_disk.py"), str(disk), str(processes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "No space left on device; free some space" in told["error"]
    assert str(disk) in told["error"]
    assert told["left"] == [] and told["right"]
    # Those that were finished are found, and only the others are read again.
    assert told["found"] >= 2
    assert told["read again"] == PARTS - told["found"]


@pytest.fixture(params=["redis", "aerospike"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def served(kind: str, port: int | None = None) -> Iterator[tuple[str, int, int]]:
    """A server that may be killed: its URL, port and process."""
    if kind == "redis":
        with embedded.serve(port=port) as redis:
            yield redis.url, redis.port, redis.pid
    else:
        with aerospike.serve(port=port or 0) as server:
            url = f"aerospike://127.0.0.1:{server.port}/{server.namespace}"
            yield url, server.port, server.process.pid


OPTIONS: dict[str, dict[str, Any]] = {
    "redis": {},
    "aerospike": {
        "failover_seconds": 1,
        "timeout_seconds": 2,
        "socket_timeout_seconds": 1,
        "max_retries": 1,
    },
}


def killing(process: int, at: int) -> Progress:
    """Kill a process when so many partitions are sealed."""

    def told(done: int, planned: int, rows: int) -> None:
        if done == at:
            os.kill(process, signal.SIGKILL)

    return told


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_store_that_is_killed_fails_the_seal_and_the_next_one_is_whole(
    kind: str, table: str, tmp_path: Path, processes: int
) -> None:
    def put(url: str) -> None:
        with open_store(url) as store:
            store.write(table, ROWS.to_batches(), WriteOptions(key=("id",)))

    with served(kind) as (url, port, process):
        put(url)
        with open_store(url, **OPTIONS[kind]) as store:
            source = store.source(table, parts=PARTS)
            with pytest.raises(StoreUnavailableError, match=rf"{table}|127\.0\.0\.1:{port}"):
                seal(
                    source,
                    cache=tmp_path,
                    version="1",
                    processes=processes,
                    progress=killing(process, 2),
                )
    assert not list(tmp_path.rglob("manifest.json")) and not list(tmp_path.rglob(".private-*"))
    with served(kind, port) as (url, _, _):
        put(url)
        shards = seal(source, cache=tmp_path, version="1", processes=processes)
        assert read_all(shards).sort_by("id").equals(ROWS)


def dies_once(batch: pa.RecordBatch, mark: str) -> pa.RecordBatch:
    """Kills its process where rows of the fourth partition first come."""
    if batch["id"][0].as_py() >= 3000 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return batch


@pytest.mark.slow
def test_a_sealing_process_that_is_killed_is_told_and_its_partition_read_again(
    tmp_path: Path,
) -> None:
    source = TableSource(ROWS, parts=PARTS, key=("id",))
    transform = Transform(dies_once, {"mark": str(tmp_path / "mark")}, version="1")
    given = {"transform": transform, "cache": tmp_path / "c", "version": "1", "processes": 2}
    with pytest.raises(CacheError, match="died .* call seal again"):
        seal(source, **given)  # type: ignore[arg-type]
    shards = seal(source, **given)  # type: ignore[arg-type]
    assert read_all(shards).equals(ROWS)
    assert shards.stats.hits >= 1
    assert not list(shards.directory.glob(".private-*"))
