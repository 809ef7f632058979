"""Stores that stay open in a process, so that tasks need not connect anew.

Spark's Python workers live on from task to task, and its planner's from query to query.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from connector.filters import bind, parse_filter
from connector.options import Options
from connector.registry import store_class
from connector.scan import Partition, Scan
from connector.statistics import Statistics
from connector.store import Store, StoreSource


@functools.lru_cache(maxsize=16)
def pooled(scheme: str, options: Options) -> Store:
    """The store of these options, the same one at every call in this process.

    Raises:
        MissingDependencyError: the store's client is not installed.
    """
    return store_class(scheme)(options)


@dataclass(frozen=True)
class PooledSource:
    """A table as a Source, read through the pooled store of whatever process reads it."""

    scheme: str
    options: Options
    scan: Scan
    parts: int

    @property
    def location(self) -> str:
        return pooled(self.scheme, self.options).location

    @property
    def schema(self) -> pa.Schema:
        return self._source().schema

    @property
    def key(self) -> tuple[str, ...]:
        return self._source().key

    @property
    def fingerprint(self) -> str:
        return self._source().fingerprint

    def partitions(self) -> Sequence[Partition]:
        return self._source().partitions()

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        return self._source().read(partition)

    def reading(
        self, schema: pa.Schema, columns: Sequence[str], filter: str | None
    ) -> PooledSource:
        """The same table with columns of other types, these of its columns, and the filter for them."""
        bound = None if filter is None else bind(parse_filter(filter), schema, self.scan.table)
        scan = replace(self.scan, schema=schema, columns=tuple(columns), filter=bound)
        return replace(self, scan=scan)

    def statistics(self) -> Statistics | None:
        return self._source().statistics()

    def finds_by_key(self) -> bool:
        return pooled(self.scheme, self.options).finds_by_key(self.scan)

    def count(self, partition: Partition) -> int:
        return self._source().count(partition)

    def _source(self) -> StoreSource:
        return StoreSource(pooled(self.scheme, self.options), self.scan, self.parts)
