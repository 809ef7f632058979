"""Shards whose rows are being read: which are open, and how their rows are numbered through."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loaders.convert import Array, plain, view
from loaders.layout import Layout
from loaders.shards import ShardedSource

Places = NDArray[np.int64]


class OpenShard:
    """The columns of a shard, lying in the mapped file.

    Attributes:
        views: those that become arrays, as such; None where that takes a copy.
    """

    def __init__(self, shards: ShardedSource, number: int, layout: Layout) -> None:
        # The pin is held for as long as the shard is.
        self._batch, self._pin = shards.pinned(number, layout.columns)
        self.views: dict[str, Array | None] = {
            name: view(name, self._batch[name])
            for name in layout.columns
            if name not in layout.apart
        }

    def taken(self, name: str, rows: Places) -> pa.Array:
        """Some rows of a column."""
        return plain(self._batch[name].take(pa.array(rows)))


@dataclass(frozen=True)
class Numbered:
    """Shards of one source whose rows are numbered through.

    Attributes:
        part: number of the source.
        shards: their numbers.
        bounds: the number of each shard's first row, and of the row behind the last.
        permutation: for each place of an order, the number of the row that stands there; None for itself.
    """

    part: int
    shards: Sequence[int]
    bounds: Places
    permutation: Places | None = None

    @classmethod
    def of(cls, part: int, shards: Sequence[int], rows: Sequence[int]) -> Numbered:
        """Shards in their order; ``rows`` has those of every shard of the source."""
        bounds = np.cumsum([0, *(rows[number] for number in shards)])
        return cls(part, shards, bounds)

    @property
    def keys(self) -> set[tuple[int, int]]:
        """Numbers of source and shard of each."""
        return {(self.part, number) for number in self.shards}


class OpenShards:
    """The shards of some sources that are open; each is mapped when a row of it is first wanted."""

    def __init__(self, sources: Sequence[ShardedSource], layout: Layout) -> None:
        self._sources = sources
        self._layout = layout
        self._held: dict[tuple[int, int], OpenShard] = {}

    def open(self, part: int, number: int) -> OpenShard:
        """A shard, by the numbers of its source and of itself; the latest to be used."""
        shard = self._held.pop((part, number), None)
        if shard is None:
            shard = OpenShard(self._sources[part], number, self._layout)
        self._held[part, number] = shard
        return shard

    def keep(self, wanted: Collection[tuple[int, int]]) -> None:
        """Close all but these."""
        for key in self._held.keys() - wanted:
            del self._held[key]

    def keep_latest(self, count: int) -> None:
        """Close all but the latest used."""
        for key in list(self._held)[: max(len(self._held) - count, 0)]:
            del self._held[key]
