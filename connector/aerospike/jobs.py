"""Writes of tables in Aerospike, as values: what is checked before the first row is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.types as pt

from connector.aerospike.bins import FILLER
from connector.aerospike.connecting import Connection
from connector.aerospike.encoding import check_type
from connector.aerospike.keys import DIGEST
from connector.aerospike.options import MOST_BIN_NAME, AerospikeOptions
from connector.aerospike.overwriting import time_before
from connector.aerospike.policies import MOST_TTL
from connector.aerospike.records import GENERATION, METADATA
from connector.aerospike.saved import SET, appended, has_key_bins, with_key_bins
from connector.codecs import stored_type
from connector.errors import OptionError, SchemaError
from connector.jobs import (
    SchemaEvolution,
    WriteJob,
    WriteMode,
    WriteOptions,
    chosen_key,
    chosen_ttl_column,
)

_MOST_SET_NAME = 63  # bytes
_NO_SET_NAME = ":;\0"  # to truncate such a set would empty that of the name before the sign


@dataclass(frozen=True, slots=True)
class RecordJob(WriteJob):
    """One write of one table.

    Attributes:
        began: for an overwrite, when it began: nanoseconds since 1970, as ``time_before`` gives them;
            else 0.
    """

    began: int = 0

    @property
    def stored(self) -> pa.Schema:
        """The columns that the table gets."""
        apart = {self.ttl_column, GENERATION} - {*self.key}
        return pa.schema([item for item in self.schema if item.name not in apart])

    @property
    def bin_columns(self) -> list[str]:
        """The columns that are stored as bins: those of the key only where the records do not have it."""
        in_keys = () if has_key_bins(self.schema) else self.key
        return [name for name in self.stored.names if name not in in_keys]


def begin_job(
    table: str,
    schema: pa.Schema,
    options: WriteOptions,
    stored: pa.Schema | None,
    connection: Connection,
    store: AerospikeOptions,
) -> RecordJob:
    """Check that batches of ``schema`` can be written so; see ``Store.begin``.

    Args:
        table: name of the table.
        schema: the columns of the batches.
        options: how they are written.
        stored: the table's saved schema, if there is one.
        connection: asked for the servers' time, where a table is overwritten.
        store: the store's options.
    """
    check_table(table)
    key = chosen_key(table, schema, options, stored)
    ttl = chosen_ttl_column(table, schema, key, options)
    _check_expiry(table, schema, ttl, options)
    _check_generation(table, schema, key)
    apart = {ttl, GENERATION} - {*key}
    plain = pa.schema([_stored_field(item) for item in schema if item.name not in apart])
    known = stored if options.mode is WriteMode.APPEND else None
    if known is not None:
        appended(table, known, plain, key, add=options.evolution is SchemaEvolution.ADD)
    in_bins = _in_bins(table, key, known, store)
    extra = [item.remove_metadata() for item in schema if item.name in apart]
    job = RecordJob(table, with_key_bins(pa.schema([*plain, *extra]), in_bins), key, options, ttl)
    _check_bins(job, dict(store.bin_names))
    if options.mode is WriteMode.OVERWRITE:
        return replace(job, began=time_before(connection, store))
    return job


def check_table(table: str) -> None:
    """Refuse a name that no set can have, or that is ours.

    Raises:
        SchemaError: saying why.
    """
    if not 0 < len(table.encode()) <= _MOST_SET_NAME:
        raise SchemaError(
            f"table {table!r}: the name of a set has 1 to {_MOST_SET_NAME} bytes, and this one "
            f"{len(table.encode())}"
        )
    if any(sign in table for sign in _NO_SET_NAME):
        raise SchemaError(f"table {table!r}: the name of a set may not have ':', ';' or NUL in it")
    if table.startswith(SET):
        raise SchemaError(
            f"table {table!r}: sets whose names begin so keep what is saved of the others"
        )


def _stored_field(item: pa.Field) -> pa.Field:
    check_type(item.name, item.type)
    return item.with_type(stored_type(item.name, item.type)).remove_metadata()


def _check_expiry(table: str, schema: pa.Schema, ttl: str | None, options: WriteOptions) -> None:
    if options.ttl_seconds is not None and options.ttl_seconds > MOST_TTL:
        raise OptionError(
            f"table {table!r}: a ttl of {options.ttl_seconds} seconds is more than the {MOST_TTL} "
            f"(10 years) that the server takes"
        )
    kind = None if ttl is None else schema.field(ttl).type
    if kind is not None and not (pt.is_integer(kind) or pt.is_timestamp(kind)):
        raise SchemaError(
            f"table {table!r}: column {ttl!r} of type {kind} cannot say when rows expire; give whole "
            f"seconds from now, or a timestamp"
        )


def _check_generation(table: str, schema: pa.Schema, key: Sequence[str]) -> None:
    if GENERATION not in schema.names or GENERATION in key:
        return
    kind = schema.field(GENERATION).type
    if not pt.is_integer(kind):
        raise SchemaError(
            f"table {table!r}: column {GENERATION!r} of type {kind} cannot say which generation a record "
            f"has; give an integer"
        )


def _in_bins(
    table: str, key: tuple[str, ...], known: pa.Schema | None, store: AerospikeOptions
) -> bool:
    """Whether the key columns are stored as bins: as the table has it, or else as the options say."""
    if key == (DIGEST,):
        return False
    if known is None:
        return not store.send_key
    if not (store.send_key or has_key_bins(known)):
        raise OptionError(
            f"table {table!r} has its keys in the records, and rows without them could not be read; drop "
            f"option 'send.key', or write with mode overwrite"
        )
    return has_key_bins(known)


def _check_bins(job: RecordJob, names: Mapping[str, str]) -> None:
    columns: dict[str, str] = {}
    for column in job.bin_columns:
        name = names.get(column, column)
        what = f"table {job.table!r}: column {column!r}"
        if column in METADATA.names and column not in job.key:
            raise SchemaError(
                f"{what} is what a read tells of every record; leave it out or rename it"
            )
        if len(name.encode()) > MOST_BIN_NAME:
            raise SchemaError(
                f"{what} has a name of {len(name.encode())} bytes, and a bin's has at most "
                f"{MOST_BIN_NAME}; rename it, or give its bin a name: option 'bin.names', such as "
                f"{column}={column[:8]}"
            )
        if name == FILLER or "\0" in name:
            raise SchemaError(
                f"{what} cannot be stored in a bin {name!r}; rename it, or give its bin another name: "
                f"option 'bin.names'"
            )
        if name in columns:
            raise SchemaError(
                f"{what} and column {columns[name]!r} would both be stored in the bin {name!r}; change "
                f"option 'bin.names'"
            )
        columns[name] = column
