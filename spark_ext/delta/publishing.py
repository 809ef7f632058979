"""A Delta table into a store's table, as it was at one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from pyspark.sql import SparkSession

from connector.jobs import WriteMode
from connector.options import Options, chosen
from connector.store import Store
from spark_ext.delta import records
from spark_ext.delta.tables import DeltaTable
from spark_ext.pool import pooled
from spark_ext.preflight import check_python
from spark_ext.session import write
from spark_ext.whole_writes import check_write, target

_OF_TABLES = ("model", "value_codec", "explode", "keys_pattern", "infer_schema", "bin_names")


@dataclass(frozen=True, slots=True)
class Published:
    """What one call of ``publish`` did.

    Attributes:
        version: the version that the store's table has now.
        rows: how many rows it has of that version.
    """

    version: int
    rows: int


def publish(
    spark: SparkSession,
    source: str,
    url: str,
    table: str,
    *,
    version: int | str | datetime | None = None,
    key: str | Sequence[str] = (),
    mode: str = "overwrite",
    check_keys: bool = False,
    **options: Any,
) -> Published:
    """Write a Delta table, as it was at one version, to a table of a store.

    The version is recorded in the store, in table ``kvlake_published``, when all rows are there;
    ``publish_changes`` goes on from it. After a crash, run it again.

    Args:
        spark: a session that knows Delta.
        source: the Delta table: a path, which has a slash in it, or a name of the catalog.
        url: where the store is, or the name of a format; see ``spark_ext.write``.
        table: name of the store's table.
        version: the number of a version; or a time, for the one that was the latest then; by
            default the latest.
        key: the column, or columns, that name a row; those of the table by default, where it exists.
        mode: ``overwrite`` leaves exactly the rows of the version; ``append`` keeps other rows.
        check_keys: look for keys that stand more than once first, by one more query.
        options: further options of the sink, with ``_`` for ``.`` in their names.

    Raises:
        OptionError: there is no such version, or the URL, the mode or an option is not to be used.
        TableNotFoundError: there is no such Delta table.
        StoreError: another publication of the table was at work meanwhile.
        MissingDependencyError: the session does not know Delta.
    """
    check_python(spark)
    overwrite = chosen("mode", mode, WriteMode) is WriteMode.OVERWRITE
    store = opened(spark, url, table, options)
    delta = DeltaTable(spark, source)
    number = delta.resolve(version)
    df = delta.at(number)
    check_write(df, url, table, key, options, overwrite=overwrite)
    # Rows of two versions cannot be told apart: until all are there, changes have nothing to go on from.
    record = records.begin(store, table, delta.id, None, number)
    write(df, url, table, key=key, mode=mode, check_keys=check_keys, **options)
    records.finish(store, record)
    return Published(number, df.count())


def opened(spark: SparkSession, url: str, table: str, options: Mapping[str, object]) -> Store:
    """The store, for its records of what is published; see ``target`` for the errors."""
    kind, store = target(spark, url, table, options)
    return pooled(kind, _plain(store))


def _plain(options: Options) -> Options:
    """The same server, but tables are kept as they are by default."""
    own = {item.name: item.default for item in fields(options) if item.name in _OF_TABLES}
    return replace(options, **own)
