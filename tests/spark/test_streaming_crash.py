"""A driver that is killed in the middle of a batch, and started again from its checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from servers import Server
from streaming_queries import WAIT_SECONDS, put

from connector import open_store, read_all
from spark_ext.streaming.versions import HAS_LIMITS

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])
DRIVER = Path(__file__).with_name("streaming_driver.py")


@contextmanager
def driver(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """The driver and its JVM, in a process group of their own."""
    command = [sys.executable, str(DRIVER), *map(str, arguments)]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def until(held: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not held():
        assert process.poll() is None, "the driver has ended"
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_a_killed_driver_started_again_ends_with_exactly_the_rows(
    redis_server: Server, url: str, table: str, tmp_path: Path
) -> None:
    raw, hang = redis_server.raw, tmp_path / "hang"
    put(raw, table, range(2000))
    hang.touch()
    given = (redis_server.url, table, url, f"{table}o", f"{table}a", tmp_path / "checkpoints", hang)

    def written() -> int:
        with open_store(url) as store:
            source = store.source(f"{table}o", schema=SCHEMA, key=("id",))
            return sum(source.count(part) for part in source.partitions())

    with driver(*given) as process:
        until(lambda: raw.xlen(f"{table}a") > 0 and written() > 0, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert 0 < raw.xlen(f"{table}a") < 2000
    assert 0 < written() < 2000
    hang.unlink()
    put(raw, table, range(2000, 2100))
    for _ in range(1 if HAS_LIMITS else 2):  # an old Spark repeats the broken batch, and only that
        with driver(*given) as process:
            assert process.wait(WAIT_SECONDS) == 0
    appended = [int(fields[b"id"]) for _, fields in raw.xrange(f"{table}a")]
    assert appended == list(range(2100))
    with open_store(url) as store:
        found = read_all(store.source(f"{table}o")).sort_by("id")
    assert found.column("id").to_pylist() == list(range(2100))
    assert set(found.column("text").to_pylist()) == {"x" * 2000}
