"""What to read, as pure data: one table, its columns, and how a scan is cut into parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pyarrow as pa

from connector.errors import SchemaError


@dataclass(frozen=True, slots=True)
class Scan:
    """One table, the columns wanted from it, and how large its batches may be.

    Attributes:
        table: name of the table.
        schema: every column of the table, key columns included.
        key: names of the key columns, in key order; they are columns of ``schema``.
        columns: names of the columns wanted, in order; None for all of ``schema``.
        batch_rows: most rows in a batch.
        batch_bytes: most bytes of column data in a batch that has more than one row.
    """

    table: str
    schema: pa.Schema
    key: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    batch_rows: int = 16_384
    batch_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.batch_bytes < 1:
            raise SchemaError(
                f"table {self.table!r}: batch_rows and batch_bytes must be at least 1"
            )
        self._require(self.key)
        self._require(self.columns or ())
        if self.columns == ():
            raise SchemaError(f"table {self.table!r}: no column is asked for")
        if self.columns is not None and len(set(self.columns)) != len(self.columns):
            raise SchemaError(
                f"table {self.table!r}: a column is asked for twice in {self.columns}"
            )

    def _require(self, names: tuple[str, ...]) -> None:
        missing = [name for name in names if self.schema.get_field_index(name) < 0]
        if missing:
            raise SchemaError(
                f"table {self.table!r} has no column {missing[0]!r}; "
                f"it has {', '.join(self.schema.names) or 'none'}"
            )

    @property
    def output(self) -> pa.Schema:
        """The schema of the batches that reading this scan yields, without metadata."""
        names = self.schema.names if self.columns is None else self.columns
        return pa.schema([self.schema.field(name) for name in names])

    def select(self, *columns: str) -> Scan:
        """The same scan of only these columns, in this order."""
        return replace(self, columns=columns)


@dataclass(frozen=True, slots=True)
class Partition:
    """One part of a scan that can be read alone. Stores subclass it; others only carry it.

    It names what it covers by itself, so that it stays right when the store's topology changes
    after planning.
    """

    index: int


def even_ranges(total: int, parts: int) -> list[range]:
    """Cut ``range(total)`` into at most ``parts`` contiguous, non-empty, near-equal ranges."""
    parts = min(parts, total)
    cuts = [total * i // parts for i in range(parts + 1)] if parts else [0]
    return [range(a, b) for a, b in pairwise(cuts)]
