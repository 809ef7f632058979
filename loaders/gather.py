"""Gathering batches of an epoch's order from mapped shards into one buffer each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loaders.convert import Array, item_type, to_numpy, view
from loaders.order import Group, Order
from loaders.shards import ShardedSource

Buffer = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """How the columns of a batch lie in one buffer: columns of one type beside each other.

    Attributes:
        columns: all names, in order.
        blocks: NumPy type, shape of one value, and names; the widest types first, so that every
            block is aligned.
        objects: names of columns that become lists.
    """

    columns: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...]
    objects: tuple[str, ...]

    @classmethod
    def of(cls, schema: pa.Schema) -> Layout:
        """The layout for batches of a schema; raises SchemaError for types without one."""
        found: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        objects = []
        for item in schema:
            kind = item_type(item.name, item.type)
            if kind is None:
                objects.append(item.name)
            else:
                found.setdefault((kind[0].str, kind[1]), []).append(item.name)
        widest = sorted(found, key=lambda kind: (-np.dtype(kind[0]).itemsize, kind))
        blocks = tuple((*kind, tuple(found[kind])) for kind in widest)
        return cls(tuple(schema.names), blocks, tuple(objects))

    def nbytes(self, rows: int) -> int:
        """Bytes of a buffer for this many rows."""
        return sum(
            np.dtype(kind).itemsize * prod(shape) * len(names) * rows
            for kind, shape, names in self.blocks
        )

    def arrays(self, buffer: Buffer, rows: int) -> dict[str, Array]:
        """The columns inside a buffer, each of shape (rows, ...)."""
        found: dict[str, Array] = {}
        at = 0
        for kind, shape, names in self.blocks:
            size = np.dtype(kind).itemsize * prod(shape) * len(names) * rows
            block = buffer[at : at + size].view(kind).reshape(len(names), rows, *shape)
            found.update(zip(names, block, strict=True))
            at += size
        return found


class OpenGroup:
    """A group's shards, mapped, and its permutation."""

    def __init__(self, shards: ShardedSource, order: Order, group: Group, layout: Layout) -> None:
        self._batches = [shards.open(index).select(list(layout.columns)) for index in group.shards]
        self._bounds = np.cumsum([0, *(batch.num_rows for batch in self._batches)])
        self._views = [
            {name: view(name, batch[name]) for name in layout.columns} for batch in self._batches
        ]
        self._permutation = order.permutation(group)
        self._layout = layout

    def fill(
        self, start: int, stop: int, arrays: dict[str, Array], objects: dict[str, list[Any]]
    ) -> None:
        """Write rows at places ``start`` to ``stop`` of the group into ``arrays``; extend ``objects``."""
        permutation = self._permutation
        rows = np.arange(start, stop) if permutation is None else permutation[start:stop]
        # Reading in the order of memory visits each page once, and leaves each shard's rows together.
        ascending = np.argsort(rows)
        rows = rows[ascending]
        cuts = np.searchsorted(rows, self._bounds)
        parts = [
            (i, ascending[first:last], rows[first:last] - self._bounds[i])
            for i, (first, last) in enumerate(itertools.pairwise(cuts))
            if first < last
        ]
        for name, array in arrays.items():
            for i, places, local in parts:
                source = self._views[i][name]
                values = (
                    source.take(local, axis=0)
                    if source is not None
                    else self._taken(i, name, local)
                )
                array[places] = values
        for name in self._layout.objects:
            found: list[Any] = [None] * len(rows)
            for i, places, local in parts:
                for place, value in zip(places.tolist(), self._taken(i, name, local), strict=True):
                    found[place] = value
            objects[name] += found

    def _taken(self, i: int, name: str, local: NDArray[np.int64]) -> Array | list[Any]:
        return to_numpy(name, self._batches[i][name].take(pa.array(local)))


def gathered(
    shards: ShardedSource,
    order: Order,
    numbers: Sequence[int],
    batch_size: int,
    layout: Layout,
    allocate: Callable[[int], tuple[Any, Buffer]],
) -> Iterator[tuple[Any, dict[str, list[Any]], int]]:
    """Global batches by number, ascending.

    Args:
        shards: where the rows are.
        order: of the epoch.
        numbers: which batches.
        batch_size: rows of each but the epoch's last.
        layout: of the columns wanted.
        allocate: bytes to a buffer's owner, and the buffer.

    Yields:
        The buffer's owner, the lists of objects, and the number of rows.
    """
    opened: tuple[int, OpenGroup] | None = None
    for number in numbers:
        start = number * batch_size
        rows = min(batch_size, order.rows - start)
        owner, buffer = allocate(layout.nbytes(rows))
        arrays = layout.arrays(buffer, rows)
        objects: dict[str, list[Any]] = {name: [] for name in layout.objects}
        at = 0
        for group, first, last in order.pieces(start, start + rows):
            if opened is None or opened[0] != group.index:
                opened = group.index, OpenGroup(shards, order, group, layout)
            into = {name: array[at : at + last - first] for name, array in arrays.items()}
            opened[1].fill(first, last, into, objects)
            at += last - first
        yield owner, objects, rows
