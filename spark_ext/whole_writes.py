"""Writes that leave out no row, checked on the driver before Spark plans them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession

from connector.errors import OptionError
from connector.options import Options
from spark_ext import planning
from spark_ext.addressing import addressed
from spark_ext.parsing import parse_table_options

_PARTIAL = ("write.mode", "reject.path")


def target(
    spark: SparkSession, url: str, table: str, options: Mapping[str, object]
) -> tuple[str, Options]:
    """The kind of the store that a table goes to, and its options.

    Raises:
        OptionError: an option is unknown or malformed, or would leave out rows.
    """
    kind, given = addressed(spark, url, {"table": table, **options})
    for name in _PARTIAL:
        if name in given:
            raise OptionError(
                f"option {name!r} would leave out rows, and table {table!r} is to have all of them; drop it"
            )
    _, store = parse_table_options(kind, given)
    return kind, store


def check_write(
    df: DataFrame,
    url: str,
    table: str,
    key: str | Sequence[str],
    options: Mapping[str, object],
    *,
    overwrite: bool = False,
) -> None:
    """Plan a write as Spark will, with errors that are ours and before anything else is done.

    Raises:
        OptionError, SchemaError: the rows cannot be written so.
    """
    names = [key] if isinstance(key, str) else list(key)
    kind, given = addressed(df.sparkSession, url, {"table": table, "key.column": names, **options})
    planning.plan_write(kind, given, df.schema, overwrite=overwrite)
