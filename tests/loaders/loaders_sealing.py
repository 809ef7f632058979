"""What the sealing tests share: sources that count or repeat their reads, and functions to import."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from connector import Partition, TableSource


def table(rows: int = 1000) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "x": pa.array([i / 2 for i in range(rows)], pa.float32()),
            "name": [f"n{i}" for i in range(rows)],
        }
    )


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    at = batch.schema.get_field_index("x")
    return batch.set_column(at, "x", pc.multiply(batch["x"], pa.scalar(2, pa.float32())))


@dataclass(frozen=True)
class CountingSource:
    """A table that writes a line to a file for each partition read, and may be slow."""

    inner: TableSource
    log: Path
    pause_seconds: float = 0.0

    @property
    def schema(self) -> pa.Schema:
        return self.inner.schema

    @property
    def key(self) -> tuple[str, ...]:
        return self.inner.key

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def partitions(self) -> Sequence[Partition]:
        return self.inner.partitions()

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        with self.log.open("a") as file:
            file.write(f"{partition.index}\n")
        time.sleep(self.pause_seconds)
        yield from self.inner.read(partition)

    def reads(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


def slower(source: CountingSource, seconds: float) -> CountingSource:
    return replace(source, pause_seconds=seconds)
