"""Stores as Spark data sources, over the Python Data Source API."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceStreamReader,
    DataSourceStreamWriter,
)
from pyspark.sql.types import StructType

from connector.errors import ConnectorError, OptionError, SchemaError
from connector.jobs import WriteJob, WriteMode, WriteOptions
from spark_ext.messages import concise
from spark_ext.options import options_of_created
from spark_ext.parsing import parse_all_options, table_name
from spark_ext.pool import PooledSource, pooled
from spark_ext.pushdown.describing import description
from spark_ext.pushdown.reading import pushed_reader
from spark_ext.pushdown.request import Request
from spark_ext.reader import SourceReader
from spark_ext.streaming.options import StreamOptions
from spark_ext.streaming.writer import StoreStreamWriter
from spark_ext.types import arrow_schema, requested, spark_schema
from spark_ext.writer import StoreWriter

PARTS = 8
_OF_SPARK = {"checkpointlocation", "queryname"}  # options of a query, which sinks get too


class StoreDataSource(DataSource):
    """A batch source and sink of one kind of store; a subclass names the kind.

    Spark makes one in its planner's Python, which sees neither the session nor its configuration:
    all that counts comes as options.
    """

    scheme: ClassVar[str]
    """The URL scheme by which the store is registered; also the name of the format."""

    texts: ClassVar[bool]
    """Whether the store keeps flat values as text, which can be parsed as any type."""

    unknown: ClassVar[tuple[type[ConnectorError], ...]] = (SchemaError,)
    """What says that the columns of a table are not to be found out, and the user may tell them."""

    @classmethod
    def name(cls) -> str:
        return cls.scheme

    @concise
    def __init__(self, options: dict[str, str]) -> None:
        super().__init__(options)
        self._pushed, given = Request.taken_from(options_of_created(options))
        ours = {name: text for name, text in given.items() if name.lower() not in _OF_SPARK}
        self._table, self._streams, self._store = parse_all_options(self.scheme, ours)
        self._planned: PooledSource | None = None

    @concise
    def schema(self) -> StructType:
        """The columns of the table, where the reader was given no schema."""
        if self._pushed.describe:
            return description(self._source())
        self._planned = self._source()
        return spark_schema(self._planned.scan.output)

    @concise
    def reader(self, schema: StructType) -> DataSourceReader:
        self._check_batch()
        if self._planned is not None:
            return SourceReader(self._planned, schema)
        wanted = self._pushed.schema or schema
        if self._table.columns is not None and not set(wanted.names) <= {*self._table.columns}:
            raise OptionError(
                "option 'columns' and a schema were both given; the schema alone will do"
            )
        return pushed_reader(self._requested(wanted), self._pushed, wanted, schema)

    @concise
    def writer(self, schema: StructType, overwrite: bool) -> StoreWriter:
        self._check_batch()
        job = self._begin(schema, self._write_options(overwrite))
        return StoreWriter(self.scheme, self._store, job)

    @concise
    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        raise OptionError(
            f"format {self.scheme!r} keeps no log of what changes that readStream could follow"
        )

    @concise
    def streamWriter(self, schema: StructType, overwrite: bool) -> DataSourceStreamWriter:
        self._check_batch()
        job = self._begin(schema, self._write_options(overwrite))
        return StoreStreamWriter(self.scheme, self._store, job)

    def _begin(self, schema: StructType, options: WriteOptions) -> WriteJob:
        if self._table.table is None:
            raise OptionError("option 'table' is missing: name of the table")
        store = pooled(self.scheme, self._store)
        return store.begin(self._table.table, nullable(schema), options)

    def _write_options(self, overwrite: bool) -> WriteOptions:
        table = self._table
        if table.columns is not None:
            raise OptionError("option 'columns' is for reading; select the columns before writing")
        if table.filter is not None or table.limit is not None or table.sample is not None:
            raise OptionError(
                "options 'filter', 'limit' and 'sample' are for reading; choose the rows before writing"
            )
        return WriteOptions(
            key=table.key_column,
            mode=WriteMode.OVERWRITE if overwrite else WriteMode.APPEND,
            fields=table.write_fields,
            rows=table.write_mode,
            evolution=table.schema_evolution,
            ttl_seconds=table.ttl,
            ttl_column=table.ttl_column,
            reject_path=table.reject_path,
            reject_limit=table.reject_limit,
        )

    def _check_batch(self) -> None:
        """Refuse options of streams where none is read or appended to."""
        if self._streams != StreamOptions():
            raise OptionError(
                "options of streams, such as 'streams', 'start' and 'max.entries.per.trigger', are for "
                "readStream of Redis Streams and for appending to them"
            )

    def _requested(self, wanted: StructType) -> PooledSource:
        """The table as the user's schema has it."""
        try:
            source = self._source()
        except (
            self.unknown
        ):  # neither saved nor to be inferred: then the user's word is taken for it
            return self._source(arrow_schema(wanted))
        store = pooled(self.scheme, self._store)
        stored = store.with_metadata(source.scan.schema, wanted.names)
        return source.reading(
            requested(stored, wanted, texts=self.texts), wanted.names, self._table.filter
        )

    def _source(self, schema: pa.Schema | None = None) -> PooledSource:
        table = self._table
        found = pooled(self.scheme, self._store).source(
            table_name(table, self._store),
            columns=table.columns,
            schema=schema,
            key=table.key_column,
            filter=table.filter,
            limit=table.limit,
            sample=table.sample,
            parts=table.partitions_number or self._pushed.parts or PARTS,
            batch_rows=table.batch_rows,
        )
        return PooledSource(self.scheme, self._store, found.scan, found.parts)


def nullable(schema: StructType) -> pa.Schema:
    """The Arrow schema to write: whether one DataFrame can have nulls says nothing of the next."""
    return pa.schema([field.with_nullable(True) for field in arrow_schema(schema)])
