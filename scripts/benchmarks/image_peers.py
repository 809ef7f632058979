"""mosaicml-streaming and LitData with JPEGs: they write them, and decode an epoch, when told to.

    python -P image_peers.py '{"table": "rows.arrow", "directory": ..., "size": [224, 224], ...}'

``write`` or ``epoch``, and a peer's name; see answering. Both keep the JPEGs' bytes as they are and
decode a sample at a time, as their users do.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from litdata import StreamingDataLoader
from litdata import StreamingDataset as LitDataset
from litdata.streaming.writer import BinaryWriter
from PIL import Image
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.answering import answer

CHUNK_BYTES = 64 << 20
"""Of both writers' files; LitData's own default, and near ours."""


def with_pixels(sample: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The calls of Pillow that loaders.images makes."""
    height, width = size
    with Image.open(io.BytesIO(sample["image"])) as image:
        draft = image.draft("RGB", (width, height))
        image.load()
    box = draft[1] if draft else None
    resized = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return {**sample, "image": torch.from_numpy(np.array(resized))}


class MosaicImages(StreamingDataset):  # type: ignore[misc]
    """Samples with their pixels."""

    def __init__(self, size: tuple[int, int], **options: Any) -> None:
        super().__init__(**options)
        self.size_wanted = size

    def __getitem__(self, at: Any) -> Any:
        return with_pixels(super().__getitem__(at), self.size_wanted)


class LitImages(LitDataset):  # type: ignore[misc]
    """Samples with their pixels."""

    def __init__(self, size: tuple[int, int], directory: str) -> None:
        super().__init__(directory, shuffle=True, seed=1)
        self.size_wanted = size

    def __getitem__(self, index: Any) -> Any:
        return with_pixels(super().__getitem__(index), self.size_wanted)


@dataclass(frozen=True)
class Peers:
    """What each peer does.

    Attributes:
        table: an Arrow file of the rows.
        directory: where they write.
        size: height and width of the pixels.
        batch_rows: rows in a batch.
        workers: of a DataLoader.
    """

    table: str
    directory: str
    size: tuple[int, int]
    batch_rows: int
    workers: int

    def write_mosaic(self) -> int:
        kinds = {"id": "int", "label": "int", "image": "bytes"}
        out = self._empty("mosaic")
        with MDSWriter(out=out, columns=kinds, size_limit=CHUNK_BYTES) as writer:
            for row in self._rows():
                writer.write(row)
        return self._count

    def epoch_mosaic(self) -> int:
        clean_stale_shared_memory()
        dataset = MosaicImages(
            self.size,
            local=f"{self.directory}/mosaic",
            shuffle=True,
            batch_size=self.batch_rows,
        )
        return _read(DataLoader(dataset, batch_size=self.batch_rows, num_workers=self.workers))

    def write_litdata(self) -> int:
        writer = BinaryWriter(self._empty("litdata"), chunk_bytes=CHUNK_BYTES)
        for number, row in enumerate(self._rows()):
            writer.add_item(number, row)
        writer.done()
        writer.merge()
        return self._count

    def epoch_litdata(self) -> int:
        dataset = LitImages(self.size, f"{self.directory}/litdata")
        return _read(
            StreamingDataLoader(
                dataset, batch_size=self.batch_rows, num_workers=self.workers, drop_last=False
            )
        )

    @property
    def _count(self) -> int:
        with pa.memory_map(self.table) as file, pa.ipc.open_file(file) as reader:
            return int(reader.read_all().num_rows)

    def _rows(self) -> Iterator[dict[str, Any]]:
        with pa.memory_map(self.table) as file, pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                yield from reader.get_batch(number).to_pylist()

    def _empty(self, name: str) -> str:
        directory = Path(self.directory) / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return str(directory)


def _read(batches: Any) -> int:
    return sum(len(batch["image"]) for batch in batches)


def main(given: dict[str, Any]) -> None:
    peers = Peers(**{**given, "size": tuple(given["size"])})
    work = {
        f"{verb} {name}": getattr(peers, f"{verb}_{name}")
        for verb in ("write", "epoch")
        for name in ("mosaic", "litdata")
    }
    answer(work, ("mosaicml-streaming", "litdata", "torch", "numpy", "pillow"))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
