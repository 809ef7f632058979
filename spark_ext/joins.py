"""Joins by lookup: each task asks the store for the rows of the keys that it holds."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.types import ByteType, DataType, IntegerType, LongType, ShortType, StructType

from connector.codecs import encode_keys
from connector.errors import OptionError, SchemaError
from connector.lookup import encoded
from connector.places import places
from connector.schema import key_of
from connector.store import StoreSource
from spark_ext.addressing import addressed
from spark_ext.parsing import parse_table_options, table_name
from spark_ext.pool import PooledSource, pooled
from spark_ext.preflight import check_python
from spark_ext.types import arrow_schema, fit, spark_schema, spark_type

_HOW = ("left", "inner")
_WHOLE: list[DataType] = [ByteType(), ShortType(), IntegerType(), LongType()]


def lookup_join(
    df: DataFrame,
    url: str,
    table: str,
    *,
    on: str | Sequence[str],
    columns: Sequence[str] | None = None,
    how: str = "left",
    **options: object,
) -> DataFrame:
    """Join a DataFrame, also a streaming one, with a table by the table's key.

    Each batch of rows asks the store for its distinct keys in pipelined or batch reads; nothing is
    scanned, shuffled or broadcast. The rows keep their order. A null key has no row.

    Args:
        df: the rows.
        url: where the store is, or the name of a format; see ``spark_ext.read``.
        table: name of the table.
        on: the columns of the DataFrame that hold the key, in the order of the table's key columns,
            whose names may be others.
        columns: the columns of the table to add, in order; by default all beside its key.
        how: ``left`` keeps rows without a row in the table, with nulls; ``inner`` drops them.
        options: further options of the source, with ``_`` for ``.`` in their names.

    Returns:
        The DataFrame with the columns added.

    Raises:
        OptionError: ``how`` is another, or the URL or an option is malformed or unknown.
        SchemaError: there are no such columns, one would stand twice, or the keys' types differ.
        TableNotFoundError: there is no such table.
    """
    check_python(df.sparkSession)
    if how not in _HOW:
        raise OptionError(f"how={how!r} is not known; it is {' or '.join(map(repr, _HOW))}")
    names = (on,) if isinstance(on, str) else tuple(on)
    kind, given = addressed(df.sparkSession, url, {"table": table, **options})
    ours, store = parse_table_options(kind, given)
    if ours.limit is not None or ours.sample is not None:
        raise OptionError(
            "options 'limit' and 'sample' are for reading tables, not for joining them"
        )
    opened = pooled(kind, store)
    full = opened.schema(table_name(ours, store), ours.key_column)
    key = ours.key_column or key_of(full)
    wanted = [name for name in full.names if name not in key] if columns is None else [*columns]
    found = opened.source(
        table,
        columns=[*dict.fromkeys([*key, *wanted])],
        key=ours.key_column,
        filter=ours.filter,
        batch_rows=ours.batch_rows,
    )
    _check(df, table, names, found.scan.schema, key, wanted)
    source = PooledSource(kind, store, found.scan, parts=1)
    added = pa.schema([found.scan.output.field(name).with_nullable(True) for name in wanted])
    output = spark_schema(added)
    joined = StructType([*df.schema, *output])
    by_lookup = LookupJoin(source, names, arrow_schema(output), inner=how == "inner")
    return df.mapInArrow(by_lookup, joined)


@dataclass(frozen=True)
class LookupJoin:
    """Adds the columns of a table to batches.

    Attributes:
        source: the table; it gives the key columns and those to add.
        on: the columns of a batch that hold the key.
        added: the columns to add, as Spark is to have them.
        inner: whether rows without a row in the table are dropped.
    """

    source: PooledSource
    on: tuple[str, ...]
    added: pa.Schema
    inner: bool

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield self.joined(batch)

    def joined(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch with the columns added, in their order."""
        rows, place = self._found(batch)
        if self.inner and place.null_count:
            batch, place = batch.filter(place.is_valid()), place.drop_null()
        columns = [*batch.columns, *(column.take(place) for column in rows.columns)]
        return pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, *self.added.names])

    def _found(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.Array]:
        """The table's rows for the keys of a batch, and which of them each row of the batch has."""
        scan = self.source.scan
        keys = pa.RecordBatch.from_arrays(
            [batch.column(name) for name in self.on], names=list(scan.key)
        )
        asked = functools.reduce(pc.and_, map(pc.is_valid, keys.columns))
        once = encoded(keys.filter(asked), scan.schema, scan.key).dictionary_encode()
        rows = self._rows(once.dictionary)
        own = encode_keys([rows.column(name) for name in scan.key], scan.key)
        place = pc.index_in(once.dictionary, value_set=own).take(once.indices)
        if len(place) < len(batch):  # rows with a null in their key are not asked for
            place = place.take(places(np.asarray(asked)))
        return fit(rows.select(self.added.names), self.added), place

    def _rows(self, names: pa.Array) -> pa.RecordBatch:
        scan = self.source.scan
        found = StoreSource(pooled(self.source.scheme, self.source.options), scan, 1, names=names)
        batches = [batch for part in found.partitions() for batch in found.read(part)]
        return pa.concat_batches(batches or [pa.RecordBatch.from_pylist([], schema=scan.output)])


def _check(
    df: DataFrame,
    table: str,
    on: Sequence[str],
    schema: pa.Schema,
    key: Sequence[str],
    wanted: Sequence[str],
) -> None:
    """Refuse a join that cannot be made, before a task runs."""
    if len(on) != len(key):
        raise OptionError(
            f"table {table!r} has the key {', '.join(key)}; name as many columns by 'on', not {len(on)}"
        )
    names = df.columns
    if missing := [name for name in on if name not in names]:
        raise SchemaError(f"the DataFrame has no column {', '.join(map(repr, missing))} to join on")
    if twice := [name for name in wanted if name in names or wanted.count(name) > 1]:
        raise SchemaError(
            f"columns {', '.join(map(repr, dict.fromkeys(twice)))} of table {table!r} would stand twice in "
            f"the joined rows: leave them out of 'columns', or rename those of the DataFrame"
        )
    for name, own in zip(on, key, strict=True):
        given, stored = df.schema[name].dataType, spark_type(own, schema.field(own).type)
        whole = given in _WHOLE and stored in _WHOLE
        if not (given == stored or (whole and _WHOLE.index(given) <= _WHOLE.index(stored))):
            raise SchemaError(
                f"column {name!r} is {given.simpleString()}, and key column {own!r} of table {table!r} is "
                f"{stored.simpleString()}: cast it before the join"
            )
