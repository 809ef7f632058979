"""Writes as values: how a table is written, one write of it, and what a task of that wrote."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from connector.errors import OptionError, SchemaError
from connector.schema import check_key, check_names, key_of

TTL = "__ttl"
"""The column that says when rows expire, where no other is named."""


class WriteMode(enum.Enum):
    """What becomes of rows that are in the table already.

    APPEND upserts: rows with new keys are added; rows with known keys are merged, a null deleting
    its field. OVERWRITE leaves exactly the written rows in the table.
    """

    APPEND = "append"
    OVERWRITE = "overwrite"


class WriteFields(enum.Enum):
    """What becomes of the other columns of a row that is in the table already.

    MERGE keeps them, and a null deletes its own; REPLACE leaves the written ones alone.
    """

    MERGE = "merge"
    REPLACE = "replace"


class WriteRows(enum.Enum):
    """Which rows are written: all of them, new ones only, or known ones only.

    A row that is left out is counted, and is no error.
    """

    UPSERT = "upsert"
    INSERT = "insert"
    UPDATE = "update"


class SchemaEvolution(enum.Enum):
    """What becomes of columns that the table does not have: an error, or new columns of the table."""

    ERROR = "error"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write.

    Attributes:
        key: the key columns; empty for those of the table, where it exists.
        mode: see WriteMode.
        fields: see WriteFields.
        rows: see WriteRows.
        evolution: see SchemaEvolution.
        ttl_seconds: rows written expire after this many seconds; None to leave their expiry as it is.
        ttl_column: the column that says when each row expires, and is not stored: whole seconds from
            now, or a timestamp; a null means never. By default ``__ttl``, where there is one.
        reject_path: a directory, as fsspec knows it, for the keys of rows that the server refuses, and
            why; without it such a row is an error.
        reject_limit: most rows that a task may reject.
    """

    key: tuple[str, ...] = ()
    mode: WriteMode = WriteMode.APPEND
    fields: WriteFields = WriteFields.MERGE
    rows: WriteRows = WriteRows.UPSERT
    evolution: SchemaEvolution = SchemaEvolution.ERROR
    ttl_seconds: int | None = None
    ttl_column: str | None = None
    reject_path: str | None = None
    reject_limit: int = 1000

    def __post_init__(self) -> None:
        if isinstance(self.key, str):
            raise OptionError(f"key must be a tuple of column names, got the text {self.key!r}")
        if self.ttl_seconds is not None and self.ttl_seconds < 1:
            raise OptionError(f"ttl must be at least 1 second, got {self.ttl_seconds}")
        if self.ttl_seconds is not None and self.ttl_column is not None:
            raise OptionError("give either a ttl for all rows or a column that has it, not both")
        if self.mode is WriteMode.OVERWRITE and self.rows is not WriteRows.UPSERT:
            raise OptionError(f"an overwrite cannot {self.rows.value} only: it replaces every row")


@dataclass(frozen=True, slots=True)
class WriteJob:
    """One write of one table, begun by one process and carried out by any number of tasks.

    Attributes:
        table: name of the table.
        schema: the schema of the batches, key columns and ``ttl_column`` included.
        key: the key columns.
        options: as given to ``begin``.
        ttl_column: the column that says when rows expire, and is not stored.
        id: no other job has it.
    """

    table: str
    schema: pa.Schema
    key: tuple[str, ...]
    options: WriteOptions
    ttl_column: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def stored(self) -> pa.Schema:
        """The columns that the table gets."""
        return pa.schema([item for item in self.schema if item.name != self.ttl_column])

    @property
    def replaces(self) -> bool:
        """Whether a row that is written keeps nothing of the one before."""
        overwrite = self.options.mode is WriteMode.OVERWRITE
        return overwrite or self.options.fields is WriteFields.REPLACE


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What one task wrote.

    Attributes:
        rows: rows sent and acknowledged.
        keys: for an overwrite, the keys of those rows and of rejected ones in a form only the store
            reads; each item holds many keys, compressed.
        skipped: rows left out because they were in the table, or were not, by ``WriteOptions.rows``.
        rejected: rows that the server refused, told of under ``reject_path``.
    """

    rows: int
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    skipped: int = 0
    rejected: int = 0


def chosen_key(
    table: str, schema: pa.Schema, options: WriteOptions, stored: pa.Schema | None
) -> tuple[str, ...]:
    """The key columns of a write: those of the options, else the table's.

    Args:
        table: for messages.
        schema: the columns to be written.
        options: how they are written.
        stored: the table's schema, where one is saved.

    Raises:
        OptionError: no key columns are known.
        SchemaError: columns without names of their own, or a key column that cannot be one.
    """
    key = options.key or (key_of(stored) if stored is not None else ())
    if not key:
        raise OptionError(
            f"table {table!r} has no saved schema, so the columns that make its key must be "
            f"named: option 'key.column'"
        )
    check_names(table, schema)
    check_key(table, schema, key)
    return key


def chosen_ttl_column(
    table: str, schema: pa.Schema, key: Sequence[str], options: WriteOptions
) -> str | None:
    """The column that says when rows expire; None where none does.

    Raises:
        OptionError, SchemaError: it cannot say so.
    """
    column = options.ttl_column
    if column is None and TTL in schema.names and TTL not in key:
        column = TTL
    if column is None:
        return None
    if schema.get_field_index(column) < 0:
        raise SchemaError(f"table {table!r}: there is no column {column!r} to say when rows expire")
    if column in key:
        raise SchemaError(f"table {table!r}: key column {column!r} cannot say when rows expire")
    if options.ttl_seconds is not None:
        raise OptionError(
            f"table {table!r}: both a ttl for all rows and column {column!r} say when they expire; "
            f"drop one of them"
        )
    return column
