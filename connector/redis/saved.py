"""What a table looks like: its schema saved at the first write, or inferred from a sample."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector.errors import SchemaError
from connector.redis.commands import PRESENT
from connector.redis.cursor import match_pattern
from connector.schema import key_of, keyed

RESERVED = "_kvlake:"
"""Begins every key that is no row; no table may be named so."""

DEFAULT_KEY = "_id"
"""The key column of a table whose schema is inferred, and whose key column nobody named."""

_FORMAT = 1


def schema_key(table: str) -> str:
    """Where a table's schema is saved: outside of the table's own prefix."""
    return f"{RESERVED}schema:{table}"


def to_text(schema: pa.Schema) -> str:
    """A saved schema: JSON, for people the columns' types in words, for us Arrow's own bytes."""
    return json.dumps(
        {
            "format": _FORMAT,
            "key": list(key_of(schema)),
            "columns": {field.name: str(field.type) for field in schema},
            "arrow": base64.b64encode(schema.serialize().to_pybytes()).decode(),
        }
    )


def from_text(table: str, text: bytes | str) -> pa.Schema:
    """Read a saved schema.

    Raises:
        SchemaError: it was saved in a newer format, or by something else.
    """
    try:
        saved = json.loads(text)
        if saved["format"] != _FORMAT:
            raise ValueError(f"it has format {saved['format']}, and this version reads {_FORMAT}")
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(saved["arrow"])))
        return keyed(schema, saved["key"])
    except (ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise SchemaError(
            f"the schema of table {table!r}, saved under {schema_key(table)!r}, cannot be read: {error}"
        ) from error


def sample_rows(client: redis.Redis, prefix: bytes, rows: int) -> list[Mapping[bytes, bytes]]:
    """Up to about ``rows`` hashes whose keys begin with ``prefix``; empty where there are none.

    Raises:
        redis.ResponseError: a key holds something else than a hash.
    """
    found: list[Mapping[bytes, bytes]] = []
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=match_pattern(prefix), count=1000)
        with client.pipeline(transaction=False) as pipeline:
            for key in keys[: rows - len(found)]:
                pipeline.hgetall(key)
            found += [row for row in pipeline.execute() if row]
        if cursor == 0 or len(found) >= rows:
            return found


def inferred(table: str, rows: Iterable[Mapping[bytes, bytes]], key: str) -> pa.Schema:
    """A schema for sampled rows: each field with the narrowest type that all its values parse as.

    Raises:
        SchemaError: a field's name is not UTF-8, or is the key column's.
    """
    columns: dict[bytes, list[bytes]] = {}
    for row in rows:
        for name, value in row.items():
            if name != PRESENT:
                columns.setdefault(name, []).append(value)
    fields = [pa.field(key, pa.string(), nullable=False)]
    for name in sorted(columns):
        try:
            text = name.decode()
        except UnicodeDecodeError:
            raise SchemaError(
                f"table {table!r}: the field name {name!r} is not UTF-8; give the schema, without it"
            ) from None
        if text == key:
            raise SchemaError(
                f"table {table!r} has a field {key!r}, so the key cannot be read under that name; "
                f"name another with key.column"
            )
        fields.append(pa.field(text, _narrowest(columns[name])))
    return keyed(pa.schema(fields), [key], inferred=True)


# Only text that a number, date or timestamp of this type is written as: "007" is no number.
_FORMS: list[tuple[str, pa.DataType]] = [
    (r"^(0|-?[1-9][0-9]{0,17})$", pa.int64()),
    (
        r"^-?(0|[1-9][0-9]{0,14})?(\.[0-9]+)?([eE][-+]?[0-9]+)?$|^-?(inf|Infinity)$|^(nan|NaN)$",
        pa.float64(),
    ),
    (r"^(true|false)$", pa.bool_()),
    (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", pa.date32()),
    (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}(\.[0-9]{1,6})?$", pa.timestamp("us")),
    (
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}(\.[0-9]{1,6})?Z$",
        pa.timestamp("us", "UTC"),
    ),
]


def _narrowest(values: list[bytes]) -> pa.DataType:
    try:
        texts = pa.array(values, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.binary()
    for form, kind in _FORMS:
        if pc.all(pc.match_substring_regex(texts, form)).as_py() and _parses(texts, kind):
            return kind
    return pa.string()


def _parses(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def check_table(table: str) -> None:
    """Raise SchemaError for a name that no table can have."""
    if not table or table.startswith(RESERVED):
        raise SchemaError(f"a table cannot be named {table!r}")
