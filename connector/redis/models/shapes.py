"""The columns that a model of strings or arrays can have beside the key's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.types as pt

from connector.codecs import stored_type
from connector.errors import SchemaError

VALUE = "value"
"""Name of the column of a table whose schema is inferred, and that has one beside the key's."""


def only_column(table: str, spec: str, columns: Sequence[pa.Field]) -> pa.Field:
    """The one column beside the key's.

    Raises:
        SchemaError: there are more or fewer.
    """
    if len(columns) != 1:
        names = ", ".join(repr(column.name) for column in columns) or "none"
        raise SchemaError(
            f"table {table!r}: model {spec!r} has one column beside the key's, and these are {names}; "
            f"use model 'hash' or 'json' for rows of several columns"
        )
    return columns[0]


def wanted_array(spec: str, columns: Sequence[pa.Field]) -> str | None:
    """The name of the array that is asked for; None where no column is.

    Raises:
        SchemaError: the columns are no such array.
    """
    if not columns:
        return None
    if len(columns) > 1:
        names = ", ".join(repr(column.name) for column in columns)
        raise SchemaError(
            f"reading: model {spec!r} has one column beside the key's, and {names} are asked for"
        )
    column = columns[0]
    if not is_array(column.type):
        raise SchemaError(
            f"reading: column {column.name!r} of type {column.type} is no array, which model {spec!r} "
            f"has; set option 'explode' for a row for each element"
        )
    return str(column.name)


def array_type(table: str, spec: str, column: pa.Field) -> pa.DataType:
    """The type of the elements of an array that is to be stored, as they are read back.

    Raises:
        SchemaError: the column is no array, or its elements cannot be stored.
    """
    if not is_array(column.type):
        raise SchemaError(
            f"table {table!r}: column {column.name!r} of type {column.type} is no array, which model "
            f"{spec!r} needs"
        )
    return stored_type(column.name, column.type.value_type)


def exploded_types(
    table: str, spec: str, schema: pa.Schema, key: Sequence[str], names: Sequence[str]
) -> pa.Schema:
    """The schema of rows that are elements, as it is read back.

    Raises:
        SchemaError: its columns beside the key's are not the ones of these names.
    """
    others = [item.name for item in schema if item.name not in key]
    if sorted(others) != sorted(names):
        raise SchemaError(
            f"table {table!r}: model {spec!r} has the columns {', '.join(map(repr, names))} beside the "
            f"key's, and these are {', '.join(map(repr, others)) or 'none'}"
        )
    return with_types(schema, {})


def with_types(schema: pa.Schema, kinds: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema as it is read back, where ``kinds`` says otherwise for some columns."""
    types = {
        item.name: kinds.get(item.name) or stored_type(item.name, item.type) for item in schema
    }
    return pa.schema([item.with_type(types[item.name]) for item in schema])


def named(spec: str, column: pa.Field, names: Sequence[str]) -> str:
    """The column's name.

    Raises:
        SchemaError: the model has no column of this name.
    """
    if column.name not in names:
        raise SchemaError(
            f"model {spec!r} has the columns {', '.join(map(repr, names))} beside the key's, and none "
            f"named {column.name!r}"
        )
    return str(column.name)


def is_array(kind: pa.DataType) -> bool:
    """Whether values of this type are arrays of elements."""
    tests = (
        pt.is_list,
        pt.is_large_list,
        pt.is_fixed_size_list,
        pt.is_list_view,
        pt.is_large_list_view,
    )
    return any(test(kind) for test in tests)
