"""One partition's rows on their way into shards: divided into splits, transformed, written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from connector.codecs import encode_keys
from connector.errors import SchemaError
from loaders.home import Home
from loaders.list_sizes import ListSizes, fixed, joined, list_sizes
from loaders.manifest import Manifest, Shard
from loaders.records import Record
from loaders.shard_files import Compression, ShardWriter
from loaders.splits import Splits
from loaders.transforms import Transform


@dataclass(frozen=True)
class Making:
    """How rows become shards.

    Attributes:
        transform: of every batch; None for none.
        splits: by which rows are divided; None for not.
        shard_bytes: most bytes of column data in a shard.
        home: where the shards are kept; None for here alone.
        compression: of the shards' columns.
    """

    transform: Transform | None
    splits: Splits | None
    shard_bytes: int
    home: Home | None = None
    compression: Compression = "none"

    def transformed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch as it is in shards."""
        result = self.transform(batch) if self.transform else batch
        return result.replace_schema_metadata(None)

    def manifest(
        self,
        seal: str,
        version: str,
        records: Sequence[Record],
        columns: pa.Schema,
        key: tuple[str, ...],
    ) -> Manifest:
        """The manifest of a seal whose every partition is written.

        Args:
            seal: the seal's key.
            version: the data version.
            records: of all partitions, in order.
            columns: what the transform is given.
            key: the columns that name a row, of which the transform may have dropped some.

        Raises:
            SchemaError: the transform returned different columns.
        """
        schema = self._one_schema(records, columns)
        own = key if set(schema.names).issuperset(key) else ()
        shards = tuple(shard for record in records for shard in record.shards)
        return Manifest(
            seal, version, schema, own, shards, self.splits.names if self.splits else ()
        )

    def _one_schema(self, records: Sequence[Record], columns: pa.Schema) -> pa.Schema:
        """The one schema of all partitions; lists that have one size in all of them are of that size."""
        schemas = [record.schema for record in records if record.schema is not None]
        for schema in schemas:
            if not schema.equals(schemas[0]):
                raise self.changed(schemas[0], schema)
        if not schemas:
            schemas = [self.transformed(pa.RecordBatch.from_pylist([], schema=columns)).schema]
        return fixed(schemas[0], joined(record.sizes for record in records))

    def changed(self, first: pa.Schema, other: pa.Schema) -> SchemaError:
        """The error of a transform that returns now this and now that."""
        name = self.transform.name if self.transform else "none"
        differ = [item for item in other if item not in list(first)] or list(other)
        return SchemaError(
            f"transform {name!r} returned different columns for different batches: {first.names}, and "
            f"then {', '.join(f'{item.name} {item.type}' for item in differ)}; cast them in the transform"
        )


class PartitionWriter:
    """Writes one partition's shards.

    Args:
        making: how.
        directory: where the shards go.
        index: number of the partition.
    """

    def __init__(self, making: Making, directory: Path, index: int) -> None:
        names = making.splits.names if making.splits else ("",)
        self._making = making
        self._writers = {
            name: ShardWriter(
                directory, index, making.shard_bytes, name, making.home, making.compression
            )
            for name in names
        }
        self._schema: pa.Schema | None = None
        self._sizes: ListSizes = {}
        self._rows = 0

    def write(self, batch: pa.RecordBatch, columns: Sequence[str], key: Sequence[str]) -> None:
        """Take rows.

        Args:
            batch: the rows; it has the columns of the key as well.
            columns: what the transform is given.
            key: the columns that name a row.

        Raises:
            SchemaError: the transform returned other columns than before.
        """
        self._rows += batch.num_rows
        for split, rows in self._divided(batch, key):
            part = self._making.transformed(rows.select(columns))
            if self._schema is not None and not part.schema.equals(self._schema):
                raise self._making.changed(self._schema, part.schema)
            self._schema = part.schema
            if part.num_rows:
                self._writers[split].write(part)
                self._sizes = joined([self._sizes, list_sizes(part)])

    def finish(self, keys: str = "") -> Record:
        """Write the rest; the partition's record, with the name of its file of keys."""
        shards: list[Shard] = []
        for writer in self._writers.values():
            shards += writer.finish()
        return Record(self._rows, self._schema, tuple(shards), keys, self._sizes)

    def _divided(
        self, batch: pa.RecordBatch, key: Sequence[str]
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """A batch by split; before the transform, which need not keep the key."""
        if self._making.splits is None:
            yield "", batch
            return
        for split, chosen in self._making.splits.rows(keys_of(batch, key)).items():
            yield split, batch.filter(chosen)


def keys_of(batch: pa.RecordBatch, key: Sequence[str]) -> pa.Array:
    """The encoded key of each row.

    Raises:
        SchemaError: a row has none, so that it could not be told from others.
    """
    for name in key:
        if nulls := batch.column(name).null_count:
            raise SchemaError(
                f"key column {name!r} is null in {nulls} of {batch.num_rows} rows, which could not be "
                f"told from one another: leave them out by a filter, or read a source without a key"
            )
    return encode_keys([batch.column(name) for name in key], key)
