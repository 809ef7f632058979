"""The tables in Aerospike that are kept as record batches."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from connector.aerospike.blocks.values import BlockValues, block_set
from connector.aerospike.connecting import Connection
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.records import METADATA
from connector.arrow_tables.tables import ArrowTables, ChunkOptions
from connector.errors import SchemaError
from connector.jobs import WriteOptions
from connector.reads import ReadCounts

_MOST_SET_NAME = 63  # bytes
_BATCH_BYTES = 32 << 20  # of column data in a chunk, at most; most namespaces allow less


@dataclass(frozen=True)
class BlockTables(ArrowTables):
    """The tables of a store that are kept as record batches, chunks being records of sets of their own.

    Attributes:
        connection: to the cluster.
        options: of the store.
        location: of the store, for messages.
        counts: what reads met.
    """

    metadata = METADATA

    connection: Connection
    options: AerospikeOptions
    location: str
    counts: ReadCounts

    @classmethod
    def check(
        cls, table: str, schema: pa.Schema, options: WriteOptions, stored: pa.Schema | None
    ) -> pa.Schema:
        spare = _MOST_SET_NAME - len(block_set(table).encode())
        if spare < 0:
            raise SchemaError(
                f"table {table!r}: its chunks would be in set {block_set(table)!r}, whose name is longer "
                f"than the {_MOST_SET_NAME} bytes that the server takes; shorten it by {-spare}"
            )
        return super().check(table, schema, options, stored)

    @property
    def chunk_options(self) -> ChunkOptions:
        options = self.options
        return ChunkOptions(
            options.arrow_rows,
            _BATCH_BYTES,
            options.arrow_compression.codec,
            options.records_per_second,
        )

    def values(self, table: str, doing: str) -> BlockValues:
        return BlockValues(table, self.connection, self.options, doing)
