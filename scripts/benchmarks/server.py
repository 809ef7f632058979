"""The server under test, its own limits, and how busy it is."""

from __future__ import annotations

import csv
import functools
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence

import redis

from benchmarks.tables import FIELDS, TABLE
from benchmarks.timing import Contender
from connector.embedded import EmbeddedServer, serve


def start(config: Sequence[str] = ()) -> EmbeddedServer:
    """Debian's redis-server where there is one, else the embedded Valkey."""
    return serve(shutil.which("redis-server"), config=config)


def name_of(url: str) -> str:
    """The server's name and version."""
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    name = info.get("server_name", "redis")
    return f"{name} {info.get('valkey_version', info['redis_version'])}"


class ServerCpu:
    """Meters the CPU time that the main threads of servers spend on each contender.

    Args:
        urls: the servers.

    Attributes:
        spent: for each contender and run, rows, wall seconds and server CPU seconds.
    """

    def __init__(self, *urls: str) -> None:
        self._urls = urls
        self.spent: dict[str, list[tuple[int, float, float]]] = {}

    def metered(self, name: str, work: Callable[[], int]) -> Contender:
        """A contender that does the work between two looks at the server's clock."""

        def run() -> float:
            before = self._cpu_seconds()
            started = time.perf_counter()
            rows = work()
            seconds = time.perf_counter() - started
            self.spent.setdefault(name, []).append((rows, seconds, self._cpu_seconds() - before))
            return rows / seconds

        return run

    def figures(self, repeats: int) -> dict[str, dict[str, object]]:
        """Medians over the last ``repeats`` runs of each contender."""
        return {name: _shares(runs[-repeats:]) for name, runs in self.spent.items()}

    def _cpu_seconds(self) -> float:
        return sum(map(_cpu_seconds, self._urls))


def _cpu_seconds(url: str) -> float:
    with redis.Redis.from_url(url) as client:
        info = client.info("cpu")
    thread = "_main_thread" if "used_cpu_user_main_thread" in info else ""
    return float(info[f"used_cpu_user{thread}"]) + float(info[f"used_cpu_sys{thread}"])


def _shares(runs: list[tuple[int, float, float]]) -> dict[str, object]:
    busy = statistics.median(cpu / wall for _, wall, cpu in runs)
    return {
        "busy_share": round(busy, 3),
        "rows_per_server_cpu_second": round(statistics.median(rows / cpu for rows, _, cpu in runs)),
    }


def limits(port: int, rows: int) -> dict[str, Contender]:
    """What redis-benchmark reaches with the same commands over the same keys, pipelined."""
    values = ("name-77", "1234", "12.25", "city-33", "123456")
    pairs = [word for pair in zip(FIELDS, values, strict=True) for word in pair]
    key = f"{TABLE}:__rand_int__"
    commands = {"hmget_limit": ["HMGET", key, *FIELDS], "hset_limit": ["HSET", key, *pairs]}

    def bench(words: list[str]) -> float:
        command = ["redis-benchmark", "-p", str(port), "-c", "2", "-P", "256", "--csv"]
        command += ["-r", str(rows), "-n", str(rows), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (found,) = csv.DictReader(done.stdout.splitlines())
        return float(found["rps"])

    return {name: functools.partial(bench, words) for name, words in commands.items()}


def scan_alone(url: str) -> int:
    """SCAN from end to end with a COUNT that is best for it; keys are received, not kept.

    redis-benchmark cannot follow a cursor.
    """
    rows, cursor = 0, 0
    with redis.Redis.from_url(url, protocol=2) as client:
        while True:
            cursor, keys = client.scan(cursor, match=f"{TABLE}:*", count=4000)
            rows += len(keys)
            if not cursor:
                return rows
