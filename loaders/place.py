"""Which global batches are whose: pure arithmetic over ranks and DataLoader workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from connector.errors import OptionError

Last = Literal["uneven", "drop"]


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


def batch_numbers(rows: int, batch_size: int, place: Place, last: Last = "uneven") -> range:
    """Numbers of the global batches for one place; batch g covers positions g*B up to (g+1)*B.

    At step s, rank r takes global batch s*world + r; worker w of W makes the steps with s % W == w,
    so that a DataLoader's round robin over its workers gives the rank's batches in order.

    Args:
        rows: rows of the epoch.
        batch_size: B, rows in a batch.
        place: who asks.
        last: ``uneven`` gives every row once, the last batch being short and some ranks having one
            batch fewer; ``drop`` leaves out the short batch and those that not every rank can have.
    """
    if last not in get_args(Last):
        raise OptionError(f"last is {last!r}; it is one of {', '.join(get_args(Last))}")
    if batch_size < 1:
        raise OptionError(f"batch_size must be at least 1, got {batch_size}")
    even = rows // batch_size // place.world * place.world
    limit = even if last == "drop" else -(-rows // batch_size)
    return range(place.rank + place.worker * place.world, limit, place.world * place.workers)
