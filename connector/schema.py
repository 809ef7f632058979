"""Schemas: the key a table is known by, checks at the border, and fitting batches to a schema."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.errors import SchemaError

_KEY = b"kvlake.key"
_INFERRED = b"kvlake.inferred"


def keyed(schema: pa.Schema, key: Sequence[str], *, inferred: bool = False) -> pa.Schema:
    """The schema with the names of its key columns as metadata, and no other metadata.

    Args:
        schema: the columns.
        key: the key columns' names.
        inferred: whether the columns were found in a sample, so that there may be others.
    """
    metadata = {_KEY: json.dumps(list(key)).encode()}
    return schema.with_metadata(metadata | ({_INFERRED: b"true"} if inferred else {}))


def is_inferred(schema: pa.Schema) -> bool:
    """Whether the table may have columns that the schema does not tell."""
    return _INFERRED in (schema.metadata or {})


def key_of(schema: pa.Schema) -> tuple[str, ...]:
    """The key columns that ``keyed`` noted, or none."""
    return tuple(json.loads((schema.metadata or {}).get(_KEY, b"[]")))


def check_key(table: str, schema: pa.Schema, key: Sequence[str]) -> None:
    """Raise SchemaError unless ``key`` names distinct, flat columns of ``schema``."""
    if len(set(key)) != len(key):
        raise SchemaError(f"table {table!r}: a key column is named twice in {', '.join(key)}")
    for name in key:
        if schema.get_field_index(name) < 0:
            raise SchemaError(
                f"table {table!r}: key column {name!r} is not among the columns "
                f"{', '.join(schema.names)}"
            )
        if pt.is_nested(schema.field(name).type):
            raise SchemaError(
                f"table {table!r}: column {name!r} of type {schema.field(name).type} "
                f"cannot be a key"
            )


def check_names(table: str, schema: pa.Schema) -> None:
    """Raise SchemaError where two columns share a name or one has none."""
    for name in schema.names:
        if not name:
            raise SchemaError(f"table {table!r}: a column has an empty name")
        if len(schema.get_all_field_indices(name)) > 1:
            raise SchemaError(f"table {table!r}: two columns are named {name!r}")


def check_append(
    table: str, stored: pa.Schema, given: pa.Schema, key: Sequence[str], *, add: bool = False
) -> pa.Schema:
    """The table's schema once batches of ``given`` are appended to a table of ``stored``.

    Args:
        table: for the message.
        stored: the table's schema.
        given: the schema of the batches.
        key: the key columns of the batches.
        add: whether columns that the table lacks are added to it.

    Raises:
        SchemaError: such batches cannot be appended.
    """
    added = []
    if key_of(stored) != tuple(key):
        raise SchemaError(
            f"table {table!r} has the key {', '.join(key_of(stored))}, "
            f"and cannot be appended to with the key {', '.join(key)}"
        )
    for field in given:
        at = stored.get_field_index(field.name)
        if at < 0:
            if not add:
                raise SchemaError(
                    f"table {table!r} has no column {field.name!r}; drop it, set schema.evolution to "
                    f"add, or write with mode overwrite"
                )
            added.append(field.with_nullable(True))
        elif stored.field(at).type != field.type:
            raise SchemaError(
                f"column {field.name!r} of table {table!r} is {stored.field(at).type}, "
                f"and cannot be appended to as {field.type}; cast it, or write with mode overwrite"
            )
    return pa.schema([*stored, *added], metadata=stored.metadata) if added else stored


def check_rows(table: str, key: Sequence[str], batch: pa.RecordBatch, names: pa.Array) -> None:
    """Raise SchemaError where a key is null or stands twice in one batch.

    Args:
        table: for the message.
        key: the key columns.
        batch: the rows to be written.
        names: the rows' keys, encoded to one value each.
    """
    for name in key:
        nulls = batch.column(name).null_count
        if nulls:
            raise SchemaError(
                f"table {table!r}: key column {name!r} is null in {nulls} of {batch.num_rows} rows"
            )
    if pc.count_distinct(names).as_py() != len(names):
        counts = pc.value_counts(names)
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        raise SchemaError(
            f"table {table!r}: {len(twice)} keys stand more than once in one batch of "
            f"{batch.num_rows} rows, such as {twice[0].as_py()!r}; "
            f"drop the duplicates, as there is no telling which row should win"
        )


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly the schema's columns, order and types; no copy where they fit.

    Raises:
        SchemaError: a column is missing, or does not cast without loss.
    """
    if batch.schema.equals(schema, check_metadata=True):
        return batch
    columns = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        if at < 0:
            raise SchemaError(f"column {field.name!r} is missing; there are {batch.schema.names}")
        column = batch.column(at)
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise SchemaError(
                    f"column {field.name!r} of type {column.type} "
                    f"does not fit {field.type}: {error}"
                ) from error
        if column.null_count and not field.nullable:
            raise SchemaError(f"column {field.name!r} has nulls, but is declared not null")
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)
