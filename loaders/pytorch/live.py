"""Batches straight from a store, without sealing: what that cannot promise is in docs/loaders.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import IterableDataset, get_worker_info

from connector.errors import OptionError
from connector.source import Source
from loaders.gather import packed
from loaders.layout import Layout
from loaders.place import Place
from loaders.pytorch.batches import Batch, own_buffer, shared_buffer, unpacked
from loaders.pytorch.ranks import rank_and_world


class LiveDataset(IterableDataset[dict[str, Any]]):
    """Yields batches of a source as it is read: for tables that change faster than they are sealed.

    Partitions are planned once, here; each rank and worker reads its share of them. Every batch has
    ``batch_size`` rows, but for the last of each worker. Ranks may have different numbers of batches, and
    there is no place to go on from.

    Args:
        source: what to read.
        batch_size: rows in a batch.
        shuffle_rows: how many rows each worker holds, and permutes; None keeps the order of reading.
        seed: of the permutations, and of the partitions' order.
        columns: names of the columns wanted, in order; None for all.
        transform: called with every RecordBatch; of a module's top level, where workers are spawned.
        ranks: this process's rank, and how many there are; those of torch.distributed by default.

    Raises:
        OptionError: an argument is out of range.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        shuffle_rows: int | None = None,
        seed: int = 0,
        columns: Sequence[str] | None = None,
        transform: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
        ranks: tuple[int, int] | None = None,
    ) -> None:
        if batch_size < 1 or (shuffle_rows is not None and shuffle_rows < 1) or seed < 0:
            raise OptionError(
                f"batch_size ({batch_size}) and shuffle_rows ({shuffle_rows}) must be at least 1, and the "
                f"seed ({seed}) at least 0"
            )
        self._source = source
        self._partitions = list(source.partitions())
        self._batch_size = batch_size
        self._shuffle_rows = shuffle_rows
        self._seed = seed
        self._columns = None if columns is None else list(columns)
        self._transform = transform
        self._ranks = ranks
        # Shared memory, so that workers that live through several epochs see the change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutations; call it before the epoch's iteration begins."""
        if epoch < 0:
            raise OptionError(f"an epoch must be 0 or more, got {epoch}")
        self._epoch[0] = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        rank, world = self._ranks or rank_and_world() or (0, 1)
        place = Place(rank, world, worker.id, worker.num_workers) if worker else Place(rank, world)
        made = Batch if worker else unpacked
        allocate = shared_buffer if worker else own_buffer
        for rows in self._cut(self._shuffled(self._read(place), place)):
            layout = Layout.of(rows.schema)
            buffer, apart = packed(rows, layout, allocate)
            yield made(buffer, layout, rows.num_rows, apart)

    def state_dict(self) -> NoReturn:
        """There is no place in a table that is not sealed.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "a LiveDataset has no place to go on from, as its table may change: seal it for that"
        )

    def _read(self, place: Place) -> Iterator[pa.RecordBatch]:
        mine = list(self._partitions)
        if self._shuffle_rows is not None:
            self._random(0).shuffle(mine)  # the same on every rank and worker
        first = place.rank * place.workers + place.worker
        for partition in mine[first :: place.world * place.workers]:
            for batch in self._source.read(partition):
                found = self._transform(batch) if self._transform else batch
                if found.num_rows:
                    yield found if self._columns is None else found.select(self._columns)

    def _shuffled(self, batches: Iterator[pa.RecordBatch], place: Place) -> Iterator[pa.Table]:
        """The rows in runs of ``shuffle_rows`` or more, each permuted."""
        if self._shuffle_rows is None:
            yield from (pa.Table.from_batches([batch]) for batch in batches)
            return
        random = self._random(1 + place.rank * place.workers + place.worker)
        for run in _runs(batches, self._shuffle_rows):
            yield run.take(pa.array(random.permutation(run.num_rows)))

    def _cut(self, tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
        """The rows in batches of ``batch_size``."""
        held: pa.Table | None = None
        for table in tables:
            held = table if held is None else pa.concat_tables([held, table])
            whole = held.num_rows // self._batch_size * self._batch_size
            for start in range(0, whole, self._batch_size):
                yield _one(held.slice(start, self._batch_size))
            held = held.slice(whole)
        if held is not None and held.num_rows:
            yield _one(held)

    def _random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, int(self._epoch[0]), stream))

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker does not know torch.distributed: it takes the rank along.
        return {**self.__dict__, "_ranks": self._ranks or rank_and_world()}


def _runs(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    run: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        run.append(batch)
        held += batch.num_rows
        if held >= rows:
            yield pa.Table.from_batches(run)
            run, held = [], 0
    if run:
        yield pa.Table.from_batches(run)


def _one(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch
