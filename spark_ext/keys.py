"""DataFrames of keys: the rows that they name, looked up or deleted by the tasks that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from connector.lookup import encoded
from connector.options import Options
from connector.store import StoreSource
from spark_ext.pool import PooledSource, pooled
from spark_ext.types import arrow_schema, fit, spark_schema


def lookup_frame(
    spark: SparkSession, source: PooledSource, keys: DataFrame | Sequence[object]
) -> DataFrame:
    """The rows of a source whose keys stand in a DataFrame, or among these values, each once."""
    names = list(source.scan.key)
    if not isinstance(keys, DataFrame):
        kinds = spark_schema(pa.schema([source.scan.schema.field(name) for name in names]))
        rows = [key if isinstance(key, tuple) else (key,) for key in keys]
        keys = spark.createDataFrame(rows, kinds)
    schema = spark_schema(source.scan.output)
    read = partial(_looked_up, source, arrow_schema(schema))
    return _keys_of(keys, names).dropDuplicates().mapInArrow(read, schema)


def delete_by_keys(
    df: DataFrame, kind: str, options: Options, table: str, names: Sequence[str]
) -> int:
    """Delete the rows of a table whose keys stand in a DataFrame; return how many there were."""
    counts = _keys_of(df, names).mapInArrow(partial(_deleted, kind, options, table), "rows long")
    return int(counts.agg(sf.sum("rows")).collect()[0][0] or 0)


def _keys_of(df: DataFrame, names: Sequence[str]) -> DataFrame:
    return df.select(*map(column, names))


def column(name: str) -> str:
    """A column's name, as expressions have it."""
    return "`" + name.replace("`", "``") + "`"


def _looked_up(
    source: PooledSource, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    scan, store = source.scan, pooled(source.scheme, source.options)
    for batch in batches:
        names = encoded(batch, scan.schema, scan.key)
        found = StoreSource(store, scan, parts=1, names=names)
        for part in found.partitions():
            for rows in found.read(part):
                yield fit(rows, schema)


def _deleted(
    kind: str, options: Options, table: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    store = pooled(kind, options)
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"rows": [store.delete(table, batch)]})
