"""Writes planned by ourselves first: then mistakes are errors of ours, without traces of Spark's."""

from __future__ import annotations

from pyspark.sql.types import StructType

from spark_ext.aerospike_source import AerospikeDataSource
from spark_ext.datasource import StoreDataSource
from spark_ext.redis_source import RedisDataSource

_SOURCES: dict[str, type[StoreDataSource]] = {
    each.scheme: each for each in (RedisDataSource, AerospikeDataSource)
}


def plan_write(
    kind: str, options: dict[str, str], columns: StructType, *, overwrite: bool
) -> tuple[str, ...]:
    """Plan a write as Spark will, and leave it at that.

    Args:
        kind: the format.
        options: as Spark carries them.
        columns: of the DataFrame.
        overwrite: whether the table is to have these rows alone.

    Returns:
        The key columns.

    Raises:
        OptionError, SchemaError: the rows cannot be written so.
        StoreError: the server cannot be reached from here, or refuses.
    """
    return _SOURCES[kind](options).writer(columns, overwrite).key
