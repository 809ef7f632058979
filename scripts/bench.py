"""Run a benchmark case, ours beside its peers and its limit in one run, and print JSON.

    python scripts/bench.py redis --peers DIRECTORY
    python scripts/bench.py loaders --rows 200000 --repeats 3 --peers DIRECTORY --out loaders.json
    python scripts/bench.py growth --rows 10000 100000 1000000 --repeats 3 --out growth.json
    python scripts/bench.py aerospike --url aerospike://127.0.0.1:3000/test --peers DIRECTORY

A peer that is not installed is left out, and named under "absent". ``scripts/peers DIRECTORY`` sets
up those that cannot share our environment.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from benchmarks.settings import Settings

CASES = (
    "redis",
    "cluster",
    "arrow",
    "decode",
    "wide",
    "growth",
    "lookup",
    "pushdown",
    "spark",
    "streaming",
    "loaders",
    "images",
    "live",
    "epochs",
    "aerospike",
)
PACKAGES = (
    "kvlake",
    "pyarrow",
    "numpy",
    "redis",
    "hiredis",
    "polars-redis",
    "aerospike",
    "pyspark",
    "torch",
    "pillow",
)


def environment() -> dict[str, object]:
    """What the figures were measured with."""
    found: dict[str, object] = {"python": platform.python_version(), "cores": os.cpu_count()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--rows", type=int, nargs="+", default=[], help="default: the case's own")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="what scripts/peers made")
    parser.add_argument("--url", help="of the server that the case aerospike measures")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    given = parser.parse_args()
    case = importlib.import_module(f"benchmarks.{given.case}")
    figures = case.run(Settings(tuple(given.rows), given.repeats, given.peers, given.url))
    text = json.dumps({"case": given.case, "environment": environment(), **figures}, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
