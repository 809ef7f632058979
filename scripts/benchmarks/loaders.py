"""Sealed epochs and sealing beside mosaicml-streaming and raw memory-mapped Arrow, in one run.

13 float32 and 26 int64 columns and a label; every contender permutes rows over at least 2^18 rows
and feeds a DataLoader of 2 workers with batches of 4096.
"""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.settings import Settings
from benchmarks.timing import in_turn, rate, summary, timed
from connector import TableSource
from loaders import ShardedSource, SourceDataset, seal

ROWS = 1_000_000
BATCH_ROWS = 4096
WORKERS = 2
WINDOW_ROWS = 2**18
MOSAIC_ROWS = 300_000
"""Rows of mosaic's epoch that are timed: at its rate a whole one takes too long."""


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
        number = itertools.count()
        for window in self._windows():
            columns = {name: window[name].to_numpy() for name in window.schema.names}
            order = np.random.default_rng(0).permutation(window.num_rows)
            for start in range(0, window.num_rows, BATCH_ROWS):
                if next(number) % worker.num_workers == worker.id:
                    rows = order[start : start + BATCH_ROWS]
                    yield {name: torch.from_numpy(c.take(rows)) for name, c in columns.items()}

    def _windows(self) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        for path in self.paths:
            held.append(pa.ipc.open_file(pa.memory_map(path)).get_batch(0))
            if sum(batch.num_rows for batch in held) >= WINDOW_ROWS:
                yield pa.concat_batches(held)
                held = []
        if held:
            yield pa.concat_batches(held)


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    table = make_table(rows)
    absent = []
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        started = time.perf_counter()
        shards = seal(TableSource(table, parts=4), cache=root / "cache", version="bench")
        writing = {"sealing": rows / (time.perf_counter() - started)}
        contenders = {
            "epoch": timed(
                lambda: _epoch(SourceDataset(shards, batch_size=BATCH_ROWS, shuffle="full"))
            ),
            "epoch_raw_arrow": timed(lambda: _epoch(_raw(shards))),
        }
        if importlib.util.find_spec("streaming"):
            writing["writing_mosaic"] = _write_mosaic(table, root / "mosaic")
            contenders["epoch_mosaic"] = timed(lambda: _mosaic_epoch(root / "mosaic"))
        else:
            absent.append("mosaicml-streaming")
        figures = in_turn(contenders, settings.repeats)
    figures |= {name: summary([rate]) for name, rate in writing.items()}
    ratios = {"epoch / raw Arrow": rate(figures, "epoch") / rate(figures, "epoch_raw_arrow")}
    if not absent:
        ratios["epoch / mosaic"] = rate(figures, "epoch") / rate(figures, "epoch_mosaic")
        ratios["sealing / mosaic"] = rate(figures, "sealing") / rate(figures, "writing_mosaic")
    return {
        "rows": rows,
        "batch_rows": BATCH_ROWS,
        "workers": WORKERS,
        "rows_permuted_together": WINDOW_ROWS,
        "rows_timed_of_mosaic": min(rows, MOSAIC_ROWS),
        "figures": figures,
        "ratios": {name: round(ratio, 1) for name, ratio in ratios.items()},
        "absent": absent,
    }


def _raw(shards: ShardedSource) -> RawArrow:
    return RawArrow([str(shards.directory / shard.name) for shard in shards.manifest.shards])


def _epoch(dataset: Any, batch_size: int | None = None, limit: int | None = None) -> int:
    """Read an epoch, or its first rows; the making of the workers is timed with it."""
    rows = 0
    for batch in DataLoader(dataset, batch_size=batch_size, num_workers=WORKERS):
        rows += len(batch["label"])
        if limit is not None and rows >= limit:
            break
    return rows


def _write_mosaic(table: pa.Table, out: Path) -> float:
    from streaming import MDSWriter

    kinds = {item.name: str(np.dtype(item.type.to_pandas_dtype())) for item in table.schema}
    columns = {name: table[name].to_numpy() for name in table.column_names}
    start = time.perf_counter()
    with MDSWriter(out=str(out), columns=kinds) as writer:
        for values in zip(*columns.values(), strict=True):
            writer.write(dict(zip(columns, values, strict=True)))
    return float(table.num_rows / (time.perf_counter() - start))


def _mosaic_epoch(local: Path) -> int:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    dataset = StreamingDataset(
        local=str(local),
        shuffle=True,
        shuffle_algo="py1e",
        shuffle_block_size=WINDOW_ROWS,
        batch_size=BATCH_ROWS,
    )
    return _epoch(dataset, BATCH_ROWS, MOSAIC_ROWS)
