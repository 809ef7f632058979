"""Epochs of JPEGs out of Redis, decoded in a DataLoader's workers, beside other loaders.

Pictures of 256 x 256 go through a Redis table into a seal. Every contender shuffles, decodes and resizes to
224 x 224 by the same calls of Pillow, and feeds a DataLoader of 2 workers with batches of 256. Of ours, one
decodes when it reads and one has decoded when it sealed. mosaicml-streaming and LitData run in the
environment of ``scripts/peers DIRECTORY loaders``.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks import server
from benchmarks.asking import Asked, started
from benchmarks.settings import Settings
from benchmarks.tables import TABLE
from benchmarks.timing import Contender, in_turn, over, summary, timed
from connector import Source, WriteOptions, open_store
from loaders import ShardedSource, SourceDataset, Transform, seal
from loaders.images import decoded, pixels

ROWS = 20_000
SIDE = 256
SIZE = (224, 224)
QUALITY = 85
BATCH_ROWS = 256
WORKERS = 2
WRITE_ROWS = 500
PEERS = ("mosaic", "litdata")


def make_table(rows: int) -> pa.Table:
    """Numbers, labels and JPEGs, the same in every run: slopes of colour under noise."""
    noise = np.random.default_rng(0).normal(0, 12, (2 * SIDE, 2 * SIDE, 3))
    with ThreadPoolExecutor(WORKERS) as threads:  # Pillow and NumPy let each other work
        images = list(threads.map(lambda number: _jpeg(number, noise), range(rows)))
    number = np.arange(rows)
    columns = {"id": number, "label": number % 1000, "image": pa.array(images, pa.binary())}
    return pa.table(columns)


def _jpeg(number: int, noise: np.ndarray[Any, np.dtype[np.float64]]) -> bytes:
    y, x = np.ogrid[:SIDE, :SIDE]
    slopes = [number * step % 7 * x / 7 + number * step % 5 * y / 5 for step in (1, 3, 11)]
    down, right = number % SIDE, number // SIDE % SIDE
    picture = np.stack(slopes, -1) % SIDE + noise[down : down + SIDE, right : right + SIDE]
    file = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def collate(batch: dict[str, Any]) -> dict[str, Any]:
    """What a user's workers do with a batch of ours."""
    batch["image"] = torch.from_numpy(pixels(batch["image"], *SIZE))
    return batch


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    table = make_table(rows)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        root = Path(directory)
        writing, encoded, pictures = _sealed(table, root)
        contenders: dict[str, Contender] = {
            "epoch": timed(lambda: _epoch(encoded, collate)),
            "epoch_sealed_pixels": timed(lambda: _epoch(pictures)),
        }
        peers: Asked | None = None
        if settings.has_loaders:
            peers = stack.enter_context(
                started(settings.loaders_python, "image_peers.py", _given(table, root))
            )
            writing |= {f"writing_{name}": peers.rate(f"write {name}") for name in PEERS}
            contenders |= {f"epoch_{name}": peers.contender(f"epoch {name}") for name in PEERS}
        figures = in_turn(contenders, settings.repeats)
    figures |= {name: summary([rate]) for name, rate in writing.items()}
    others = [f"epoch_{name}" for name in PEERS]
    return {
        "rows": rows,
        "bytes_of_a_jpeg": table["image"].nbytes // rows,
        "size": SIZE,
        "batch_rows": BATCH_ROWS,
        "workers": WORKERS,
        "peers": peers.versions if peers else {},
        "figures": figures,
        "ratios": over(figures, "epoch", others)
        | over(figures, "epoch_sealed_pixels", ("epoch", *others)),
        "absent": [] if peers else list(PEERS),
    }


def _sealed(table: pa.Table, root: Path) -> tuple[dict[str, float], ShardedSource, ShardedSource]:
    """Rates of writing to the server and of sealing from it, and the seals: of JPEGs and of pixels."""
    to_pixels = Transform(
        decoded, {"column": "image", "height": SIZE[0], "width": SIZE[1]}, version="1"
    )
    with server.start() as running, open_store(running.url) as store:
        began = time.perf_counter()
        store.write(TABLE, table.to_batches(WRITE_ROWS), WriteOptions(key=("id",)))
        rates = {"to_redis": table.num_rows / (time.perf_counter() - began)}
        source = store.source(TABLE)
        rates["sealing"], encoded = _seal(source, root / "encoded")
        rates["sealing_pixels"], pictures = _seal(source, root / "pixels", to_pixels)
    return rates, encoded, pictures


def _seal(
    source: Source, cache: Path, transform: Transform | None = None
) -> tuple[float, ShardedSource]:
    began = time.perf_counter()
    shards = seal(source, transform=transform, cache=cache, version="bench")
    return shards.rows / (time.perf_counter() - began), shards


def _epoch(shards: ShardedSource, collate_fn: Callable[[Any], Any] | None = None) -> int:
    """Read an epoch; the making of the workers is timed with it."""
    dataset = SourceDataset(shards, batch_size=BATCH_ROWS, shuffle="full")
    loader = DataLoader(dataset, batch_size=None, num_workers=WORKERS, collate_fn=collate_fn)
    return sum(_checked(batch) for batch in loader)


def _checked(batch: dict[str, torch.Tensor]) -> int:
    rows = len(batch["label"])
    assert batch["image"].shape == (rows, *SIZE, 3)
    return rows


def _given(table: pa.Table, root: Path) -> dict[str, object]:
    with pa.ipc.new_file(root / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    return {
        "table": str(root / "rows.arrow"),
        "directory": str(root / "peers"),
        "size": SIZE,
        "batch_rows": BATCH_ROWS,
        "workers": WORKERS,
    }
