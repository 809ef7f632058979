"""Sealed shards in PyTorch: exact batches of tensors, the same epoch on any ranks and workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from connector.errors import OptionError, TokenMismatchError
from loaders.epochs import Epochs
from loaders.mixture import Mixture
from loaders.order import Shuffle
from loaders.place import Last, Place
from loaders.pytorch.batches import Batch, own_buffer, shared_buffer, unpacked
from loaders.pytorch.ranks import check_ranks, rank_and_world
from loaders.pytorch.rows import SampleDataset
from loaders.reading import Reading, is_part
from loaders.shards import ShardedSource
from loaders.shared_epoch import CELLS, Readers, SharedEpoch


class SourceDataset(IterableDataset[dict[str, Any]]):
    """Yields dicts of column name to tensor; pass ``batch_size=None`` to DataLoader.

    Every batch has exactly ``batch_size`` rows, but for the epoch's last ones. Numbers become tensors of
    shape (rows,), and lists of numbers of shape (rows, size) where all rows of the shards have the same
    size, else a ``Ragged`` of two tensors; strings and bytes, also in lists, Python lists. The tensors of a
    batch share one memory: clone one that is to outlive its batch. Ranks come from
    torch.distributed where that is initialised, workers from the DataLoader; both by fork and by spawn.

    Args:
        shards: from ``seal``, or a Mixture; the same on every rank.
        batch_size: rows in a batch.
        shuffle: ``none``, ``shards`` or ``full``; see loaders.order.
        seed: of the order; the same on every rank.
        shuffle_rows: for ``full``, the least rows that are permuted together.
        last: ``uneven``, ``pad`` or ``drop``: what becomes of rows that do not fill the last step of
            all ranks; see loaders.place.Steps.
        columns: names of the columns wanted, in order; None for all.
        ranks: this process's rank, and how many there are. By default those of torch.distributed, where
            it is initialised; then all ranks make the dataset, and compare their shards.

    Raises:
        OptionError: an argument is out of range.
        SchemaError: there is no such column, or its type has no tensor.
        CacheError: another rank has other shards.
    """

    def __init__(
        self,
        shards: ShardedSource | Mixture,
        *,
        batch_size: int,
        shuffle: Shuffle = "none",
        seed: int = 0,
        shuffle_rows: int = 2**18,
        last: Last = "uneven",
        columns: Sequence[str] | None = None,
        ranks: tuple[int, int] | None = None,
    ) -> None:
        self.shards = shards
        self._epochs = Epochs.of(
            shards,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            shuffle_rows=shuffle_rows,
            last=last,
            columns=columns,
        )
        self._ranks = ranks
        if ranks is None:
            check_ranks(shards)
        self._cells = torch.zeros(CELLS, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._resumed: Reading | None = None  # in a worker, where StatefulDataLoader has it go on
        self._reading: Reading | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; call it before the epoch's iteration begins.

        A place that was loaded is kept if it is in this epoch.
        """
        if epoch < 0:
            raise OptionError(f"an epoch must be 0 or more, got {epoch}")
        self._shared.choose(epoch)
        self._reading = None

    @property
    def epoch(self) -> int:
        """The epoch that is going on, or comes next."""
        return self._shared.began[0]

    def __len__(self) -> int:
        """Batches of this rank in the epoch, from where it was or is to be resumed."""
        return self._latest.steps.batches(self._place.rank)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (batch for batch, _ in self.counted())

    def samples(self) -> SampleDataset:
        """The same rows one by one, as dicts of a value for each column."""
        return SampleDataset(self)

    def counted(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Begin an iteration: its batches, each with the number of its rows."""
        worker = get_worker_info()
        place = self._place
        epoch, first = self._shared.take(worker.id if worker else None, place.workers)
        readers = Readers.WORKERS if worker else Readers.PARENT
        reading = self._epochs.reading(epoch, first, place)
        if self._resumed is not None:
            reading, self._resumed = self._resumed, None
            readers = Readers.RESUMED_WORKERS
        self._shared.begin(reading.epoch, reading.steps.first, readers)
        self._reading = reading
        return self._batches(reading, shared=worker is not None)

    def _batches(self, reading: Reading, *, shared: bool) -> Iterator[tuple[dict[str, Any], int]]:
        allocate = shared_buffer if shared else own_buffer
        made = Batch if shared else unpacked
        for buffer, apart, rows in self._epochs.batches(reading, allocate):
            yield made(buffer, self._epochs.layout, rows, apart), rows

    def state_dict(self) -> dict[str, Any]:
        """Where reading stands, for ``load_state_dict``; plain values.

        In a process that reads for itself it is a token, good for any number of ranks and workers. In a
        DataLoader's worker it is that worker's part, as torchdata's StatefulDataLoader collects them.

        Raises:
            OptionError: workers read this dataset; they may be ahead of what came out of the
                DataLoader.
        """
        reading = self._reading
        if reading is not None and get_worker_info() is not None:
            begun = self._epochs.token(reading.epoch, reading.steps.first)
            return begun.to_dict() | reading.part()
        if self._shared.readers is not Readers.PARENT:
            raise OptionError(
                "workers of a DataLoader read this dataset, ahead of what you took: call "
                "token_at(batches_consumed), or use torchdata's StatefulDataLoader"
            )
        reading = reading or self._latest
        return self._epochs.token(reading.epoch, reading.steps.start(reading.done)).to_dict()

    def token_at(self, batches_consumed: int) -> dict[str, Any]:
        """The token after so many batches of this rank since the iteration began; plain values.

        Args:
            batches_consumed: by the training loop, from 0 to ``len(dataset)``. Every rank is taken to have
                had as many.

        Raises:
            OptionError: the iteration has fewer batches, or a StatefulDataLoader resumed it.
        """
        if self._shared.readers is Readers.RESUMED_WORKERS:
            raise OptionError(
                "StatefulDataLoader resumed this iteration: its own state_dict tells where it stands"
            )
        return self._epochs.token_after(self._latest, batches_consumed).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next iteration go on where ``state`` says; iterations after it begin anew.

        Args:
            state: from ``state_dict`` or ``token_at`` of a dataset over the same shards, in the same order.

        Raises:
            TokenMismatchError: it is of other data, of another transform or order, or of another worker.
        """
        token = self._epochs.resumed(state)
        if not is_part(state):
            self._shared.resume(token.epoch, token.position)
            self._reading = None
        elif get_worker_info() is None:
            raise TokenMismatchError(
                "this is the state of one worker: StatefulDataLoader.load_state_dict takes those of all, and "
                "token_at makes a token"
            )
        else:
            self._resumed = self._epochs.reading(token.epoch, token.position, self._place)
            self._resumed.go_on(state)

    @property
    def _latest(self) -> Reading:
        """The latest iteration as it was when it began; before it begins, as it will be."""
        return self._epochs.reading(*self._shared.began, self._place)

    @property
    def _place(self) -> Place:
        rank, world = self._ranks or rank_and_world() or (0, 1)
        worker = get_worker_info()
        return Place(rank, world, worker.id, worker.num_workers) if worker else Place(rank, world)

    @property
    def _shared(self) -> SharedEpoch:
        return SharedEpoch(self._cells.numpy())

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker does not know torch.distributed: it takes the rank along.
        return {**self.__dict__, "_ranks": self._ranks or rank_and_world()}
