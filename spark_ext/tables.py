"""Tables as calls of ours name them, opened."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import SparkSession

from spark_ext.addressing import addressed
from spark_ext.parsing import parse_table_options
from spark_ext.pool import PooledSource, pooled


def table_source(
    spark: SparkSession, url: str, table: str, options: Mapping[str, object]
) -> tuple[PooledSource, dict[str, str]]:
    """A table to read, and the options by which Spark's reader finds the same.

    Raises:
        OptionError: the URL or an option is malformed or unknown.
        TableNotFoundError: there is no such table.
        StoreError: the server cannot be reached, or refuses.
    """
    kind, given = addressed(spark, url, {"table": table, **options})
    ours, store = parse_table_options(kind, given)
    found = pooled(kind, store).source(
        table, columns=ours.columns, key=ours.key_column, filter=ours.filter
    )
    return PooledSource(kind, store, found.scan, found.parts), given
