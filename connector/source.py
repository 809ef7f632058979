"""Sources: everything that yields record batches, partition by partition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from connector.batching import capped
from connector.digests import digest
from connector.errors import SchemaError
from connector.scan import Partition, even_ranges


@runtime_checkable
class Source(Protocol):
    """A schema, a list of partitions, and a way to read each one alone.

    A source is picklable and opens no connection until ``read`` is first advanced.
    """

    @property
    def schema(self) -> pa.Schema:
        """The schema of every batch."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of ``schema`` that name a row; empty where none are known or read."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal for equal data definitions; never contains a secret."""
        ...

    def partitions(self) -> Sequence[Partition]:
        """Plan the parts. Plan once, in the parent, and ship them: two plans can differ."""
        ...

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        """Yield batches of exactly ``schema``, from the partition's start; never an empty one."""
        ...


@runtime_checkable
class SupportsKey(Protocol):
    """A source that can read its key along with the columns that were asked for."""

    def with_key(self) -> Source:
        """The same source, with the columns of its key."""
        ...


@dataclass(frozen=True, slots=True)
class RowRange(Partition):
    """Rows ``start`` to ``stop`` of a table in memory."""

    start: int
    stop: int


@dataclass(frozen=True)
class TableSource:
    """An Arrow table in memory, cut into near-equal row ranges."""

    table: pa.Table
    parts: int = 8
    key: tuple[str, ...] = ()
    batch_rows: int = 16_384
    batch_bytes: int = 32 << 20

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema.remove_metadata()

    @property
    def fingerprint(self) -> str:
        sink = hashlib.sha256()
        for batch in self.table.combine_chunks().to_batches():
            # A slice carries its neighbours' bits along, and a null what it hides; a copy does not.
            sink.update(batch.take(pa.array(np.arange(batch.num_rows))).serialize())
        return digest(self.schema, sink.hexdigest(), self.parts)

    def partitions(self) -> Sequence[Partition]:
        ranges = even_ranges(self.table.num_rows, self.parts)
        return [RowRange(i, rows.start, rows.stop) for i, rows in enumerate(ranges)]

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, RowRange)
        rows = self.table.slice(partition.start, partition.stop - partition.start)
        batches = rows.replace_schema_metadata(None).to_batches()
        return capped(batches, self.batch_rows, self.batch_bytes)


@dataclass(frozen=True)
class MappedSource:
    """A source whose batches pass through ``transform``; ``version`` names the transform.

    Batches that the transform empties are left out.
    """

    inner: Source
    transform: Callable[[pa.RecordBatch], pa.RecordBatch]
    schema: pa.Schema
    version: str

    @property
    def key(self) -> tuple[str, ...]:
        return self.inner.key if set(self.schema.names).issuperset(self.inner.key) else ()

    @property
    def fingerprint(self) -> str:
        return digest(self.inner.fingerprint, self.version)

    def partitions(self) -> Sequence[Partition]:
        return self.inner.partitions()

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        for batch in self.inner.read(partition):
            mapped = self.transform(batch)
            if not mapped.schema.equals(self.schema):
                raise SchemaError(
                    f"transform {self.version!r} returned {mapped.schema.names} "
                    f"where {self.schema.names} of the declared types were expected"
                )
            if mapped.num_rows:
                yield mapped


def read_all(source: Source) -> pa.Table:
    """Read every partition, in order, into one table."""
    batches = (batch for part in source.partitions() for batch in source.read(part))
    return pa.Table.from_batches(batches, schema=source.schema)
