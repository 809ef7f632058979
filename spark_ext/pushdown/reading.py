"""Readers of what Spark pushed into a scan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from connector.errors import SchemaError
from connector.filters import Filter, all_of, bind, columns_of, conjuncts, parse_filter
from connector.scan import KeyList, Scan
from spark_ext.pool import PooledSource
from spark_ext.pushdown.request import Request
from spark_ext.reader import SourceReader, part_of
from spark_ext.types import spark_type


def pushed_reader(
    source: PooledSource, request: Request, full: StructType, wanted: StructType
) -> DataSourceReader:
    """A reader of the columns and rows that Spark asked for.

    Args:
        source: the table, with all columns of the relation.
        request: what was pushed.
        full: all columns of the relation, as Spark has them.
        wanted: those that the scan is to yield.
    """
    if request.count:
        return CountReader(source, wanted)
    own = source.scan
    scan = own.select(*wanted.names)
    if own.limit is not None or own.sample is not None:
        # Rows chosen by the user's options: others would be chosen among filtered ones.
        return SourceReader(replace(source, scan=scan), wanted)
    terms = _understood(request.filter, own, full)
    scan = replace(scan, filter=all_of([own.filter, *terms]), limit=request.limit)
    narrowed = replace(source, scan=scan)
    keys = _understood(request.keys, own, full)
    if keys:
        planned = replace(source, scan=replace(scan, filter=all_of([scan.filter, *keys])))
        return KeysReader(narrowed, planned, wanted)
    return SourceReader(narrowed, wanted)


class KeysReader(SourceReader):
    """Looks up keys that a join found out, where these are all that a scan can want.

    Only the partitions know of them. Spark may take a reader that was planned with them, or one that
    was not, for any partition of the scan.
    """

    def __init__(self, source: PooledSource, planned: PooledSource, schema: StructType) -> None:
        super().__init__(source, schema)
        self._planned = planned

    def partitions(self) -> list[InputPartition]:
        parts = self._planned.partitions()
        if all(isinstance(part, KeyList) for part in parts):
            return [InputPartition(part) for part in parts]
        return super().partitions()


class CountReader(SourceReader):
    """One row for each partition: how many rows it has."""

    def __init__(self, source: PooledSource, schema: StructType) -> None:
        super().__init__(source, schema)
        self._counted = source

    def read(self, partition: InputPartition | None) -> Iterator[pa.RecordBatch]:
        part = part_of(partition)
        rows = 0 if part is None else self._counted.count(part)
        yield pa.RecordBatch.from_arrays([pa.array([rows], pa.int64())], schema=self._schema)


def _understood(text: str | None, scan: Scan, full: StructType) -> list[Filter]:
    """The terms of a pushed filter that mean the same for the stored columns as for Spark's.

    Spark reads some columns as other types than they are stored as; terms on these are Spark's.
    """
    if text is None:
        return []
    terms = conjuncts(parse_filter(text))
    return [bound for term in terms if (bound := _bound(term, scan, full)) is not None]


def _bound(term: Filter, scan: Scan, full: StructType) -> Filter | None:
    same = all(
        spark_type(name, scan.schema.field(name).type) == full[name].dataType
        for name in columns_of(term)
    )
    if not same:
        return None
    try:
        return bind(term, scan.schema, scan.table)
    except SchemaError:
        return None
