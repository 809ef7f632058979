"""A store's table into a Delta table, in one commit that tells where its rows came from."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from connector.errors import StoreError
from connector.filters import Filter
from connector.jobs import SchemaEvolution, WriteMode
from connector.options import chosen
from spark_ext.delta.tables import DeltaTable
from spark_ext.delta_session import check_delta
from spark_ext.pool import PooledSource
from spark_ext.session import read
from spark_ext.tables import table_source

_COMMITS = 100  # of others, that may come right after ours


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one call of ``snapshot`` did.

    Attributes:
        version: the version of the Delta table that it made.
        rows: how many rows it read and wrote.
    """

    version: int
    rows: int


def snapshot(
    spark: SparkSession,
    url: str,
    table: str,
    target: str,
    *,
    mode: str = "overwrite",
    columns: Sequence[str] | None = None,
    filter: str | Filter | None = None,
    evolution: str = "error",
    **options: Any,
) -> Snapshot:
    """Write a table of a store to a Delta table, in one commit.

    The commit's ``userMetadata`` is JSON that tells where the rows came from: under ``kvlake`` the
    store, without secrets, the table, its key, columns, filter, schema and fingerprint, when reading
    began, and how many rows there were; Delta's own count of them must be the same. The table is read
    once, and kept by the executors, in memory and on disk, until the commit is made. Others may write to
    it meanwhile: the rows are not those of one moment.

    Args:
        spark: a session that knows Delta.
        url: where the store is, or the name of a format; see ``spark_ext.read``.
        table: name of the store's table.
        target: the Delta table: a path, which has a slash in it, or a name of the catalog. It is made
            if it is not there.
        mode: ``overwrite`` or ``append``.
        columns: the columns wanted, in order; None for all.
        filter: the rows wanted; see ``spark_ext.read``.
        evolution: columns that the Delta table lacks are an ``error``, or are ``add``ed to it.
        options: further options of the source, with ``_`` for ``.`` in their names.

    Raises:
        OptionError: the URL, the mode or an option is malformed or unknown.
        TableNotFoundError: the store has no such table.
        StoreError: the commit has fewer rows than were read; the message names its version.
        MissingDependencyError: the session does not know Delta.
    """
    check_delta(spark)
    chosen("mode", mode, WriteMode)
    evolving = chosen("evolution", evolution, SchemaEvolution)
    began = datetime.now(UTC)
    rows = read(spark, url, table, columns=columns, filter=filter, **options)
    text = None if filter is None else str(filter)
    asked = {"columns": columns, "filter": text, **options}
    found, _ = table_source(spark, url, table, asked)
    rows.persist()  # read once, as the store may have other rows by the second time
    try:
        definition = _definition(found) | {"began": began.isoformat(), "rows": rows.count()}
        return _write(rows, DeltaTable(spark, target), mode, evolving, definition)
    finally:
        rows.unpersist()


def _write(
    df: DataFrame,
    delta: DeltaTable,
    mode: str,
    evolution: SchemaEvolution,
    definition: dict[str, Any],
) -> Snapshot:
    """Make the commit, with what is told of its rows."""
    mark = uuid.uuid4().hex
    told = json.dumps({"kvlake": {"id": mark, **definition}})
    writer = df.write.format("delta").mode(mode).option("userMetadata", told)
    if evolution is SchemaEvolution.ADD:
        writer = writer.option("mergeSchema", "true")
    if delta.is_path:
        writer.save(delta.name)
    else:
        writer.saveAsTable(delta.name)
    return _committed(delta, mark, definition["rows"])


def _definition(source: PooledSource) -> dict[str, Any]:
    """What was read, in words; no secret is among them."""
    scan = source.scan
    return {
        "store": source.location,
        "table": scan.table,
        "key": list(scan.key),
        "columns": list(scan.output.names),
        "filter": None if scan.filter is None else str(scan.filter),
        "schema": {field.name: str(field.type) for field in scan.output},
        "fingerprint": source.fingerprint,
    }


def _committed(delta: DeltaTable, mark: str, rows: int) -> Snapshot:
    """The commit that has the mark, checked for its rows."""
    commits = delta.history(_COMMITS).where(sf.col("userMetadata").contains(mark))
    commit = commits.select("version", "operationMetrics.numOutputRows").first()
    if commit is None and not rows:  # Delta makes no commit of nothing that is appended
        return Snapshot(delta.latest(), 0)
    if commit is None or int(commit[1]) != rows:
        where = "no commit" if commit is None else f"version {commit[0]}, of {commit[1]} rows,"
        raise StoreError(
            f"Delta table {delta.name!r}: {rows} rows were read, and {where} tells of them; restore the "
            f"version before it, and take the snapshot again"
        )
    return Snapshot(int(commit[0]), rows)
