"""The tables in Redis that are kept as record batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connector.arrow_tables import tables
from connector.arrow_tables.tables import ChunkOptions
from connector.redis.arrow.values import RedisValues
from connector.redis.link import translated
from connector.redis.options import RedisOptions
from connector.redis.reading import METADATA, RedisCounts
from connector.redis.servers import Servers


@dataclass(frozen=True)
class ArrowTables(tables.ArrowTables):
    """The tables of a store that are kept as record batches.

    Attributes:
        connect: gives who has which key; connects when first called.
        options: of the store.
        location: of the store, for messages.
        counts: what reads met.
    """

    metadata = METADATA

    connect: Callable[[], Servers]
    options: RedisOptions
    location: str
    counts: RedisCounts

    @property
    def chunk_options(self) -> ChunkOptions:
        options = self.options
        return ChunkOptions(
            options.arrow_rows,
            options.max_pipeline_bytes,
            options.arrow_compression.codec,
            options.rows_per_second,
        )

    def values(self, table: str, doing: str) -> RedisValues:
        with translated(doing):
            servers = self.connect()
        return RedisValues(table, servers, self.options, doing)
