"""What all processes that read one dataset know of its epoch: its number, and where it was resumed."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from connector.errors import OptionError

_CHOSEN, _EPOCH, _FIRST, _READERS, _RESUMED, _RESUMED_EPOCH, _RESUMED_AT, _TAKEN = range(8)
_MOST_WORKERS = 1024

CELLS = _TAKEN + _MOST_WORKERS
"""Length of the array of a SharedEpoch."""


class Readers(IntEnum):
    """Who makes an iteration."""

    PARENT = 0
    WORKERS = 1
    RESUMED_WORKERS = 2
    """Workers that each go on from a place of their own."""


class SharedEpoch:
    """An epoch's number and its first position, in memory that a dataset's workers share.

    A place to resume counts for the next iteration alone. Workers begin that when they like, so each
    notes for itself which place it has taken; there is no need for a lock.

    Args:
        cells: shape (CELLS,), zeros at first.
    """

    def __init__(self, cells: NDArray[np.int64]) -> None:
        self._cells = cells

    @property
    def began(self) -> tuple[int, int]:
        """The latest iteration's epoch and first position; until it begins, those that it will have."""
        return int(self._cells[_EPOCH]), int(self._cells[_FIRST])

    @property
    def readers(self) -> Readers:
        """Who makes the latest iteration."""
        return Readers(self._cells[_READERS])

    def choose(self, epoch: int) -> None:
        """Have the next iteration be of this epoch: all of it, unless a place in it is to be resumed."""
        cells = self._cells
        cells[_CHOSEN] = epoch
        cells[_READERS] = Readers.PARENT
        if cells[_RESUMED_EPOCH] != epoch:
            cells[_RESUMED] = 0
        if not cells[_RESUMED]:
            cells[[_EPOCH, _FIRST]] = epoch, 0

    def resume(self, epoch: int, position: int) -> None:
        """Have the next iteration begin there."""
        cells = self._cells
        cells[[_RESUMED_EPOCH, _RESUMED_AT]] = epoch, position
        self.begin(epoch, position, Readers.PARENT)
        cells[_RESUMED] = 1 + cells[_TAKEN:].max(initial=cells[_RESUMED])

    def take(self, worker: int | None = None, workers: int = 1) -> tuple[int, int]:
        """The epoch and the first position of an iteration in one of some workers, or in the parent.

        Raises:
            OptionError: there are more workers than anyone has.
        """
        if workers > _MOST_WORKERS:
            raise OptionError(f"a dataset has at most {_MOST_WORKERS} workers, not {workers}")
        cells = self._cells
        resumed = int(cells[_RESUMED])
        if worker is None:
            cells[_RESUMED] = 0
        elif resumed == cells[_TAKEN + worker]:
            resumed = 0
        else:  # also for workers that other iterations may have beside these
            cells[[_TAKEN + worker, *range(_TAKEN + workers, CELLS)]] = resumed
        epoch, first = cells[[_RESUMED_EPOCH, _RESUMED_AT]] if resumed else (cells[_CHOSEN], 0)
        return int(epoch), int(first)

    def begin(self, epoch: int, first: int, readers: Readers) -> None:
        """Begin an iteration; one that is made by workers by each of them, in the same words."""
        self._cells[[_EPOCH, _FIRST, _READERS]] = epoch, first, readers
