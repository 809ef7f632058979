"""Batches as dicts of tensors that lie in one buffer, and go between processes as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from loaders.convert import Ragged
from loaders.layout import Apart, Buffer, Layout


class Batch(dict[str, Any]):
    """A worker's batch: a dict that goes to the parent as one buffer instead of one per column."""

    def __init__(
        self, buffer: torch.Tensor, layout: Layout, rows: int, apart: Mapping[str, Apart]
    ) -> None:
        super().__init__(unpacked(buffer, layout, rows, apart))
        self._packed = (buffer, layout, rows)
        self._own = dict(self)

    def __copy__(self) -> Batch:
        # default_convert copies a batch and updates the copy with what it made of each value.
        twin = Batch.__new__(Batch, self)
        dict.update(twin, self)
        twin._packed, twin._own = self._packed, self._own
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        _, layout, _ = self._packed
        tensors = self._own.keys() - layout.apart.keys()
        untouched = self.keys() == self._own.keys() and all(
            self[name] is self._own[name] for name in tensors
        )
        if not untouched:  # a collate function put something else in
            return dict, (dict(self),)
        return unpacked, (*self._packed, {name: self[name] for name in layout.apart})


def unpacked(
    buffer: torch.Tensor, layout: Layout, rows: int, apart: Mapping[str, Apart]
) -> dict[str, Any]:
    """The columns of a batch, by the buffer that holds their arrays and those apart from it."""
    arrays = layout.arrays(buffer.numpy(), rows)
    return {
        name: _tensors(apart[name]) if name in apart else torch.from_numpy(arrays[name])
        for name in layout.columns
    }


def _tensors(column: Apart) -> Apart:
    if isinstance(column, Ragged) and isinstance(column.values, np.ndarray):
        return Ragged(
            *map(torch.tensor, column)
        )  # copies, as Arrow's memory is not to be written to
    return column


def own_buffer(size: int) -> tuple[torch.Tensor, Buffer]:
    """A buffer of this process's own, and its memory."""
    buffer = torch.empty(size, dtype=torch.uint8)
    return buffer, buffer.numpy()


def shared_buffer(size: int) -> tuple[torch.Tensor, Buffer]:
    """A buffer that goes to another process without a copy, and its memory."""
    # As torch's own default_collate does: share_memory_ would allocate twice and copy.
    storage = torch.UntypedStorage._new_shared(max(size, 1))  # type: ignore[no-untyped-call]
    buffer = torch.empty(0, dtype=torch.uint8).set_(storage)[:size]
    return buffer, buffer.numpy()
