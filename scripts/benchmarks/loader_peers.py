"""mosaicml-streaming, LitData and Hugging Face's datasets: write rows and read epochs when told to.

    python -P loader_peers.py '{"table": "rows.arrow", "directory": ..., "batch_rows": 4096, ...}'

``write`` or ``epoch``, and a peer's name; see answering. Every epoch permutes rows over at least
``window_rows``, and ends after the rows in ``read``.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from litdata import StreamingDataLoader
from litdata import StreamingDataset as LitDataset
from litdata.streaming.writer import BinaryWriter
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.answering import answer


@dataclass(frozen=True)
class Peers:
    """What each peer does.

    Attributes:
        table: an Arrow file of the rows.
        directory: where they write.
        batch_rows: rows in a batch.
        window_rows: rows that are permuted together.
        workers: of a DataLoader.
        written: the first rows, which a peer by this name writes; all where it is not named.
        read: the first rows of a peer's epoch, likewise.
    """

    table: str
    directory: str
    batch_rows: int
    window_rows: int
    workers: int
    written: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)

    def write_mosaic(self) -> int:
        table = self._rows("mosaic")
        kinds = {item.name: str(np.dtype(item.type.to_pandas_dtype())) for item in table.schema}
        columns = {name: table[name].to_numpy() for name in table.column_names}
        with MDSWriter(out=self._empty("mosaic"), columns=kinds) as writer:
            for values in zip(*columns.values(), strict=True):
                writer.write(dict(zip(columns, values, strict=True)))
        return int(table.num_rows)

    def epoch_mosaic(self) -> int:
        clean_stale_shared_memory()
        dataset = StreamingDataset(
            local=f"{self.directory}/mosaic",
            shuffle=True,
            shuffle_algo="py1e",
            shuffle_block_size=self.window_rows,
            batch_size=self.batch_rows,
        )
        loader = DataLoader(dataset, batch_size=self.batch_rows, num_workers=self.workers)
        return self._read("mosaic", loader)

    def write_litdata(self) -> int:
        """By the writer inside of ``optimize``, which is faster alone; Python numbers are its fastest."""
        table = self._rows("litdata")
        columns = {name: table[name].to_pylist() for name in table.column_names}
        # It permutes the rows of a chunk.
        writer = BinaryWriter(self._empty("litdata"), chunk_size=self.window_rows)
        for row, values in enumerate(zip(*columns.values(), strict=True)):
            writer.add_item(row, dict(zip(columns, values, strict=True)))
        writer.done()
        writer.merge()
        return int(table.num_rows)

    def epoch_litdata(self) -> int:
        dataset = LitDataset(f"{self.directory}/litdata", shuffle=True, seed=1)
        loader = StreamingDataLoader(
            dataset, batch_size=self.batch_rows, num_workers=self.workers, drop_last=False
        )
        return self._read("litdata", loader)

    def write_datasets(self) -> int:
        table = self._rows("datasets")
        datasets.Dataset(table).save_to_disk(self._empty("datasets"))
        return int(table.num_rows)

    def epoch_datasets(self) -> int:
        """Of all rows, by lists of row numbers: over twice as fast as an iterable one with a buffer."""
        rows = datasets.load_from_disk(f"{self.directory}/datasets").with_format("torch")
        batches = BatchSampler(RandomSampler(rows), self.batch_rows, drop_last=False)
        loader = DataLoader(rows, batch_size=None, sampler=batches, num_workers=self.workers)
        return self._read("datasets", loader)

    def _rows(self, name: str) -> pa.Table:
        with pa.memory_map(self.table) as file, pa.ipc.open_file(file) as reader:
            return reader.read_all()[: self.written.get(name)]

    def _empty(self, name: str) -> str:
        directory = Path(self.directory) / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return str(directory)

    def _read(self, name: str, batches: Any) -> int:
        rows, most = 0, self.read.get(name)
        for batch in batches:
            rows += len(batch["label"])
            if most is not None and rows >= most:
                break
        return rows


def main(given: dict[str, Any]) -> None:
    peers = Peers(**given)
    names = ("mosaic", "litdata", "datasets")
    work = {
        f"{verb} {name}": getattr(peers, f"{verb}_{name}")
        for verb in ("write", "epoch")
        for name in names
    }
    answer(work, ("mosaicml-streaming", "litdata", "datasets", "torch", "numpy", "pyarrow"))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
