"""The order of an epoch that takes rows of several sources: pure arithmetic, the same on every machine.

An epoch of several sources takes a fixed number of rows from each. Every source goes through epochs of
its own, from one epoch of the mixture to the next: what one epoch left of it comes in the next, and none
of its rows comes again before all have come.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from loaders.order import Group, Order, random

Places = NDArray[np.int64]

BLOCK_ROWS = 1 << 13
"""About how many rows are dealt out together: in each so many, every source has its share."""


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one group that stand in a span of an epoch.

    Attributes:
        order: of the source's own epoch that they are of; ``order.part`` is the source's number.
        group: where they are.
        first: the first of them, counted inside the group.
        slots: for each, which row of the span it is.
    """

    order: Order
    group: Group
    first: int
    slots: Places


@dataclass(frozen=True)
class MixedOrder:
    """One epoch's order of the rows of one source or several.

    Attributes:
        orders: of each source's first epoch of its own.
        counts: rows of each in an epoch.
        epoch: number of the epoch.
    """

    orders: tuple[Order, ...]
    counts: tuple[int, ...]
    epoch: int = 0
    _latest: dict[int, Order] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Rows of the epoch."""
        return sum(self.counts)

    def runs(self, start: int, stop: int) -> Iterator[Run]:
        """What stands at the positions ``start`` to ``stop``; behind the last row stands the first again."""
        slot = 0
        while start < stop:
            place = start % self.rows
            end = min(place + stop - start, self.rows)
            taken, sources = self._dealt(place, end)
            for part in range(len(self.orders)):
                yield from self._runs(part, taken[part], slot + np.flatnonzero(sources == part))
            slot += end - place
            start += end - place

    def _runs(self, part: int, taken: int, slots: Places) -> Iterator[Run]:
        """The rows of a source that stand in some slots, behind those taken in this epoch."""
        at = self.epoch * self.counts[part] + taken
        while len(slots):
            epoch, first = divmod(at, self.orders[part].rows)
            order = self._of_epoch(part, epoch)
            for group, begin, end in order.pieces(first, min(first + len(slots), order.rows)):
                yield Run(order, group, begin, slots[: end - begin])
                slots = slots[end - begin :]
                at += end - begin

    def _of_epoch(self, part: int, epoch: int) -> Order:
        order = self._latest.get(part)
        if order is None or order.epoch != epoch:
            order = self._latest[part] = replace(self.orders[part], epoch=epoch)
        return order

    def _dealt(self, start: int, stop: int) -> tuple[Sequence[int], Places]:
        """How many rows of each source stand before ``start``, and of which source each up to ``stop`` is."""
        if len(self.counts) == 1:
            return [start], np.zeros(stop - start, np.int64)
        first = self.orders[0]
        seed = None if first.shuffle == "none" else (first.seed, self.epoch)
        block = block_of(self.counts, start)
        before = _before(self.counts, block)
        skipped = start - sum(before)
        patterns: list[Places] = []
        while sum(map(len, patterns)) < stop - start + skipped:
            patterns.append(pattern(self.counts, block + len(patterns), seed))
        dealt = np.concatenate(patterns)
        own = np.bincount(dealt[:skipped], minlength=len(self.counts)).tolist()
        taken = [many + few for many, few in zip(before, own, strict=True)]
        return taken, dealt[skipped : skipped + stop - start]


def shared_out(rows: int, weights: Sequence[float]) -> tuple[int, ...]:
    """So many rows shared out by weight, to the row: the largest remainders have one more."""
    shares = [Fraction(weight) for weight in weights]  # exact, unlike sums of floats
    exact = [rows * share / sum(shares) for share in shares]
    counts = [int(each) for each in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: rows - sum(counts)]:
        counts[i] += 1
    return tuple(counts)


def block_of(counts: Sequence[int], position: int) -> int:
    """The block that a position is in."""
    block = position * _blocks(counts) // sum(counts)
    while sum(_before(counts, block)) > position:
        block -= 1
    while sum(_before(counts, block + 1)) <= position:
        block += 1
    return block


@functools.lru_cache(maxsize=4)
def pattern(counts: tuple[int, ...], block: int, seed: tuple[int, int] | None) -> Places:
    """Of which source each row of a block is.

    Args:
        counts: rows of each source in the epoch.
        block: which block.
        seed: of the order, and the epoch; None spreads every source evenly.
    """
    ends = zip(_before(counts, block), _before(counts, block + 1), strict=True)
    shares = [end - begin for begin, end in ends]
    sources = np.repeat(np.arange(len(shares)), shares)
    if seed is not None:
        return random((*seed, block, 0, 1)).permutation(sources)
    even = np.concatenate([(np.arange(share) + 0.5) / share for share in shares if share])
    return sources[np.argsort(even, kind="stable")]


def _blocks(counts: Sequence[int]) -> int:
    return -(-sum(counts) // BLOCK_ROWS)


def _before(counts: Sequence[int], block: int) -> list[int]:
    """How many rows of each source stand before a block: never fewer than before an earlier one."""
    blocks = _blocks(counts)
    return [count * block // blocks for count in counts]
