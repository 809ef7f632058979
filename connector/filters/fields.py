"""Columns and fields of struct columns by their paths: ``address.city`` is ("address", "city")."""

from __future__ import annotations

import re

import pyarrow as pa

from connector.errors import OptionError, SchemaError

FieldPath = tuple[str, ...]
"""The name of a column, then of a field in it, of a field in that, and so on."""

KEYWORDS = frozenset(["AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "TRUE", "FALSE"])
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_path(path: FieldPath) -> None:
    """Make sure that a path names something.

    Raises:
        OptionError: it is no tuple of names, or one of them is empty.
    """
    if not isinstance(path, tuple) or not all(isinstance(name, str) for name in path):
        raise OptionError(f"a filter names a column by {path!r}, not by a tuple of names")
    if not path or not all(path):
        raise OptionError("a filter names a column by an empty name")


def path_text(path: FieldPath) -> str:
    """The path as filters spell it: dots between names, backquotes around those that need them."""
    return ".".join(map(_name_text, path))


def _name_text(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) and name.upper() not in KEYWORDS:
        return name
    return f"`{name.replace('`', '``')}`"


def locate(path: FieldPath, schema: pa.Schema, where: str) -> tuple[list[int], pa.DataType]:
    """Where a path leads.

    Args:
        path: the names, of the column first.
        schema: the columns.
        where: what has them, for messages.

    Returns:
        The index of the column among the columns, followed by that of each field in its struct; and
        the type of what is there.

    Raises:
        SchemaError: there is no such column or field, or what should have fields is no struct.
    """
    places: list[int] = []
    level: pa.Schema | pa.DataType = schema
    for depth, name in enumerate(path):
        owner = f"{where}: column {path_text(path[:depth])!r}" if depth else where
        if not isinstance(level, pa.Schema | pa.StructType):
            raise SchemaError(
                f"{owner} of type {level} is no struct, and has no field {name!r}, which the filter "
                f"asks for"
            )
        found = level.get_all_field_indices(name)
        if len(found) != 1:
            raise SchemaError(
                f"{owner} has {'more than one' if found else 'no'} {'field' if depth else 'column'} "
                f"{name!r}, which the filter asks for; it has {', '.join(level.names) or 'none'}"
            )
        places += found
        level = level.field(found[0]).type
    return places, level
