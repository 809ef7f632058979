"""Micro-batches by ``foreachBatch``: the way to output mode ``update``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql import DataFrame

from spark_ext.parsing import parse_table_options
from spark_ext.session import write


def upsert(
    url: str, table: str, *, key: str | Sequence[str] = (), **options: Any
) -> Callable[[DataFrame, int], None]:
    """A function for ``writeStream.foreachBatch`` that upserts each micro-batch by key.

    Spark refuses output mode ``update`` for sinks in Python; by ``foreachBatch`` it takes it. A
    batch that is replayed after a crash writes the same rows again, which changes nothing.

    Args:
        url: where the store is, such as ``redis://host:6379/0`` or ``aerospike://host:3000/test``.
        table: name of the table.
        key: the column, or columns, that name a row; those of the table by default, where it exists.
        options: further options of the sink, with ``_`` for ``.`` in their names.

    Raises:
        OptionError: the URL or an option is malformed or unknown.
    """
    names = (key,) if isinstance(key, str) else tuple(key)
    given = {"url": url, "table": table, "key_column": names, **options}
    parse_table_options(url.partition("://")[0], given)

    def write_batch(rows: DataFrame, batch: int) -> None:
        write(rows, url, table, key=names, **options)

    return write_batch
