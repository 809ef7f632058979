"""What changed in a Delta table, into the store's table that was published from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as sf

from connector.errors import OptionError, SchemaError, StoreError
from connector.schema import key_of
from spark_ext.delta import records
from spark_ext.delta.publishing import opened
from spark_ext.delta.tables import DeltaTable
from spark_ext.keys import column
from spark_ext.preflight import check_python
from spark_ext.session import delete, write
from spark_ext.whole_writes import check_write

_STAYS = "_kvlake_stays"
_TWICE = "_kvlake_twice"
_PLACE = "_kvlake_place"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PublishedChanges:
    """What one call of ``publish_changes`` did.

    Attributes:
        since: the version that the store's table had before.
        version: the version that it has now.
        upserts: how many keys have a new row.
        deletes: how many keys have none any more.
    """

    since: int
    version: int
    upserts: int = 0
    deletes: int = 0


def publish_changes(
    spark: SparkSession,
    source: str,
    url: str,
    table: str,
    *,
    version: int | str | datetime | None = None,
    **options: Any,
) -> PublishedChanges:
    """Bring a published table up to a later version, by Delta's change data feed.

    Of all changes of a key only the last counts. New rows and changed ones are upserts, the others
    are deleted, and the version is recorded when all is done: after a crash, run it again. Columns that
    the Delta table got since are an error, or with ``schema_evolution="add"`` the store's table gets
    them, too. One publication of a table is to run at a time; that two did is found out at their end.

    Args:
        spark: a session that knows Delta.
        source: the Delta table, as it was given to ``publish``: a path with a slash in it, or a name.
        url: where the store is, or the name of a format; see ``spark_ext.write``.
        table: name of the store's table.
        version: the number of a version; or a time, for the one that was the latest then; by
            default the latest.
        options: further options of the sink, with ``_`` for ``.`` in their names.

    Returns:
        What was done: nothing, where the store has that version already.

    Raises:
        StoreError: there is no whole version in the store to go on from, or it is another Delta table's;
            the changes since are not to be had; or another publication was at work meanwhile.
        OptionError: there is no such version, or the store has a later one; or an option is not to
            be used.
        SchemaError: one key stands more than once in the Delta table, or columns do not fit.
        TableNotFoundError: there is no such Delta table, or the store's is gone.
        MissingDependencyError: the session does not know Delta.
    """
    check_python(spark)
    store = opened(spark, url, table, options)
    key = key_of(store.schema(table))
    delta = DeltaTable(spark, source)
    since, furthest = _whole(records.load(store, table), delta, table)
    number = delta.resolve(version)
    if number < furthest:
        raise OptionError(
            f"table {table!r} has rows of version {furthest} of Delta table {source!r}, and changes do not "
            f"lead back to version {number}; publish the whole table at that version"
        )
    if number == since:
        return PublishedChanges(since, number)
    with delta.recorded(since + 1, number):
        changes = net_changes(delta.changes(since + 1, number), key)
        check_write(changes.drop(_STAYS, _TWICE), url, table, key, options)
        changes.persist()  # their rows are asked for three times
    try:
        with delta.recorded(since + 1, number):
            upserts, deletes = _counts(changes, table, key)
        record = records.begin(store, table, delta.id, since, number)
        if upserts:
            rows = changes.where(_STAYS).drop(_STAYS, _TWICE)
            write(rows, url, table, key=key, **options)
        if deletes:
            rows = changes.where(~sf.col(_STAYS)).select(*map(column, key))
            delete(rows, url, table, key=key, **options)
        records.finish(store, record)
    finally:
        changes.unpersist()
    return PublishedChanges(since, number, upserts, deletes)


def net_changes(changes: DataFrame, key: Sequence[str]) -> DataFrame:
    """The last change of each key.

    A commit that has a row of a key among those that it wrote leaves that row, whatever else of the
    key it took away: an overwrite takes away and writes every row, and an update that moves a row to another
    key takes away the old one.

    Args:
        changes: rows of Delta's change data feed.
        key: the key columns.

    Returns:
        A row for each key: the columns, whether the row ``_kvlake_stays`` or is gone, and whether the last
        commit wrote the key ``_kvlake_twice``.
    """
    stays = sf.col("_change_type").isin("insert", "update_postimage")
    when = sf.struct("_commit_version", _STAYS)
    of_key = Window.partitionBy(*map(column, key)).orderBy(
        sf.desc("_commit_version"), sf.desc(_STAYS)
    )
    placed = changes.withColumn(_STAYS, stays).select(
        "*",
        sf.row_number().over(of_key).alias(_PLACE),
        sf.coalesce(sf.lead(when).over(of_key) == when, sf.lit(False)).alias(_TWICE),
    )
    last = placed.where(sf.col(_PLACE) == 1).withColumn(_TWICE, sf.col(_TWICE) & sf.col(_STAYS))
    return last.drop("_change_type", "_commit_version", _PLACE)


def _whole(record: records.Record | None, delta: DeltaTable, table: str) -> tuple[int, int]:
    """The version to go on from, and the latest one of which there may be rows."""
    if record is None:
        why = "was never published from Delta"
    elif record.source != delta.id:
        why = f"was published from another Delta table than {delta.name!r}, or from one that was there before"
    elif record.version is None:
        why = f"was being published at version {record.reaching}, and that did not end"
    else:
        return record.version, record.furthest
    raise StoreError(f"table {table!r} {why}; publish the whole table first")


def _counts(changes: DataFrame, table: str, key: Sequence[str]) -> tuple[int, int]:
    """How many keys have a new row, and how many have none any more."""
    stay, all_keys, twice = changes.agg(
        sf.count_if(_STAYS), sf.count(sf.lit(1)), sf.count_if(_TWICE)
    ).collect()[0]
    if twice:
        found = changes.where(_TWICE).select(*map(column, key)).limit(_SHOWN).collect()
        shown = "; ".join(", ".join(map(repr, row)) for row in found)
        raise SchemaError(
            f"table {table!r}: {twice} keys ({', '.join(key)}) stand more than once in what one commit of "
            f"the Delta table wrote, such as {shown}; there is no telling which row should win"
        )
    return stay, all_keys - stay
