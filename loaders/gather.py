"""Gathering batches of an epoch's order from mapped shards into one buffer each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from loaders.convert import Array, Form, plain, to_numpy, to_ragged
from loaders.layout import Apart, Buffer, Layout
from loaders.mixing import MixedOrder, Run
from loaders.open_shards import Numbered, OpenShard, OpenShards, Places
from loaders.shards import ShardedSource


class Plan:
    """Where the rows of a batch come from: shard by shard, and then back into the batch's order."""

    def __init__(self, rows: int) -> None:
        # A shard, where its rows are among those of all shards, and their numbers in it.
        self._parts: list[tuple[OpenShard, slice, Places]] = []
        self._back = np.empty(rows, np.int64)
        self._planned = 0

    def add(self, shards: OpenShards, numbered: Numbered, rows: Places, slots: Places) -> None:
        """Plan rows of shards that are numbered through, and which rows of the batch they are."""
        ascending = np.argsort(rows)
        rows = rows[ascending]
        begin = self._planned
        self._planned += len(rows)
        self._back[slots[ascending]] = np.arange(begin, self._planned)
        cuts = np.searchsorted(rows, numbered.bounds)
        for i, (first, last) in enumerate(itertools.pairwise(cuts)):
            if first < last:
                shard = shards.open(numbered.part, numbered.shards[i])
                span = slice(begin + first, begin + last)
                self._parts.append((shard, span, rows[first:last] - numbered.bounds[i]))

    def fill(self, name: str, array: Array) -> None:
        """A column's rows: each shard's in a run, then that run in order, which is faster than to scatter."""
        run = np.empty_like(array)
        for shard, span, rows in self._parts:
            source = shard.views[name]
            if source is None:
                run[span] = to_numpy(name, shard.taken(name, rows))
            else:
                source.take(rows, 0, run[span], "clip")  # "clip" writes to its place without a copy
        run.take(self._back, 0, array, "clip")

    def apart(self, name: str, form: Form) -> Apart:
        """The rows of a column that lies in no buffer."""
        found = pa.concat_arrays([shard.taken(name, rows) for shard, _, rows in self._parts])
        return _finished(name, form, found.take(pa.array(self._back)))


def gathered(
    sources: Sequence[ShardedSource],
    order: MixedOrder,
    spans: Iterable[tuple[int, int]],
    layout: Layout,
    allocate: Callable[[int], tuple[Any, Buffer]],
) -> Iterator[tuple[Any, dict[str, Apart], int]]:
    """Batches of an epoch's order.

    Args:
        sources: where the rows are.
        order: of the epoch.
        spans: the positions of each batch, from and up to; ascending, so that shards are opened once.
        layout: of the columns wanted.
        allocate: bytes to a buffer's owner, and the buffer.

    Yields:
        The buffer's owner, the columns apart from it, and the number of rows.
    """
    shards = OpenShards(sources, layout)
    groups: dict[tuple[int, int, int], Numbered] = {}
    for together in _together(spans, layout.rows_together):
        runs = [list(order.runs(start, stop)) for start, stop in together]
        groups = _grouped(itertools.chain.from_iterable(runs), groups)
        shards.keep(set().union(*(group.keys for group in groups.values())))
        plans = []
        for (start, stop), own in zip(together, runs, strict=True):
            plan = Plan(stop - start)
            for run in own:
                group = groups[_key(run)]
                rows = np.arange(run.first, run.first + len(run.slots))
                rows = rows if group.permutation is None else group.permutation[rows]
                plan.add(shards, group, rows, run.slots)
            plans.append((plan, stop - start))
        yield from _made(plans, layout, allocate)


def rows_of(
    shards: OpenShards,
    numbered: Numbered,
    rows: Places,
    layout: Layout,
    allocate: Callable[[int], tuple[Any, Buffer]],
) -> tuple[Any, dict[str, Apart]]:
    """One batch of some rows, as ``gathered`` has them: the buffer's owner, and the columns apart from it."""
    plan = Plan(len(rows))
    plan.add(shards, numbered, rows, np.arange(len(rows)))
    ((owner, apart, _),) = _made([(plan, len(rows))], layout, allocate)
    return owner, apart


def packed(
    batch: pa.RecordBatch, layout: Layout, allocate: Callable[[int], tuple[Any, Buffer]]
) -> tuple[Any, dict[str, Apart]]:
    """A batch as it is, in the form of those that are gathered."""
    owner, buffer = allocate(layout.nbytes(batch.num_rows))
    for name, array in layout.arrays(buffer, batch.num_rows).items():
        array[...] = to_numpy(name, batch[name])
    forms = layout.apart.items()
    return owner, {name: _finished(name, form, plain(batch[name])) for name, form in forms}


def _made(
    plans: Sequence[tuple[Plan, int]],
    layout: Layout,
    allocate: Callable[[int], tuple[Any, Buffer]],
) -> Iterator[tuple[Any, dict[str, Apart], int]]:
    """The planned batches, a column of all at a time, so that a column stays in the processor's cache."""
    owners, arrays = [], []
    for _, rows in plans:
        owner, buffer = allocate(layout.nbytes(rows))
        owners.append(owner)
        arrays.append(layout.arrays(buffer, rows))
    for name in (name for _, _, names in layout.blocks for name in names):
        for (plan, _), own in zip(plans, arrays, strict=True):
            plan.fill(name, own[name])
    for (plan, rows), owner in zip(plans, owners, strict=True):
        yield owner, {name: plan.apart(name, form) for name, form in layout.apart.items()}, rows


def _grouped(
    runs: Iterable[Run], known: dict[tuple[int, int, int], Numbered]
) -> dict[tuple[int, int, int], Numbered]:
    """The shards of each group that some runs are of; those that are known are not numbered anew."""
    found: dict[tuple[int, int, int], Numbered] = {}
    for run in runs:
        key = _key(run)
        found[key] = found.get(key) or known.get(key) or _numbered(run)
    return found


def _key(run: Run) -> tuple[int, int, int]:
    return run.order.part, run.order.epoch, run.group.index


def _numbered(run: Run) -> Numbered:
    found = Numbered.of(run.order.part, run.group.shards, run.order.shard_rows)
    return replace(found, permutation=run.order.permutation(run.group))


def _finished(name: str, form: Form, column: pa.Array) -> Apart:
    found: Apart = to_ragged(name, column) if form is Form.RAGGED else column.to_pylist()
    return found


def _together(spans: Iterable[tuple[int, int]], most_rows: int) -> Iterator[list[tuple[int, int]]]:
    """Spans in runs that are gathered at once."""
    run: list[tuple[int, int]] = []
    rows = 0
    for start, stop in spans:
        run.append((start, stop))
        rows += stop - start
        if rows >= most_rows:
            yield run
            run, rows = [], 0
    if run:
        yield run
