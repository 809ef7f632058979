"""A table of one store into another store, or under another name, with the expiry of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as sf

from connector.errors import OptionError
from connector.filters import Filter
from connector.jobs import TTL, WriteMode
from connector.options import chosen
from spark_ext.pool import pooled
from spark_ext.session import read, write
from spark_ext.tables import table_source
from spark_ext.whole_writes import check_write, target


@dataclass(frozen=True, slots=True)
class Replicated:
    """What one call of ``replicate`` did.

    Attributes:
        read: how many rows were read.
        written: how many the new table has after an overwrite, counted there; after an append, how
            many were written, each of which the server has acknowledged.
    """

    read: int
    written: int


def replicate(
    spark: SparkSession,
    url: str,
    table: str,
    to_url: str,
    to_table: str | None = None,
    *,
    key: str | Sequence[str] = (),
    mode: str = "overwrite",
    columns: Sequence[str] | None = None,
    filter: str | Filter | None = None,
    keep_ttl: bool = True,
    options: Mapping[str, Any] | None = None,
    to_options: Mapping[str, Any] | None = None,
) -> Replicated:
    """Copy a table from one store to another, of any kind.

    A row gets the seconds that it had left when it was read. Both stores may be in use meanwhile: what is
    written to the source while it is read may be missed. Running it again is an upsert, or with mode
    ``overwrite`` leaves exactly the rows of then.

    Args:
        spark: the session.
        url: where the source is, or the name of a format; see ``spark_ext.read``.
        table: name of the table there.
        to_url: where the copy goes.
        to_table: its name there; the same by default.
        key: the columns that name a row of the copy; those of the source by default.
        mode: ``overwrite`` leaves exactly the rows of the source; ``append`` keeps other rows.
        columns: the columns wanted, in order; None for all.
        filter: the rows wanted; see ``spark_ext.read``.
        keep_ttl: whether rows expire as they would have.
        options: further options of the source, such as ``{"partitions.number": 16}``.
        to_options: further options of the sink.

    Raises:
        OptionError: the copy would be its own source, or a URL or an option is not to be used.
        TableNotFoundError: there is no such table.
        SchemaError: the columns do not fit the other store, or the table that is there.
    """
    to_table = to_table or table
    reading, writing = dict(options or {}), dict(to_options or {})
    overwrite = chosen("mode", mode, WriteMode) is WriteMode.OVERWRITE
    found, _ = table_source(spark, url, table, {"columns": columns, **reading})
    if TTL in found.scan.schema.names:
        keep_ttl = False  # then it is a column like the others
    kind, store = target(spark, to_url, to_table, writing)
    if (found.location, table) == (pooled(kind, store).location, to_table):
        raise OptionError(f"table {table!r} of {found.location} cannot be its own copy")
    key = key or found.scan.key
    names = [*found.scan.output.names, *([TTL] if keep_ttl else [])]
    df = read(spark, url, table, columns=names, filter=filter, **reading)
    seen = Observation()
    df = df.observe(seen, sf.count(sf.lit(1)).alias("rows"))
    if keep_ttl:  # what is in its last millisecond has no second left
        df = df.withColumn(TTL, sf.when(sf.col(TTL) < 1, 1).otherwise(sf.col(TTL)))
    check_write(df, to_url, to_table, key, writing, overwrite=overwrite)
    write(df, to_url, to_table, key=key, mode=mode, **writing)
    copied = int(seen.get["rows"])
    if not overwrite:
        return Replicated(copied, copied)
    return Replicated(copied, read(spark, to_url, to_table, **writing).count())
