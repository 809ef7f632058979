"""Sealed epochs and sealing beside mosaicml-streaming and raw memory-mapped Arrow, in one run.

13 float32 and 26 int64 columns and a label; every contender permutes rows over at least 2^18 rows
and feeds a DataLoader of 2 workers with batches of 4096.
"""

from __future__ import annotations

import importlib.util
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from connector import TableSource
from loaders import ShardedSource, SourceDataset, seal

BATCH_ROWS = 4096
WORKERS = 2
WINDOW_ROWS = 2**18
MOSAIC_ROWS = 100_000
"""Rows of mosaic's epoch that are timed: at its rate a whole one takes too long."""


def make_table(rows: int) -> pa.Table:
    """The rows of every contender."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"f{i}": random.random(rows, dtype=np.float32) for i in range(13)}
    columns |= {f"i{i}": random.integers(0, 1_000_000, rows) for i in range(26)}
    return pa.table(columns | {"label": random.integers(0, 2, rows)})


class RawArrow(IterableDataset[dict[str, torch.Tensor]]):
    """The same shards, memory-mapped and permuted by windows, with nothing around them."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        assert worker is not None
        number = itertools.count()
        for window in self._windows():
            order = np.random.default_rng(0).permutation(window.num_rows)
            for start in range(0, window.num_rows, BATCH_ROWS):
                if next(number) % worker.num_workers != worker.id:
                    continue
                rows = window.take(pa.array(order[start : start + BATCH_ROWS]))
                yield {name: torch.tensor(rows[name].to_numpy()) for name in rows.schema.names}

    def _windows(self) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        for path in self.paths:
            held.append(pa.ipc.open_file(pa.memory_map(path)).get_batch(0))
            if sum(batch.num_rows for batch in held) >= WINDOW_ROWS:
                yield pa.concat_batches(held)
                held = []
        if held:
            yield pa.concat_batches(held)


def run(rows: int, repeats: int) -> dict[str, object]:
    """Measure; figures that JSON can hold, rates in rows/s."""
    table = make_table(rows)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shards, sealing_rate = _sealed(table, root / "cache")
        epochs: dict[str, Callable[[], float]] = {
            "kvlake": lambda: _rate(
                SourceDataset(shards, batch_size=BATCH_ROWS, shuffle="full"), None
            ),
            "raw_arrow": lambda: _rate(_raw(shards), None),
        }
        writing: dict[str, float | None] = {"kvlake": sealing_rate, "mosaic": None}
        mosaic = importlib.util.find_spec("streaming") is not None
        if mosaic:
            writing["mosaic"] = _write_mosaic(table, root / "mosaic")
            epochs["mosaic"] = lambda: _mosaic_epoch(root / "mosaic")
        rates: dict[str, list[float]] = {name: [] for name in epochs}
        for _ in range(repeats):
            for name, epoch in epochs.items():
                rates[name].append(epoch())
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "rows": rows,
        "batch_rows": BATCH_ROWS,
        "workers": WORKERS,
        "window_rows": WINDOW_ROWS,
        "epoch_rates": rates,
        "epoch_medians": medians,
        "raw_arrow": "each batch passed to the parent as one tensor a column, as torch does by itself",
        "mosaic": f"first {min(rows, MOSAIC_ROWS)} rows of its epoch" if mosaic else "absent",
        "ratios": {f"kvlake/{name}": medians["kvlake"] / rate for name, rate in medians.items()},
        "writing_rates": writing,
        "versions": {"torch": torch.__version__, "pyarrow": pa.__version__, "numpy": np.__version__}
        | ({"mosaicml-streaming": _version("mosaicml-streaming")} if mosaic else {}),
    }


def _sealed(table: pa.Table, cache: Path) -> tuple[ShardedSource, float]:
    source = TableSource(table, parts=4)
    version = "bench"
    start = time.perf_counter()
    shards = seal(source, cache=cache, version=version)
    return shards, table.num_rows / (time.perf_counter() - start)


def _raw(shards: ShardedSource) -> RawArrow:
    return RawArrow([str(shards.directory / shard.name) for shard in shards.manifest.shards])


def _rate(dataset: Any, batch_size: int | None, limit: int | None = None) -> float:
    """Rows per second of one epoch, from the making of the workers to the last batch."""
    start = time.perf_counter()
    rows = 0
    for batch in DataLoader(dataset, batch_size=batch_size, num_workers=WORKERS):
        rows += len(batch["label"])
        if limit is not None and rows >= limit:
            break
    return rows / (time.perf_counter() - start)


def _write_mosaic(table: pa.Table, out: Path) -> float:
    from streaming import MDSWriter

    kinds = {item.name: str(np.dtype(item.type.to_pandas_dtype())) for item in table.schema}
    columns = {name: table[name].to_numpy() for name in table.column_names}
    start = time.perf_counter()
    with MDSWriter(out=str(out), columns=kinds) as writer:
        for values in zip(*columns.values(), strict=True):
            writer.write(dict(zip(columns, values, strict=True)))
    return float(table.num_rows / (time.perf_counter() - start))


def _mosaic_epoch(local: Path) -> float:
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
    return _rate(dataset, BATCH_ROWS, MOSAIC_ROWS)


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)
