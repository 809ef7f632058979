"""Reading and writing in one call, with checks that Spark's own way cannot make; and the session."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from connector.errors import SchemaError
from connector.filters import Filter
from connector.jobs import WriteMode
from connector.options import chosen
from connector.schema import key_of
from spark_ext.addressing import addressed
from spark_ext.delta_session import with_delta
from spark_ext.keys import column, delete_by_keys, lookup_frame
from spark_ext.parsing import parse_table_options
from spark_ext.planning import plan_write
from spark_ext.pool import pooled
from spark_ext.preflight import check_executable, check_python
from spark_ext.pushdown import activate
from spark_ext.tables import table_source
from spark_ext.types import spark_schema

_SAMPLE = 5
_REDACTION = "spark.redaction.regex"
_REDACTED = "(?i)secret|password|token|access[.]?key|spark[.]kvlake[.].*url"
"""Spark's own, and URLs, which may hold a password."""


def configure(
    builder: SparkSession.Builder, *, delta: bool | str | Path = False
) -> SparkSession.Builder:
    """Prepare a session: its workers run this same Python, unless PYSPARK_PYTHON names another.

    Call it before the session is made. PySpark has no other way to be told than that variable of
    this process. The session also pushes down columns, filters, limits and join keys; and, unless
    ``spark.redaction.regex`` is set, Spark shows no URL that its configuration has for us.

    Args:
        builder: of the session.
        delta: whether the session is to know Delta; or the directory where Delta's jars are, which
            Spark else fetches. It counts for the first session of a process, which starts the JVM.

    Raises:
        OptionError, MissingDependencyError: the Python that is named cannot run kvlake; or there is no
            Delta for this version of Spark, or no jar of it in the directory.
    """
    check_executable(os.environ.setdefault("PYSPARK_PYTHON", sys.executable))
    if _REDACTION not in builder._options:
        builder = builder.config(_REDACTION, _REDACTED)
    if delta:
        builder = with_delta(builder, None if delta is True else delta)
    return _Builder(builder)


class _Builder(SparkSession.Builder):
    """A builder whose sessions push down what can be pushed."""

    def __init__(self, given: SparkSession.Builder) -> None:
        self._options = given._options

    def getOrCreate(self) -> SparkSession:
        return activate(super().getOrCreate())

    def create(self) -> SparkSession:
        return activate(super().create())


def read(
    spark: SparkSession,
    url: str,
    table: str,
    *,
    columns: Sequence[str] | None = None,
    filter: str | Filter | None = None,
    keys: DataFrame | Sequence[object] | None = None,
    **options: object,
) -> DataFrame:
    """A table as a DataFrame.

    Args:
        spark: the session.
        url: where the store is, such as ``redis://host:6379/0`` or ``aerospike://host:3000/test``; or
            ``redis`` or ``aerospike``, for the URL of the session's conf ``spark.kvlake.redis.url``. Other
            options have defaults there too.
        table: name of the table.
        columns: the columns wanted, in order; None for all.
        filter: the rows wanted, as SQL-like text or as an object of ``connector.filters``.
        keys: the keys of the rows wanted: a DataFrame that has the key columns, or values of the one
            key column. They are looked up by the executors; keys that are not there are left out.
        options: further options of the source, with ``_`` for ``.`` in their names.

    Raises:
        OptionError: the URL or an option is malformed or unknown.
        TableNotFoundError: there is no such table.
        StoreError: the server cannot be reached, or refuses.
    """
    check_python(spark)
    activate(spark)
    text = None if filter is None else str(filter)
    asked = {"columns": columns, "filter": text, **options}
    found, given = table_source(spark, url, table, asked)
    if keys is not None:
        return lookup_frame(spark, found, keys)
    given.pop("columns", None)
    reader = spark.read.format(found.scheme).options(**given)
    return reader.schema(spark_schema(found.scan.output)).load()


def delete(
    df: DataFrame, url: str, table: str, *, key: str | Sequence[str] = (), **options: object
) -> int:
    """Delete the rows whose keys stand in a DataFrame, by its tasks.

    Args:
        df: has the key columns; others do not matter.
        url: where the store is, such as ``redis://host:6379/0`` or ``aerospike://host:3000/test``; or
            ``redis`` or ``aerospike``, for the URL of the session's conf ``spark.kvlake.redis.url``. Other
            options have defaults there too.
        table: name of the table.
        key: the key columns; those of the table by default.
        options: further options of the store, with ``_`` for ``.`` in their names.

    Returns:
        How many rows there were. A task that is run again finds what it deleted before gone.
    """
    check_python(df.sparkSession)
    names = [key] if isinstance(key, str) else list(key)
    kind, given = addressed(df.sparkSession, url, {"table": table, "key.column": names, **options})
    ours, store = parse_table_options(kind, given)
    full = pooled(kind, store).schema(table, ours.key_column)
    return delete_by_keys(df, kind, store, table, list(ours.key_column or key_of(full)))


def write(
    df: DataFrame,
    url: str,
    table: str,
    *,
    key: str | Sequence[str] = (),
    mode: str = "append",
    ttl_seconds: int | None = None,
    check_keys: bool = False,
    **options: object,
) -> None:
    """Write a DataFrame to a table, as an upsert by key.

    Args:
        df: the rows.
        url: where the store is, such as ``redis://host:6379/0`` or ``aerospike://host:3000/test``; or
            ``redis`` or ``aerospike``, for the URL of the session's conf ``spark.kvlake.redis.url``. Other
            options have defaults there too.
        table: name of the table.
        key: the column, or columns, that name a row; those of the table by default, where it exists.
        mode: ``append`` keeps the table's other rows; ``overwrite`` deletes them when all is written.
        ttl_seconds: rows written expire after this many seconds; None for never.
        check_keys: look for keys that stand more than once first. This runs the DataFrame's query
            once more: cache what is dear to compute.
        options: further options of the sink, with ``_`` for ``.`` in their names.

    Raises:
        OptionError: the URL, the mode or an option is malformed or unknown.
        SchemaError: a column cannot be stored, or does not fit the table; or, with ``check_keys``, a key
            stands more than once.
        StoreError: the server cannot be reached from the driver, or refuses.
    """
    check_python(df.sparkSession)
    names = [key] if isinstance(key, str) else list(key)
    overwrite = chosen("mode", mode, WriteMode) is WriteMode.OVERWRITE
    kind, given = addressed(
        df.sparkSession,
        url,
        {"table": table, "key.column": names, "ttl": ttl_seconds, **options},
    )
    found = plan_write(kind, given, df.schema, overwrite=overwrite)
    if check_keys:
        _check_keys(df, table, found)
    df.write.format(kind).options(**given).mode(mode).save()


def _check_keys(df: DataFrame, table: str, key: Sequence[str]) -> None:
    times = sf.count(sf.lit(1))
    twice = df.groupBy(*map(column, key)).agg(times).where(times > 1).limit(_SAMPLE).collect()
    if twice:
        shown = "; ".join(", ".join(map(repr, row[:-1])) for row in twice)
        raise SchemaError(
            f"table {table!r}: keys ({', '.join(key)}) stand more than once in the DataFrame, such as "
            f"{shown}; drop the duplicates, as there is no telling which row should win"
        )
