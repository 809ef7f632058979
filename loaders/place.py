"""Which rows of an epoch are whose: pure arithmetic over positions, ranks and DataLoader workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from connector.errors import OptionError

Last = Literal["uneven", "pad", "drop"]


@dataclass(frozen=True, slots=True)
class Place:
    """One reading process among all: worker ``worker`` of ``workers`` in rank ``rank`` of ``world``."""

    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.world and 0 <= self.worker < self.workers):
            raise OptionError(f"there is no such place: {self}")


@dataclass(frozen=True)
class Steps:
    """How the rows of an epoch, from one position on, are dealt out to ranks.

    At each step every rank takes one batch. The batches of a step lie beside each other in the epoch's
    order, that of rank 0 first, so that the rows taken after a step are those before one position,
    however many ranks there are. Of R rows, B in a batch and W ranks:

    - ``uneven``: every row once, in ceil(R / BW) steps. The rows of the last step are divided evenly, so
      that its batches are shorter. If that would leave a rank without any, it borrows rows from the step
      before. Only with fewer rows than ranks, or with batches of one row, do some ranks have none.
    - ``pad``: as many steps, all batches full; position R is the epoch's first row again, and so on.
    - ``drop``: floor(R / BW) steps, all batches full; the rows left over are left out.

    Attributes:
        rows: of the epoch.
        batch_size: B, most rows in a batch.
        world: W, the number of ranks.
        last: see above.
        first: the position to begin at.
    """

    rows: int
    batch_size: int
    world: int = 1
    last: Last = "uneven"
    first: int = 0

    def __post_init__(self) -> None:
        if self.last not in get_args(Last):
            raise OptionError(f"last is {self.last!r}; it is one of {', '.join(get_args(Last))}")
        if self.batch_size < 1:
            raise OptionError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def _together(self) -> int:
        return self.batch_size * self.world

    @property
    def count(self) -> int:
        """How many steps there are."""
        left = self.rows - self.first
        return left // self._together if self.last == "drop" else -(-left // self._together)

    def start(self, step: int) -> int:
        """The position before which all rows are taken when ``step`` begins; the epoch's end is ``rows``."""
        if step >= self.count:
            return self.rows
        start = self.first + step * self._together
        borrows = self.last == "uneven" and step == self.count - 1 and step > 0
        if borrows and self.batch_size > 1:
            return min(start, self.rows - self.world)
        return start

    def span(self, step: int, rank: int) -> tuple[int, int]:
        """The positions of a rank's batch: from, and up to; those from ``rows`` on begin anew."""
        start = self.start(step)
        if self.last == "uneven":
            rows = self.start(step + 1) - start
            return start + rows * rank // self.world, start + rows * (rank + 1) // self.world
        start += rank * self.batch_size
        return start, start + self.batch_size

    def batches(self, rank: int) -> int:
        """How many batches a rank has; only its last step may be without one."""
        if not self.count:
            return 0
        start, stop = self.span(self.count - 1, rank)
        return self.count - (start == stop)

    def of(self, place: Place, step: int = 0) -> range:
        """The steps of one place, from ``step`` on.

        Worker w of N makes the steps s with s % N == w, so that a DataLoader's round robin over its
        workers gives the rank's batches in order.
        """
        behind = (step - place.worker) % place.workers
        first = step + (place.workers - behind) % place.workers
        return range(first, self.batches(place.rank), place.workers)
