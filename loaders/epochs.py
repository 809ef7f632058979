"""The epochs of sealed shards, for whatever framework takes their batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from connector.errors import CacheError, OptionError
from loaders.gather import gathered
from loaders.layout import Apart, Buffer, Layout
from loaders.mixing import MixedOrder
from loaders.mixture import Mixture
from loaders.order import Order, Shuffle
from loaders.place import Last, Place, Steps
from loaders.reading import Reading
from loaders.shards import ShardedSource
from loaders.tokens import Token


@dataclass(frozen=True)
class Epochs:
    """Which rows are in which batch of which rank, in every epoch.

    Attributes:
        mixture: where the rows are.
        order: of the first epoch.
        layout: of a batch.
        batch_size: most rows in a batch.
        last: see loaders.place.Steps.
    """

    mixture: Mixture
    order: MixedOrder
    layout: Layout
    batch_size: int
    last: Last

    @classmethod
    def of(
        cls,
        shards: ShardedSource | Mixture,
        *,
        batch_size: int,
        shuffle: Shuffle = "none",
        seed: int = 0,
        shuffle_rows: int = 2**18,
        last: Last = "uneven",
        columns: Sequence[str] | None = None,
    ) -> Epochs:
        """Check what a user wrote; see SourceDataset.

        Raises:
            OptionError: an argument is out of range.
            SchemaError: there is no such column, or its type has no array.
        """
        mixture = Mixture.of(shards)
        orders = tuple(
            Order(source.shard_rows, shuffle, seed, 0, shuffle_rows, part)
            for part, source in enumerate(mixture.sources)
        )
        order = MixedOrder(orders, mixture.counts)
        Steps(order.rows, batch_size, last=last)
        return cls(mixture, order, Layout.of(mixture.chosen(columns)), batch_size, last)

    def reading(self, epoch: int, first: int, place: Place) -> Reading:
        """An iteration over one epoch, from a position on."""
        steps = Steps(self.order.rows, self.batch_size, place.world, self.last, first)
        return Reading(epoch, steps, place)

    def batches(
        self, reading: Reading, allocate: Callable[[int], tuple[Any, Buffer]]
    ) -> Iterator[tuple[Any, dict[str, Apart], int]]:
        """What is left of an iteration, which notes what was handed out; see ``gathered``.

        Raises:
            CacheError: the limit of the cache is less than what is open at once.
        """
        order = replace(self.order, epoch=reading.epoch)
        self._check_room(order, reading.place)
        todo = reading.todo
        spans = (reading.steps.span(step, reading.place.rank) for step in todo)
        found = gathered(self.mixture.sources, order, spans, self.layout, allocate)
        for step, batch in zip(todo, found, strict=True):
            reading.done = step + 1
            yield batch
        reading.done = reading.steps.count

    def _check_room(self, order: MixedOrder, place: Place) -> None:
        """Tell at once, and not in the middle of the epoch, that the cache is too small."""
        rows = max(self.layout.rows_together, self.batch_size) * place.world * place.workers
        limits: dict[Path, int] = {}
        needed: Counter[Path] = Counter()
        for source, own, count in zip(
            self.mixture.sources, order.orders, order.counts, strict=True
        ):
            near = source.nearby
            if near is None or near.limit_bytes is None or not count:
                continue
            limits[near.root] = min(near.limit_bytes, limits.get(near.root, near.limit_bytes))
            own = replace(own, epoch=order.epoch)
            needed[near.root] += _open_at_once(source, own, rows * count // order.rows)
        for root, limit in limits.items():
            if limit < needed[root]:
                raise CacheError(
                    f"the shard cache {root}: limit_bytes is {limit}, and this order, on "
                    f"{place.workers} workers, has up to {needed[root]} bytes of shards open at once"
                )

    def token(self, epoch: int, position: int) -> Token:
        """The token of a position."""
        order = self.order.orders[0]
        return Token(
            self.mixture.fingerprint, order.shuffle, order.seed, order.shuffle_rows, epoch, position
        )

    def token_after(self, reading: Reading, batches: int) -> Token:
        """The token after so many batches of the reading's rank; every rank is taken to have had as many.

        Raises:
            OptionError: the iteration has fewer.
        """
        steps = reading.steps
        most = steps.batches(reading.place.rank)
        if not 0 <= batches <= most:
            raise OptionError(
                f"this rank has {most} batches from position {steps.first} of epoch {reading.epoch} on, not "
                f"{batches}: count those since the iteration began"
            )
        return self.token(reading.epoch, steps.start(steps.count if batches == most else batches))

    def resumed(self, state: Mapping[str, Any]) -> Token:
        """The token that a user kept.

        Raises:
            TokenMismatchError: it is of other data, or of another transform or order.
        """
        token = Token.from_dict(state)
        token.check(self.token(0, 0), self.order.rows)
        return token


def _open_at_once(source: ShardedSource, order: Order, rows: int) -> int:
    """Most bytes of shards that so many rows, gathered together, have open."""
    sizes = [shard.bytes for shard in source.manifest.shards]
    group = max(sum(sizes[each] for each in group.shards) for group in order.groups)
    return min(sum(sizes), 2 * group + sum(sizes) * rows // order.rows)
