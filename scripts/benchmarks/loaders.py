"""Sealed epochs and sealing beside other loaders and raw files of Arrow and Parquet, in one run.

13 float32 and 26 int64 columns and a label; every contender permutes rows over at least 2^18 rows
and feeds a DataLoader of 2 workers with batches of 4096. mosaicml-streaming, LitData and Hugging
Face's datasets run in the environment of ``scripts/peers DIRECTORY loaders``.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.asking import Asked, started
from benchmarks.settings import Settings
from benchmarks.timing import Contender, in_turn, over, summary, timed
from connector import TableSource
from loaders import ShardedSource, SourceDataset, seal
from loaders.convert import Array

ROWS = 1_000_000
BATCH_ROWS = 4096
WORKERS = 2
WINDOW_ROWS = 2**18
PEERS = ("mosaic", "litdata", "datasets")
WRITTEN = {"mosaic": 300_000, "litdata": 300_000}
"""First rows that a peer writes, and so all that it has: at its rate the whole table takes too long."""
READ = {"mosaic": 300_000, "litdata": 100_000, "datasets": 100_000}
"""First rows of a peer's epoch that are timed, likewise."""


def make_table(rows: int) -> pa.Table:
    """The rows of every contender."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"f{i}": random.random(rows, dtype=np.float32) for i in range(13)}
    columns |= {f"i{i}": random.integers(0, 1_000_000, rows) for i in range(26)}
    return pa.table(columns | {"label": random.integers(0, 2, rows)})


class RawArrow(IterableDataset[dict[str, torch.Tensor]]):
    """The same shards, memory-mapped and permuted by windows in NumPy, with nothing around them.

    Each batch goes to the parent as torch sends it by itself: one piece of shared memory a column.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        assert worker is not None
        shards = (pa.ipc.open_file(pa.memory_map(path)).get_batch(0) for path in self.paths)
        number = itertools.count()
        for columns, rows in _permuted(_windows(shards)):
            if next(number) % worker.num_workers == worker.id:
                yield _taken(columns, rows)


class RawParquet(IterableDataset[dict[str, torch.Tensor]]):
    """One Parquet file, decoded and permuted by windows in NumPy, sent as by RawArrow.

    A worker has windows of its own, as to decode each in all workers would cost more.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        assert worker is not None
        file = pq.ParquetFile(self.path)
        groups = list(range(worker.id, file.num_row_groups, worker.num_workers))
        windows = _windows(file.iter_batches(WINDOW_ROWS, row_groups=groups))
        for columns, rows in _permuted(windows):
            yield _taken(columns, rows)


def _windows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches joined until they have as many rows as are permuted together."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(batch.num_rows for batch in held) >= WINDOW_ROWS:
            yield pa.concat_batches(held)
            held = []
    if held:
        yield pa.concat_batches(held)


def _permuted(
    windows: Iterable[pa.RecordBatch],
) -> Iterator[tuple[dict[str, Array], NDArray[np.int64]]]:
    """For each batch its window's columns, and which of their rows it has."""
    for window in windows:
        columns = {name: window[name].to_numpy() for name in window.schema.names}
        order = np.random.default_rng(0).permutation(window.num_rows)
        for start in range(0, window.num_rows, BATCH_ROWS):
            yield columns, order[start : start + BATCH_ROWS]


def _taken(columns: dict[str, Array], rows: NDArray[np.int64]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(column.take(rows)) for name, column in columns.items()}


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    table = make_table(rows)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        root = Path(directory)
        peers = None
        if settings.has_loaders:
            peers = stack.enter_context(_started(settings, table, root))
        shards, writing = _written(table, root, peers)
        contenders: dict[str, Contender] = {
            "epoch": timed(
                lambda: _epoch(SourceDataset(shards, batch_size=BATCH_ROWS, shuffle="full"))
            ),
            "epoch_raw_arrow": timed(lambda: _epoch(_raw(shards))),
            "epoch_raw_parquet": timed(lambda: _epoch(RawParquet(str(root / "rows.parquet")))),
        }
        if peers:
            contenders |= {f"epoch_{name}": peers.contender(f"epoch {name}") for name in PEERS}
        figures = in_turn(contenders, settings.repeats) | writing
    return {
        "rows": rows,
        "batch_rows": BATCH_ROWS,
        "workers": WORKERS,
        "rows_permuted_together": WINDOW_ROWS,
        "rows_written_by": {name: min(rows, WRITTEN.get(name, rows)) for name in PEERS},
        "rows_timed_of_epoch": {name: min(rows, READ.get(name, rows)) for name in PEERS},
        "peers": peers.versions if peers else {},
        "figures": figures,
        "ratios": over(figures, "epoch", (name for name in figures if name.startswith("epoch_")))
        | over(figures, "sealing", (name for name in figures if name.startswith("writing_"))),
        "absent": [] if peers else list(PEERS),
    }


def _started(settings: Settings, table: pa.Table, root: Path) -> AbstractContextManager[Asked]:
    with pa.ipc.new_file(root / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    given = {
        "table": str(root / "rows.arrow"),
        "directory": str(root / "peers"),
        "batch_rows": BATCH_ROWS,
        "window_rows": WINDOW_ROWS,
        "workers": WORKERS,
        "written": WRITTEN,
        "read": READ,
    }
    return started(settings.loaders_python, "loader_peers.py", given)


def _written(
    table: pa.Table, root: Path, peers: Asked | None
) -> tuple[ShardedSource, dict[str, dict[str, object]]]:
    """What every contender reads is written once, and how fast."""
    began = time.perf_counter()
    shards = seal(TableSource(table, parts=4), cache=root / "cache", version="bench")
    rates = {"sealing": table.num_rows / (time.perf_counter() - began)}
    began = time.perf_counter()
    pq.write_table(table, root / "rows.parquet", row_group_size=WINDOW_ROWS)
    rates["writing_parquet"] = table.num_rows / (time.perf_counter() - began)
    if peers:
        rates |= {f"writing_{name}": peers.rate(f"write {name}") for name in PEERS}
    return shards, {name: summary([found]) for name, found in rates.items()}


def _raw(shards: ShardedSource) -> RawArrow:
    return RawArrow([str(shards.directory / shard.name) for shard in shards.manifest.shards])


def _epoch(dataset: IterableDataset[dict[str, torch.Tensor]]) -> int:
    """Read an epoch; the making of the workers is timed with it."""
    loader = DataLoader(dataset, batch_size=None, num_workers=WORKERS)
    return sum(len(batch["label"]) for batch in loader)
