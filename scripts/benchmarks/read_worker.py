"""Read a table batch by batch in a fresh process, keeping none, and print the peak memory as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from connector import open_store


def peak_mb() -> float:
    """Most memory that this process has had since it began; what it was forked from is not counted."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def main(url: str, table: str) -> None:
    with open_store(url) as store:
        source = store.source(table)
        parts = source.partitions()
        idle = peak_mb()
        rows = sum(batch.num_rows for part in parts for batch in source.read(part))
        print(json.dumps({"rows": rows, "idle_mb": idle, "over_idle_mb": peak_mb() - idle}))


if __name__ == "__main__":
    main(*sys.argv[1:])
