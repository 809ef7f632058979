"""Read or write a table batch by batch in a fresh process, and print rate and peak memory as JSON.

    python -P worker.py read redis://127.0.0.1:6379/0 bench
    python -P worker.py write redis://127.0.0.1:6379/0 bench 1000000

It warms up on a small table in the server's database 1.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.tables import batches_of
from connector import WriteOptions, open_store

WARM_ROWS = 10_000


def read(url: str, table: str) -> int:
    """Read all rows, keeping none."""
    with open_store(url) as store:
        source = store.source(table)
        return sum(b.num_rows for part in source.partitions() for b in source.read(part))


def write(url: str, table: str, rows: int) -> int:
    """Write rows that are made batch by batch."""
    with open_store(url) as store:
        return store.write(table, batches_of(rows), WriteOptions(key=("id",))).rows


def peak_mb() -> float:
    """Most memory that this process has had since it began; what it was forked from is not counted."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def making_seconds(rows: int) -> float:
    """What it takes to make the rows alone: the writer waits for them, so it is taken off."""
    started = time.perf_counter()
    for _ in batches_of(rows):
        pass
    return time.perf_counter() - started


def main(verb: str, url: str, table: str, given_rows: str = "0") -> None:
    warm = url.rpartition("/")[0] + "/1"
    write(warm, "warm", WARM_ROWS)
    read(warm, "warm")
    idle = peak_mb()
    started = time.perf_counter()
    rows = read(url, table) if verb == "read" else write(url, table, int(given_rows))
    seconds = time.perf_counter() - started
    peak = peak_mb()
    if verb == "write":
        seconds -= making_seconds(rows)
    found = {"rows": rows, "rows_per_second": round(rows / seconds)}
    print(json.dumps(found | {"idle_mb": round(idle, 1), "over_idle_mb": round(peak - idle, 1)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
