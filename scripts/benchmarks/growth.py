"""Reading and writing tables of growing size: rates, and peak memory of the client.

Every read and write is a process of its own that keeps no batch, and every write goes to an empty
server. ``plot.py`` draws the JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import redis

from benchmarks import server
from benchmarks.settings import Settings
from benchmarks.tables import TABLE

ROWS = (10_000, 100_000, 1_000_000, 10_000_000, 20_000_000)
ROW_BYTES = 250
"""More than the server holds for a row, so that a run does not begin what memory cannot end."""


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows or ROWS
    _check_memory(max(rows))
    with server.start() as running:
        sizes = [_size(running.url, each, settings.repeats) for each in rows]
        return {"server": server.name_of(running.url), "sizes": sizes}


def _size(url: str, rows: int, repeats: int) -> dict[str, object]:
    """Median rates and largest memory for a table of this size."""
    rounds = []
    with redis.Redis.from_url(url, socket_timeout=300) as client:  # to empty a large server
        for _ in range(repeats):
            client.flushdb()
            rounds.append({"write": _worker("write", url, rows), "read": _worker("read", url)})
            assert {found["rows"] for found in rounds[-1].values()} == {rows}
        server_mb = client.info("memory")["used_memory"] / 2**20
    found: dict[str, object] = {"rows": rows, "server_mb": round(server_mb)}
    for verb in ("write", "read"):
        rates = [each[verb]["rows_per_second"] for each in rounds]
        found[f"{verb}_rows_per_second"] = round(statistics.median(rates))
        found[f"{verb}_over_idle_mb"] = max(each[verb]["over_idle_mb"] for each in rounds)
    print(json.dumps(found), file=sys.stderr)
    return found


def _worker(verb: str, url: str, *rows: int) -> dict[str, float]:
    code = Path(__file__).with_name("worker.py")
    done = subprocess.run(
        [sys.executable, "-P", str(code), verb, url, TABLE, *map(str, rows)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _check_memory(rows: int) -> None:
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    if rows * ROW_BYTES > free:
        raise SystemExit(
            f"{rows:,} rows need about {rows * ROW_BYTES >> 20:,} MB in the server, and "
            f"{free >> 20:,} MB are free: give smaller --rows"
        )
