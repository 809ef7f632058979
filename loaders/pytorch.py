"""Sealed shards in PyTorch: exact batches of tensors, the same epoch on any ranks and workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from connector.errors import MissingDependencyError, OptionError, SchemaError
from loaders.gather import Buffer, Layout, gathered
from loaders.order import Order, Shuffle
from loaders.place import Last, Place, batch_numbers
from loaders.shards import ShardedSource

try:
    import torch
    import torch.distributed as dist
    from torch.utils.data import IterableDataset, get_worker_info
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "SourceDataset needs PyTorch: pip install 'kvlake[torch]'"
    ) from error


class SourceDataset(IterableDataset[dict[str, Any]]):
    """Yields dicts of column name to tensor; pass ``batch_size=None`` to DataLoader.

    Every batch has exactly ``batch_size`` rows, but for the epoch's last. Numbers become tensors of
    shape (rows,), fixed-size lists (rows, size); strings and bytes lists of Python objects. The tensors
    of a batch share one memory: clone one that is to outlive its batch. Ranks come from
    torch.distributed where that is initialised, workers from the DataLoader; both by fork and by spawn.

    Args:
        shards: from ``seal``; the same on every rank.
        batch_size: rows in a batch.
        shuffle: ``none``, ``shards`` or ``full``; see loaders.order.
        seed: of the order; the same on every rank.
        shuffle_rows: for ``full``, the least rows that are permuted together.
        last: ``uneven`` or ``drop``; see loaders.place.
        columns: names of the columns wanted, in order; None for all.

    Raises:
        OptionError: an argument is out of range.
        SchemaError: there is no such column, or its type has no tensor.
    """

    def __init__(
        self,
        shards: ShardedSource,
        *,
        batch_size: int,
        shuffle: Shuffle = "none",
        seed: int = 0,
        shuffle_rows: int = 2**18,
        last: Last = "uneven",
        columns: Sequence[str] | None = None,
    ) -> None:
        missing = [name for name in columns or () if name not in shards.schema.names]
        if missing:
            raise SchemaError(
                f"the shards have no column {missing[0]!r}; they have {', '.join(shards.schema.names)}"
            )
        names = shards.schema.names if columns is None else columns
        self.shards = shards
        self.batch_size = batch_size
        self.last: Last = last
        self._layout = Layout.of(pa.schema([shards.schema.field(name) for name in names]))
        self._order = Order(
            tuple(shard.rows for shard in shards.manifest.shards), shuffle, seed, 0, shuffle_rows
        )
        batch_numbers(
            shards.rows, batch_size, Place(), last
        )  # refuses bad arguments here, not in a worker
        self._rank = _rank() or (0, 1)
        # Shared memory, so that workers that live through several epochs see the change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; call it before the epoch's iteration begins."""
        if epoch < 0:
            raise OptionError(f"an epoch must be 0 or more, got {epoch}")
        self._epoch[0] = epoch

    def __len__(self) -> int:
        """Batches of this rank in an epoch."""
        rank, world = _rank() or self._rank
        return len(batch_numbers(self.shards.rows, self.batch_size, Place(rank, world), self.last))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rank, world = _rank() or self._rank
        worker = get_worker_info()
        place = Place(rank, world, worker.id, worker.num_workers) if worker else Place(rank, world)
        order = Order(
            self._order.shard_rows,
            self._order.shuffle,
            self._order.seed,
            int(self._epoch[0]),
            self._order.shuffle_rows,
        )
        numbers = batch_numbers(order.rows, self.batch_size, place, self.last)
        return self._batches(order, numbers, shared=worker is not None)

    def _batches(self, order: Order, numbers: range, *, shared: bool) -> Iterator[dict[str, Any]]:
        allocate = _shared_buffer if shared else _buffer
        for buffer, objects, rows in gathered(
            self.shards, order, numbers, self.batch_size, self._layout, allocate
        ):
            yield (
                _Batch(buffer, self._layout, rows, objects)
                if shared
                else _unpacked(buffer, self._layout, rows, objects)
            )

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker does not know torch.distributed: it takes the rank along.
        return {**self.__dict__, "_rank": _rank() or self._rank}


class _Batch(dict[str, Any]):
    """A worker's batch: a dict that goes to the parent as one buffer instead of one per column."""

    def __init__(
        self, buffer: torch.Tensor, layout: Layout, rows: int, objects: dict[str, list[Any]]
    ) -> None:
        super().__init__(_unpacked(buffer, layout, rows, objects))
        self._packed = (buffer, layout, rows)
        self._own = dict(self)

    def __copy__(self) -> _Batch:
        # default_convert copies a batch and updates the copy with what it made of each value.
        twin = _Batch.__new__(_Batch, self)
        dict.update(twin, self)
        twin._packed, twin._own = self._packed, self._own
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        _, layout, _ = self._packed
        tensors = self._own.keys() - set(layout.objects)
        untouched = self.keys() == self._own.keys() and all(
            self[name] is self._own[name] for name in tensors
        )
        if not untouched:  # a collate function put something else in
            return dict, (dict(self),)
        return _unpacked, (*self._packed, {name: self[name] for name in layout.objects})


def _unpacked(
    buffer: torch.Tensor, layout: Layout, rows: int, objects: dict[str, list[Any]]
) -> dict[str, Any]:
    arrays = layout.arrays(buffer.numpy(), rows)
    return {
        name: objects[name] if name in objects else torch.from_numpy(arrays[name])
        for name in layout.columns
    }


def _buffer(size: int) -> tuple[torch.Tensor, Buffer]:
    buffer = torch.empty(size, dtype=torch.uint8)
    return buffer, buffer.numpy()


def _shared_buffer(size: int) -> tuple[torch.Tensor, Buffer]:
    # As torch's own default_collate does: share_memory_ would allocate twice and copy.
    storage = torch.UntypedStorage._new_shared(max(size, 1))  # type: ignore[no-untyped-call]
    buffer = torch.empty(0, dtype=torch.uint8).set_(storage)[:size]
    return buffer, buffer.numpy()


def _rank() -> tuple[int, int] | None:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return None
