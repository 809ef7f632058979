"""Rows one by one, for code that is written so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from torch.utils.data import Dataset, IterableDataset

from loaders.convert import Ragged
from loaders.gather import rows_of
from loaders.layout import Layout
from loaders.open_shards import Numbered, OpenShards
from loaders.pytorch.batches import own_buffer, unpacked
from loaders.shards import ShardedSource

if TYPE_CHECKING:
    from loaders.pytorch.dataset import SourceDataset

Row = dict[str, Any]
_MOST_OPEN = 256


class Rows(Sequence[Row]):
    """The rows of a batch: dicts of a value for each column, views of the batch's memory.

    Attributes:
        batch: column name to tensor, ``Ragged`` or list.
    """

    def __init__(self, batch: Mapping[str, Any], count: int) -> None:
        self.batch = batch
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"row {index} of {self._count}")
        at = index % self._count
        return {name: _value(column, at) for name, column in self.batch.items()}


class SampleDataset(IterableDataset[Row]):
    """The rows of a SourceDataset, in its order; a DataLoader's ``batch_size`` joins them again.

    There is no token for a place inside a batch.
    """

    def __init__(self, dataset: SourceDataset) -> None:
        self._dataset = dataset

    def __iter__(self) -> Iterator[Row]:
        for batch, count in self._dataset.counted():
            yield from Rows(batch, count)


class RowDataset(Dataset[Row]):
    """Sealed rows by their number in the manifest's order, for samplers.

    ``DataLoader(dataset, batch_size=64, sampler=..., collate_fn=RowDataset.collate)`` takes the rows of a
    batch column by column; torch's own collating takes them one by one.

    Args:
        shards: from ``seal``.
        columns: names of the columns wanted, in order; None for all.

    Raises:
        SchemaError: there is no such column, or its type has no tensor.
    """

    def __init__(self, shards: ShardedSource, *, columns: Sequence[str] | None = None) -> None:
        self.shards = shards
        self._layout = Layout.of(shards.chosen(columns))
        counts = shards.shard_rows
        self._numbered = Numbered.of(0, range(len(counts)), counts)
        self._most_open = _most_open(shards)
        self._opened: OpenShards | None = None

    def __len__(self) -> int:
        return self.shards.rows

    def __getitem__(self, index: int) -> Row:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> Rows:
        """The rows of these numbers, in this order."""
        total = len(self)
        wanted = np.asarray(indices, np.int64)
        if not len(wanted):
            return Rows({}, 0)
        if not (-total <= wanted.min() and wanted.max() < total):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {total}")
        if self._opened is None:
            self._opened = OpenShards([self.shards], self._layout)
        self._opened.keep_latest(self._most_open)
        owner, apart = rows_of(
            self._opened, self._numbered, wanted % total, self._layout, own_buffer
        )
        return Rows(unpacked(owner, self._layout, len(wanted), apart), len(wanted))

    @staticmethod
    def collate(rows: Rows) -> dict[str, Any]:
        """The batch that the rows are of; for DataLoader's ``collate_fn``."""
        return dict(rows.batch)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _most_open(shards: ShardedSource) -> int:
    """How many shards stay open from one batch to the next: each with a home has a file open.

    Of a cache with a limit they leave half to the next batch's.
    """
    near = shards.nearby
    if near is None or near.limit_bytes is None:
        return _MOST_OPEN
    largest = max((shard.bytes for shard in shards.manifest.shards), default=1)
    return min(_MOST_OPEN, near.limit_bytes // (2 * largest))


def _value(column: Any, at: int) -> Any:
    if isinstance(column, Ragged):
        return column.values[column.offsets[at] : column.offsets[at + 1]]
    return column[at]
