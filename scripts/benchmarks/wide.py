"""Reading 2 of 200 columns: beside reading all of them, and a table that has only those 2."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from benchmarks import server
from benchmarks.server import ServerCpu
from benchmarks.settings import Settings
from benchmarks.tables import BATCH_ROWS
from benchmarks.timing import in_turn, rate
from connector import WriteOptions, open_store, read_all

ROWS = 50_000
FIELDS = 200
WANTED = ("f50", "f150")


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    with server.start() as running:
        url, cpu = running.url, ServerCpu(running.url)
        random = np.random.default_rng(0)
        columns = {f"f{i}": random.integers(0, 1_000_000, rows) for i in range(FIELDS)}
        wide = pa.table({"id": np.arange(rows), **columns})
        with open_store(url) as store:
            for name, table in (("wide", wide), ("narrow", wide.select(["id", *WANTED]))):
                store.write(name, table.to_batches(BATCH_ROWS), WriteOptions(key=("id",)))

        asked: dict[str, tuple[str, Sequence[str] | None]] = {
            "two_of_wide": ("wide", WANTED),
            "all_of_wide": ("wide", None),
            "two_of_narrow": ("narrow", WANTED),
        }
        contenders = {
            name: cpu.metered(name, functools.partial(_read, url, *table_and_columns))
            for name, table_and_columns in asked.items()
        }
        figures = in_turn(contenders, settings.repeats)
        return {
            "server": server.name_of(url),
            "rows": rows,
            "fields": FIELDS,
            "figures": figures,
            "ratios": {
                f"two_of_wide / {other}": round(
                    rate(figures, "two_of_wide") / rate(figures, other), 2
                )
                for other in ("two_of_narrow", "all_of_wide")
            },
            "server_cpu": cpu.figures(settings.repeats),
            "absent": [],
        }


def _read(url: str, table: str, columns: Sequence[str] | None) -> int:
    with open_store(url) as store:
        return int(read_all(store.source(table, columns=columns)).num_rows)
