"""Seals onto a disk that is full before the end, then on the same one with room; prints what came of it.

python full_disk.py DIRECTORY PROCESSES

Runs in a mount namespace of its own, where DIRECTORY becomes a small filesystem in memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
from loaders_sealing import CountingSource, doubled, table

from connector import CacheError, TableSource, read_all
from loaders import seal

ROWS, PARTS = 40_000, 8


def main(directory: Path, processes: int) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(directory)]
    subprocess.run(mount, check=True)
    source = CountingSource(
        TableSource(table(ROWS), parts=PARTS, key=("id",)), directory.parent / "log"
    )
    given = {"transform": doubled, "cache": directory / "cache", "version": "1"}
    try:
        seal(source, processes=processes, **given)  # type: ignore[arg-type]
        error = ""
    except CacheError as caught:
        error = str(caught)
    before = source.reads()
    left = [path.name for path in (directory / "cache").rglob(".private-*")]
    subprocess.run(["mount", "-o", "remount,size=64m", str(directory)], check=True)
    shards = seal(source, processes=processes, **given)  # type: ignore[arg-type]
    expected = pa.Table.from_batches([doubled(batch) for batch in table(ROWS).to_batches()])
    told = {
        "error": error,
        "left": left,
        "read before": len(before),
        "read again": len(source.reads()) - len(before),
        "found": shards.stats.hits,
        "right": read_all(shards).equals(expected),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
