"""Options of a table in Spark: what is read or written, beside how its store is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from connector.jobs import SchemaEvolution, WriteFields, WriteRows
from connector.options import Options, choice, fraction, names, option, whole


class Pushdown(Enum):
    """Whether Spark may push into a read; the JVM part goes by it."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True, kw_only=True, repr=False)
class TableOptions(Options):
    """One table, and how Spark reads or writes it."""

    table: str | None = option(
        doc="name of the table; only a reader by `keys.pattern` needs none",
        default=None,
        aliases=("aerospike.set",),
    )
    key_column: tuple[str, ...] = option(
        names,
        doc="the column that names a row, or several joined by commas; "
        "by default that of the table, where it exists",
        default=(),
        aliases=("aerospike.updatebykey", "aerospike.update-by-key", "aerospike.keycolumn"),
    )
    columns: tuple[str, ...] | None = option(
        names, doc="reading: the columns wanted, joined by commas; all by default", default=None
    )
    partitions_number: int | None = option(
        whole(1, 100_000),
        doc="reading: about how many partitions to cut the table into; by default 8, or with pushdown twice "
        "as many as the session has cores",
        default=None,
    )
    batch_rows: int = option(
        whole(1), doc="reading: most rows in a batch handed to Spark", default=16_384
    )
    filter: str | None = option(
        doc="reading: the rows wanted, such as `age >= 18 AND city IN ('a','b')`; the key by `=` or `IN` "
        "asks for those rows alone and scans nothing",
        default=None,
    )
    limit: int | None = option(
        whole(0),
        doc="reading: most rows wanted; read as one partition, and no further than needed",
        default=None,
    )
    sample: float | None = option(
        fraction, doc="reading: about which share of the rows is wanted", default=None
    )
    kvlake_pushdown: Pushdown = option(
        choice(Pushdown),
        doc="reading: `off` keeps Spark from pushing columns, filters, limits and join keys into these "
        "reads; for a session it is the conf `spark.kvlake.pushdown`",
        default=Pushdown.AUTO,
    )
    write_fields: WriteFields = option(
        choice(WriteFields),
        doc="appending: `merge` keeps a row's other columns, and a null deletes its own; `replace` leaves "
        "the written ones alone",
        default=WriteFields.MERGE,
    )
    write_mode: WriteRows = option(
        choice(WriteRows),
        doc="appending: `upsert`, or `insert` new rows only, or `update` known ones only; rows left out "
        "are counted",
        default=WriteRows.UPSERT,
    )
    schema_evolution: SchemaEvolution = option(
        choice(SchemaEvolution),
        doc="appending: columns that the table lacks are an `error`, or are `add`ed to it",
        default=SchemaEvolution.ERROR,
    )
    ttl: int | None = option(
        whole(1),
        doc="writing: seconds after which the written rows expire; by default their expiry is left as "
        "it is",
        default=None,
        aliases=("aerospike.ttl",),
    )
    ttl_column: str | None = option(
        doc="writing: the column that says when each row expires, and is not stored: seconds from now, or "
        "a timestamp; null for never. `__ttl` by default, where there is one",
        default=None,
        aliases=("aerospike.ttlcolumn", "aerospike.ttl-column"),
    )
    reject_path: str | None = option(
        doc="writing: a directory, as fsspec knows it, for the keys of rows that the server refuses, and "
        "why; without it such a row is an error",
        default=None,
    )
    reject_limit: int = option(
        whole(0), doc="writing: most rows that a task may reject", default=1000
    )


def options_of_created(properties: Mapping[str, str]) -> Mapping[str, str]:
    """The options among what Spark tells a data source.

    It asks for the columns of a CREATE TABLE with all properties of the table: the options stand
    among them by themselves, and once more as ``option.NAME``.
    """
    prefix = "option."
    named = {
        name.removeprefix(prefix): text
        for name, text in properties.items()
        if name.startswith(prefix)
    }
    return named or properties
