"""What to read, as pure data: one table, its columns, and how a scan is cut into parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pyarrow as pa

from connector.errors import SchemaError
from connector.filters import Filter, columns_of, keep

_KEYS = pa.schema([("key", pa.binary())])
_LEAST_KEYS = 1000  # in a partition
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


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
        filter: the rows wanted, bound to ``schema``; None for all.
        limit: most rows wanted of the whole scan; None for all.
        sample: about which share of the rows is wanted, chosen by their keys; None for all.
    """

    table: str
    schema: pa.Schema
    key: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    batch_rows: int = 16_384
    batch_bytes: int = 32 << 20
    filter: Filter | None = None
    limit: int | None = None
    sample: float | None = None

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.batch_bytes < 1:
            raise SchemaError(
                f"table {self.table!r}: batch_rows and batch_bytes must be at least 1"
            )
        if self.limit is not None and self.limit < 0:
            raise SchemaError(f"table {self.table!r}: limit must not be negative")
        if self.sample is not None and not 0 < self.sample <= 1:
            raise SchemaError(f"table {self.table!r}: sample must be above 0 and at most 1")
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

    @property
    def unfiltered(self) -> Scan:
        """The scan of what a store has to fetch: every row, with the columns the filter needs."""
        if self.filter is None:
            return self
        names = dict.fromkeys([*self.output.names, *columns_of(self.filter)])
        return replace(self, columns=tuple(names), filter=None)

    def filtered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The wanted rows and columns of a batch of ``unfiltered``; they may be no rows."""
        if self.filter is None:
            return batch
        return keep(self.filter, batch).select(self.output.names)

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


@dataclass(frozen=True, slots=True)
class KeyList(Partition):
    """Rows that are asked for by their keys.

    Attributes:
        packed: the encoded keys, each once, as ``pack_keys`` makes them.
    """

    packed: bytes = field(repr=False)

    @property
    def names(self) -> pa.Array:
        """The encoded keys, as ``connector.codecs.encode_keys`` gives them."""
        return unpack_keys([self.packed]).combine_chunks()


def key_lists(names: pa.Array, parts: int) -> list[KeyList]:
    """Cut encoded keys into at most ``parts`` partitions, each key once.

    Few keys make fewer partitions, as to start a task takes as long as to look up some hundreds.
    """
    names = names.unique()
    parts = min(parts, -(-len(names) // _LEAST_KEYS))
    return [
        KeyList(i, pack_keys(names.slice(cut.start, len(cut))))
        for i, cut in enumerate(even_ranges(len(names), parts))
    ]


def pack_keys(keys: pa.Array) -> bytes:
    """Keys as compressed Arrow bytes: a few bytes a key where they are alike."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _KEYS, options=_COMPRESSED) as writer:
        writer.write_batch(pa.record_batch([keys], schema=_KEYS))
    return bytes(sink.getvalue())


def unpack_keys(blocks: Iterable[bytes]) -> pa.ChunkedArray:
    """The keys in all blocks that ``pack_keys`` made."""
    chunks: list[pa.Array] = []
    for block in blocks:
        with pa.ipc.open_stream(block) as reader:
            chunks += reader.read_all().column("key").chunks
    return pa.chunked_array(chunks, pa.binary())


def even_ranges(total: int, parts: int) -> list[range]:
    """Cut ``range(total)`` into at most ``parts`` contiguous, non-empty, near-equal ranges."""
    parts = min(parts, total)
    cuts = [total * i // parts for i in range(parts + 1)] if parts else [0]
    return [range(a, b) for a, b in pairwise(cuts)]
