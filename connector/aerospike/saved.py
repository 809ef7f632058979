"""What a table looks like: its schema, saved at the first write in a set of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aerospike
import pyarrow as pa
from aerospike import exception

from connector import saved_schema
from connector.aerospike.choices import ModelName
from connector.aerospike.connecting import Connection, translated
from connector.aerospike.keys import DIGEST
from connector.errors import SchemaError
from connector.jobs import SchemaEvolution, WriteJob
from connector.schema import check_append, key_of, keyed

SET = "_kvlake"
"""Where schemas and other records of ours are, apart from every table's own set."""

_BIN = "schema"
_ATTEMPTS = 20  # to add columns, while other writers add theirs
_KEYS = b"kvlake.aerospike.keys"  # where a table's key columns are
_NOTE = "keys"
_SENT, _BINS = "sent", "bins"
_MODEL = b"kvlake.model"
_MODEL_NOTE = "model"


def with_key_bins(schema: pa.Schema, in_bins: bool) -> pa.Schema:
    """The schema, noting whether the key columns are stored as bins, and not in the records' keys."""
    noted = {_KEYS: (_BINS if in_bins else _SENT).encode()}
    return schema.with_metadata({**(schema.metadata or {}), **noted})


def has_key_bins(schema: pa.Schema) -> bool:
    """Whether the key columns of a table of this schema are stored as bins."""
    return (schema.metadata or {}).get(_KEYS) == _BINS.encode()


def with_model(schema: pa.Schema, model: ModelName) -> pa.Schema:
    """The schema, noting how the table is kept."""
    return schema.with_metadata({**(schema.metadata or {}), _MODEL: model.value.encode()})


def model_of(schema: pa.Schema) -> ModelName | None:
    """How a table of this schema is kept, where that is noted."""
    noted = (schema.metadata or {}).get(_MODEL)
    return None if noted is None else ModelName(noted.decode())


def load(connection: Connection, namespace: str, table: str) -> pa.Schema | None:
    """The saved schema of a table; None where there is none."""
    with translated(f"reading the schema of table {table!r}"):
        found = _read(connection, _key(namespace, table))
    return None if found is None else _parsed(table, found[1])


def replace(connection: Connection, namespace: str, table: str, schema: pa.Schema) -> None:
    """Save the schema of a table, whatever was saved before."""
    with translated(f"saving the schema of table {table!r}"):
        _write(connection, _key(namespace, table), schema, aerospike.POLICY_GEN_IGNORE, 0)


def forget(connection: Connection, namespace: str, table: str) -> bool:
    """Remove what is saved of a table; whether there was anything."""
    with translated(f"removing the schema of table {table!r}"):
        try:
            connection.client.remove(_key(namespace, table))
        except exception.RecordNotFound:
            return False
    return True


def schema_of(job: WriteJob) -> pa.Schema:
    """The schema that is saved of a table that a job writes."""
    schema = with_key_bins(keyed(job.stored, job.key), has_key_bins(job.schema))
    return with_model(schema, model_of(job.schema) or ModelName.RECORD)


def appended(
    table: str, stored: pa.Schema, given: pa.Schema, key: Sequence[str], *, add: bool
) -> pa.Schema:
    """What ``connector.schema.check_append`` gives; rows by digest are records of a table of any key."""
    if tuple(key) == (DIGEST,) != key_of(stored):
        given = pa.schema([item for item in given if item.name != DIGEST])
        key = key_of(stored)
    return check_append(table, stored, given, key, add=add)


def extend(connection: Connection, namespace: str, job: WriteJob) -> None:
    """Save the schema of a table that is appended to: its first, or what agrees with the saved one.

    Raises:
        SchemaError: the saved schema does not agree, or changes all the time.
    """
    table, schema, key = job.table, schema_of(job), _key(namespace, job.table)
    add = job.options.evolution is SchemaEvolution.ADD
    with translated(f"saving the schema of table {table!r}"):
        for _ in range(_ATTEMPTS):
            found = _read(connection, key)
            if found is None:
                if _write(connection, key, schema, aerospike.POLICY_GEN_IGNORE, 0, new=True):
                    return
                continue
            generation, text = found
            stored = _parsed(table, text)
            wanted = appended(table, stored, schema, key_of(schema), add=add)
            if wanted.equals(stored):
                return
            if _write(connection, key, wanted, aerospike.POLICY_GEN_EQ, generation):
                return
    raise SchemaError(f"table {table!r}: other writers change its schema all the time; write again")


def _key(namespace: str, table: str) -> tuple[str, str, str]:
    return namespace, SET, f"schema:{table}"


def _parsed(table: str, text: str) -> pa.Schema:
    schema, notes = saved_schema.from_text(
        text, f"the schema of table {table!r}, saved in set {SET!r},"
    )
    schema = with_key_bins(schema, notes.get(_NOTE) == _BINS)
    return with_model(schema, ModelName(notes.get(_MODEL_NOTE, ModelName.RECORD.value)))


def _read(connection: Connection, key: tuple[str, str, str]) -> tuple[int, str] | None:
    """The record's generation and what it holds."""
    try:
        _, told, bins = connection.client.get(key)
    except exception.RecordNotFound:
        return None
    return told["gen"], bins[_BIN]


def _write(
    connection: Connection,
    key: tuple[str, str, str],
    schema: pa.Schema,
    policy: int,
    generation: int,
    *,
    new: bool = False,
) -> bool:
    """Save a schema; False where another writer was first."""
    notes = {
        _NOTE: _BINS if has_key_bins(schema) else _SENT,
        _MODEL_NOTE: (model_of(schema) or ModelName.RECORD).value,
    }
    text = saved_schema.to_text(schema, notes)
    how: dict[str, Any] = {
        "key": aerospike.POLICY_KEY_SEND,
        "gen": policy,
        "ttl": aerospike.TTL_NEVER_EXPIRE,
    }
    if new:
        how["exists"] = aerospike.POLICY_EXISTS_CREATE
    try:
        connection.client.put(key, {_BIN: text}, meta={"gen": generation}, policy=how)
    except (exception.RecordExistsError, exception.RecordGenerationError):
        return False
    return True
