"""Gathering batches of an epoch's order from mapped shards into one buffer each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loaders.convert import Array, Form, Ragged, form_of, item_type, to_numpy, to_ragged, view
from loaders.nearby import Pin
from loaders.order import Group, Order
from loaders.shards import ShardedSource

Buffer = NDArray[np.uint8]
Places = NDArray[np.int64]
Apart: TypeAlias = "Ragged | list[Any]"
"""A column of a batch that lies in no buffer."""

ROWS_TOGETHER = 1 << 16
"""Rows gathered at a time: with more, better use of the processor's cache, and a later first batch."""


@dataclass(frozen=True)
class Layout:
    """How the columns of a batch lie in one buffer: columns of one type beside each other.

    Attributes:
        columns: all names, in order.
        blocks: NumPy type, shape of one value, and names; the widest types first, so that every
            block is aligned.
        apart: what the columns become that have no place in the buffer.
    """

    columns: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...]
    apart: dict[str, Form]

    @classmethod
    def of(cls, schema: pa.Schema) -> Layout:
        """The layout for batches of a schema; raises SchemaError for types without one."""
        found: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        apart: dict[str, Form] = {}
        for item in schema:
            form = form_of(item.name, item.type)
            if form is Form.ARRAY:
                kind, shape = item_type(item.name, item.type)
                found.setdefault((kind.str, shape), []).append(item.name)
            else:
                apart[item.name] = form
        widest = sorted(found, key=lambda kind: (-np.dtype(kind[0]).itemsize, kind))
        blocks = tuple((*kind, tuple(found[kind])) for kind in widest)
        return cls(tuple(schema.names), blocks, apart)

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


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a batch that lies in shards that are open together.

    Attributes:
        rows: which of their rows, counted over the shards, in the batch's order.
        arrays: where the values of each column in the buffer go.
        apart: for each other column, the rows of the batch so far, to which these are added.
    """

    rows: Places
    arrays: dict[str, Array]
    apart: dict[str, list[pa.Array]]


class OpenShards:
    """Shards whose rows are numbered through; each is mapped when a row of it is first wanted."""

    def __init__(self, shards: ShardedSource, numbers: Sequence[int], layout: Layout) -> None:
        self._shards = shards
        self._numbers = numbers
        self._layout = layout
        rows = [shards.manifest.shards[number].rows for number in numbers]
        self._bounds = np.cumsum([0, *rows])
        self._mapped: dict[int, pa.RecordBatch] = {}
        self._pins: dict[int, Pin | None] = {}  # released with the shards
        self._views: dict[int, dict[str, Array | None]] = {}

    def fill(self, pieces: Sequence[Piece]) -> None:
        """Gather the rows of all pieces, a column at a time, so that a column stays in the cache."""
        plans = [self._plan(piece.rows) for piece in pieces]
        for name in pieces[0].arrays:
            for piece, (back, parts) in zip(pieces, plans, strict=True):
                self._fill_column(name, piece.arrays[name], back, parts)
        for name in self._layout.apart:
            for piece, (back, parts) in zip(pieces, plans, strict=True):
                found = pa.concat_arrays([self._taken(i, name, local) for i, _, local in parts])
                piece.apart[name].append(found.take(pa.array(back)))

    def _plan(self, rows: Places) -> tuple[Places, list[tuple[int, slice, Places]]]:
        """The rows shard by shard, and how they go back into their order."""
        ascending = np.argsort(rows)
        rows = rows[ascending]
        back = np.empty_like(ascending)
        back[ascending] = np.arange(len(rows))
        cuts = np.searchsorted(rows, self._bounds)
        parts = [
            (i, slice(first, last), rows[first:last] - self._bounds[i])
            for i, (first, last) in enumerate(itertools.pairwise(cuts))
            if first < last
        ]
        for i, _, _ in parts:
            self._open(i)
        return back, parts

    def _open(self, i: int) -> None:
        if i in self._mapped:
            return
        whole, self._pins[i] = self._shards.pinned(self._numbers[i])
        batch = whole.select(list(self._layout.columns))
        self._mapped[i] = batch
        self._views[i] = {
            name: view(name, batch[name])
            for name in self._layout.columns
            if name not in self._layout.apart
        }

    def _fill_column(
        self, name: str, array: Array, back: Places, parts: list[tuple[int, slice, Places]]
    ) -> None:
        """Take the rows of each shard in a run, then that run in order: faster than to scatter them."""
        run = np.empty_like(array)
        for i, span, local in parts:
            source = self._views[i][name]
            if source is None:
                run[span] = to_numpy(name, self._taken(i, name, local))
            else:
                source.take(
                    local, 0, run[span], "clip"
                )  # "clip" writes to its place without a copy
        run.take(back, 0, array, "clip")

    def _taken(self, i: int, name: str, local: Places) -> pa.Array:
        found = self._mapped[i][name].take(pa.array(local))
        return _plain(found)


def gathered(
    shards: ShardedSource,
    order: Order,
    spans: Iterable[tuple[int, int]],
    layout: Layout,
    allocate: Callable[[int], tuple[Any, Buffer]],
) -> Iterator[tuple[Any, dict[str, Apart], int]]:
    """Batches of an epoch's order.

    Args:
        shards: where the rows are.
        order: of the epoch.
        spans: the positions of each batch, from and up to; ascending, so that shards are opened once.
        layout: of the columns wanted.
        allocate: bytes to a buffer's owner, and the buffer.

    Yields:
        The buffer's owner, the columns apart from it, and the number of rows.
    """
    opened: dict[int, tuple[OpenShards, Places | None]] = {}
    for together in _together(spans):
        made: list[tuple[Any, dict[str, list[pa.Array]], int]] = []
        pieces: dict[Group, list[Piece]] = {}
        for start, stop in together:
            owner, buffer = allocate(layout.nbytes(stop - start))
            apart: dict[str, list[pa.Array]] = {name: [] for name in layout.apart}
            made.append((owner, apart, stop - start))
            arrays = layout.arrays(buffer, stop - start)
            at = 0
            for group, begin, end in order.pieces(start, stop):
                part = {name: array[at : at + end - begin] for name, array in arrays.items()}
                rows = np.arange(begin, end)
                pieces.setdefault(group, []).append(Piece(rows, part, apart))
                at += end - begin
        opened = {
            group.index: opened.get(group.index)
            or (OpenShards(shards, group.shards, layout), order.permutation(group))
            for group in pieces
        }
        for group, some in pieces.items():
            there, permutation = opened[group.index]
            if permutation is not None:
                some = [replace(piece, rows=permutation[piece.rows]) for piece in some]
            there.fill(some)
        for owner, apart, count in made:
            yield owner, _finished(layout, apart), count


def rows_of(
    opened: OpenShards,
    rows: Places,
    layout: Layout,
    allocate: Callable[[int], tuple[Any, Buffer]],
) -> tuple[Any, dict[str, Apart]]:
    """One batch of some rows, as ``gathered`` has them: the buffer's owner, and the columns apart from it."""
    owner, buffer = allocate(layout.nbytes(len(rows)))
    apart: dict[str, list[pa.Array]] = {name: [] for name in layout.apart}
    opened.fill([Piece(rows, layout.arrays(buffer, len(rows)), apart)])
    return owner, _finished(layout, apart)


def packed(
    batch: pa.RecordBatch, layout: Layout, allocate: Callable[[int], tuple[Any, Buffer]]
) -> tuple[Any, dict[str, Apart]]:
    """A batch as it is, in the form of those that are gathered."""
    owner, buffer = allocate(layout.nbytes(batch.num_rows))
    for name, array in layout.arrays(buffer, batch.num_rows).items():
        array[...] = to_numpy(name, batch[name])
    return owner, _finished(layout, {name: [_plain(batch[name])] for name in layout.apart})


def _finished(layout: Layout, apart: dict[str, list[pa.Array]]) -> dict[str, Apart]:
    found: dict[str, Apart] = {}
    for name, parts in apart.items():
        whole = pa.concat_arrays(parts)
        ragged = layout.apart[name] is Form.RAGGED
        found[name] = to_ragged(name, whole) if ragged else whole.to_pylist()
    return found


def _together(spans: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Spans in runs that are gathered at once."""
    run: list[tuple[int, int]] = []
    rows = 0
    for start, stop in spans:
        run.append((start, stop))
        rows += stop - start
        if rows >= ROWS_TOGETHER:
            yield run
            run, rows = [], 0
    if run:
        yield run


def _plain(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
