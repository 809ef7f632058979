"""The seeded global order of an epoch over shards: pure arithmetic, the same on every machine.

A row's position in the epoch follows from the row counts of the shards, the seed and the epoch
alone; no process needs to have read what stands before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from connector.errors import OptionError

Shuffle = Literal["none", "shards", "full"]


@dataclass(frozen=True, slots=True)
class Group:
    """Shards whose rows are permuted together.

    Attributes:
        index: which group of the epoch.
        shards: numbers of the shards, in the epoch's order.
        start: position in the epoch of the group's first row.
        rows: rows of its shards together.
    """

    index: int
    shards: tuple[int, ...]
    start: int
    rows: int


@dataclass(frozen=True)
class Order:
    """One epoch's order.

    ``none`` keeps the order of sealing; ``shards`` permutes the shards; ``full`` permutes the shards,
    joins neighbours until a group has at least ``shuffle_rows`` rows, and permutes each group's rows.

    Attributes:
        shard_rows: rows of each shard, in the manifest's order.
        shuffle: see above.
        seed: not negative.
        epoch: not negative.
        shuffle_rows: least rows that are permuted together, where there are as many.
        part: number of the source among those that are mixed; each is permuted in its own way.
    """

    shard_rows: tuple[int, ...]
    shuffle: Shuffle = "none"
    seed: int = 0
    epoch: int = 0
    shuffle_rows: int = 2**18
    part: int = 0

    def __post_init__(self) -> None:
        if self.shuffle not in get_args(Shuffle):
            raise OptionError(
                f"shuffle is {self.shuffle!r}; it is one of {', '.join(get_args(Shuffle))}"
            )
        if self.seed < 0 or self.epoch < 0:
            raise OptionError(f"seed {self.seed} and epoch {self.epoch} must be 0 or more")
        if self.shuffle_rows < 1:
            raise OptionError(f"shuffle_rows must be at least 1, got {self.shuffle_rows}")

    @cached_property
    def rows(self) -> int:
        """Rows of the epoch."""
        return sum(self.shard_rows)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The epoch's groups, in order; together they hold every shard once."""
        count = len(self.shard_rows)
        shards = (
            list(range(count)) if self.shuffle == "none" else self._random(0).permutation(count)
        )
        groups: list[Group] = []
        run: list[int] = []
        start = held = 0
        least = self.shuffle_rows if self.shuffle == "full" else 1
        for at, shard in enumerate(shards):
            run.append(int(shard))
            held += self.shard_rows[shard]
            if held >= least or at == count - 1:
                groups.append(Group(len(groups), tuple(run), start, held))
                run, start, held = [], start + held, 0
        return tuple(groups)

    @cached_property
    def _starts(self) -> list[int]:
        return [group.start for group in self.groups]

    def permutation(self, group: Group) -> NDArray[np.int64] | None:
        """For each place in the group, the row that stands there, counted over its shards.

        None where the rows keep their order.
        """
        if self.shuffle != "full":
            return None
        return self._random(1 + group.index).permutation(group.rows)

    def pieces(self, start: int, stop: int) -> Iterator[tuple[Group, int, int]]:
        """The groups that hold positions ``start`` to ``stop``, each with the range inside it."""
        while start < stop:
            group = self.groups[bisect_right(self._starts, start) - 1]
            first = start - group.start
            last = min(first + stop - start, group.rows)
            yield group, first, last
            start += last - first

    def _random(self, stream: int) -> np.random.RandomState:
        return random((self.seed, self.epoch, stream, self.part))


def random(stream: tuple[int, ...]) -> np.random.RandomState:
    """Random numbers that are the same on every machine, for ever.

    RandomState is frozen by NumPy's compatibility policy (NEP 19); Generator may change its streams between
    versions, and machines with different ones would disagree.
    """
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(stream)))
