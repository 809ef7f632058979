"""An epoch straight from Redis, beside reading the table and keeping nothing.

A million rows of a key and 5 numbers. Alone, a LiveDataset is iterated in this process, beside this process
reading the same partitions; as two, by a DataLoader of 2 workers, beside two processes that read a half each.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from torch.utils.data import DataLoader

from benchmarks import server
from benchmarks.settings import Settings
from benchmarks.tables import BATCH_ROWS, TABLE
from benchmarks.timing import in_turn, over, timed
from connector import Partition, Source, WriteOptions, open_store
from loaders import LiveDataset

ROWS = 1_000_000
EPOCH_BATCH_ROWS = 4096
SHUFFLE_ROWS = 2**17
PROCESSES = 2


def make_table(rows: int) -> pa.Table:
    """All rows, their keys in random order."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": random.permutation(rows)}
    columns |= {f"i{i}": random.integers(0, 1_000_000, rows) for i in range(3)}
    columns |= {f"f{i}": random.integers(0, 1_000_000, rows) / 64 for i in range(2)}
    return pa.table(columns)


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    with server.start() as running, open_store(running.url) as store:
        store.write(TABLE, make_table(rows).to_batches(BATCH_ROWS), WriteOptions(key=("id",)))
        source = store.source(TABLE)
        shuffled = partial(_live, source, shuffle_rows=SHUFFLE_ROWS)
        figures = in_turn(
            {
                "read": timed(lambda: _read(source, source.partitions())),
                "live": timed(lambda: _rows(_live(source))),
                "live_shuffled": timed(lambda: _rows(shuffled())),
                "read_2": timed(lambda: _read_by_processes(source)),
                "live_2": timed(lambda: _rows(_loader(_live(source)))),
                "live_2_shuffled": timed(lambda: _rows(_loader(shuffled()))),
            },
            settings.repeats,
        )
        return {
            "server": server.name_of(running.url),
            "rows": rows,
            "batch_rows": EPOCH_BATCH_ROWS,
            "shuffle_rows": SHUFFLE_ROWS,
            "figures": figures,
            "ratios": over(figures, "read", ("live", "live_shuffled"))
            | over(figures, "read_2", ("live_2", "live_2_shuffled")),
        }


def _live(source: Source, shuffle_rows: int | None = None) -> LiveDataset:
    """Planned anew for each epoch, as reading is."""
    return LiveDataset(source, batch_size=EPOCH_BATCH_ROWS, shuffle_rows=shuffle_rows)


def _loader(dataset: LiveDataset) -> DataLoader[dict[str, object]]:
    return DataLoader(dataset, batch_size=None, num_workers=PROCESSES)


def _rows(batches: LiveDataset | DataLoader[dict[str, object]]) -> int:
    return sum(len(batch["id"]) for batch in batches)


def _read(source: Source, partitions: Sequence[Partition]) -> int:
    return sum(batch.num_rows for part in partitions for batch in source.read(part))


def _read_by_processes(source: Source) -> int:
    """The processes are made as a DataLoader makes its workers, and the time of that counts."""
    parts = list(source.partitions())
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, mp_context=fork) as pool:
        shares = [parts[index::PROCESSES] for index in range(PROCESSES)]
        return sum(pool.map(partial(_read, source), shares))
