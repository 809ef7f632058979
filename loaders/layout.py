"""How the columns of a batch lie in memory: those that become arrays in one buffer, the others apart."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loaders.convert import Array, Form, Ragged, form_of, item_type

Buffer = NDArray[np.uint8]
Apart: TypeAlias = "Ragged | list[Any]"
"""A column of a batch that lies in no buffer."""

ROWS_TOGETHER = 1 << 16
"""Rows gathered at a time: with more, better use of the processor's cache, and a later first batch."""
BYTES_TOGETHER = 64 << 20
"""Most bytes of buffers gathered at a time, beyond one batch: rows of images are wide."""


@dataclass(frozen=True)
class Layout:
    """How the columns of a batch lie in one buffer: columns of one type beside each other.

    Attributes:
        columns: all names, in order.
        blocks: NumPy type, shape of one value, and names; the widest types first, so that every
            block is aligned.
        apart: what the columns become that have no place in the buffer.
    """

    columns: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...]
    apart: dict[str, Form]

    @classmethod
    def of(cls, schema: pa.Schema) -> Layout:
        """The layout for batches of a schema; raises SchemaError for types without one."""
        found: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        apart: dict[str, Form] = {}
        for item in schema:
            form = form_of(item.name, item.type)
            if form is Form.ARRAY:
                kind, shape = item_type(item.name, item.type)
                found.setdefault((kind.str, shape), []).append(item.name)
            else:
                apart[item.name] = form
        widest = sorted(found, key=lambda kind: (-np.dtype(kind[0]).itemsize, kind))
        blocks = tuple((*kind, tuple(found[kind])) for kind in widest)
        return cls(tuple(schema.names), blocks, apart)

    @property
    def rows_together(self) -> int:
        """Rows gathered at a time."""
        return min(ROWS_TOGETHER, BYTES_TOGETHER // max(1, self.nbytes(1)))

    def nbytes(self, rows: int) -> int:
        """Bytes of a buffer for this many rows."""
        return sum(
            np.dtype(kind).itemsize * prod(shape) * len(names) * rows
            for kind, shape, names in self.blocks
        )

    def arrays(self, buffer: Buffer, rows: int) -> dict[str, Array]:
        """The columns inside a buffer, each of shape (rows, ...)."""
        found: dict[str, Array] = {}
        at = 0
        for kind, shape, names in self.blocks:
            size = np.dtype(kind).itemsize * prod(shape) * len(names) * rows
            block = buffer[at : at + size].view(kind).reshape(len(names), rows, *shape)
            found.update(zip(names, block, strict=True))
            at += size
        return found
