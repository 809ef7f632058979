"""Options of a table in Spark: what is read or written, beside how its store is reached."""

from __future__ import annotations

from dataclasses import dataclass

from connector.options import Options, names, option, whole


@dataclass(frozen=True, kw_only=True, repr=False)
class TableOptions(Options):
    """One table, and how Spark reads or writes it."""

    table: str = option(doc="name of the table")
    key_column: tuple[str, ...] = option(
        names,
        doc="the column that names a row, or several joined by commas; "
        "by default that of the table, where it exists",
        default=(),
    )
    columns: tuple[str, ...] | None = option(
        names, doc="reading: the columns wanted, joined by commas; all by default", default=None
    )
    partitions_number: int = option(
        whole(1, 100_000), doc="reading: about how many partitions to cut the table into", default=8
    )
    batch_rows: int = option(
        whole(1), doc="reading: most rows in a batch handed to Spark", default=16_384
    )
    ttl: int | None = option(
        whole(1),
        doc="writing: seconds after which the written rows expire; never by default",
        default=None,
    )
