"""Rows as JSON objects: a column is a field of it, a null is a field that is not there.

Values are spelled as connector/json_text.py says. Both models that store objects use this: the one whose
objects are plain strings, and the one whose objects are RedisJSON documents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector import json_text
from connector.codecs import encode, stored_type
from connector.errors import DecodeError, SchemaError

_MOST, _LEAST = 2**63 - 1, -(2**63)


def to_objects(batch: pa.RecordBatch, *, nulls: bool = False) -> pa.Array:
    """The JSON object of each row, as ``pa.binary()``.

    Args:
        batch: the rows.
        nulls: whether a null is written as ``null``, as in a patch that deletes its field; else the
            field is left out.

    Raises:
        SchemaError: a value cannot be stored.
    """
    if not batch.num_columns:
        return pa.repeat(pa.scalar(b"{}"), batch.num_rows)
    parts: list[Any] = []
    for name in batch.schema.names:
        text = _encode(name, batch.column(name))
        opening = "," + json.dumps(name, ensure_ascii=False) + ":"
        if text.null_count and not nulls:
            parts.append(pc.fill_null(pc.binary_join_element_wise(opening, text, ""), ""))
        else:
            parts += [opening, pc.fill_null(text, "null")]
    fields = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*parts, ""), 1)
    return pc.binary_join_element_wise("{", fields, "}", "").view(pa.binary())


def from_objects(texts: pa.Array, columns: Sequence[pa.Field]) -> dict[str, pa.Array]:
    """The columns from the JSON object of each row, a null text being a row of nulls.

    Args:
        texts: strings, or binary of any size.
        columns: which fields are wanted; others are passed over.

    Raises:
        DecodeError: a text is no JSON object, or a field does not fit its column.
    """
    plain = [item.remove_metadata().with_nullable(True) for item in columns]
    try:
        rows = json_text.decode(texts.cast(pa.string()), pa.struct(plain))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        names = ", ".join(repr(item.name) for item in columns)
        raise DecodeError(
            f"the JSON object of a row does not have {names} as {plain}: {error}"
        ) from error
    return dict(zip((item.name for item in columns), rows.flatten(), strict=True))


def infer_objects(table: str, texts: Sequence[bytes]) -> list[pa.Field]:
    """The columns that the fields of some JSON objects fit into.

    Whole and other numbers meet as float64. Where a field holds values of several kinds it becomes a
    string: those that are none do not parse then, and ``on.bad.field`` says what happens to them.

    Raises:
        SchemaError: a text is not a JSON object.
    """
    fields: dict[str, list[Any]] = {}
    for text in texts:
        for name, value in _object(table, text).items():
            fields.setdefault(name, []).append(value)
    return [pa.field(name, _fitting(fields[name])) for name in sorted(fields)]


def _object(table: str, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SchemaError(
            f"table {table!r}: {text[:60]!r} is not a JSON object, whose fields would be columns; give "
            f"the schema, or set option 'model' to what the keys hold"
        )
    return found


def _fitting(values: Sequence[Any]) -> pa.DataType:
    """The type that holds all of these JSON values; string where there is none."""
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(_LEAST <= value <= _MOST for value in present):
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    if kinds == {list}:
        return pa.list_(_fitting([item for value in present for item in value]))
    if kinds == {dict}:
        names = sorted({name for value in present for name in value})
        return pa.struct([(name, _fitting([each.get(name) for each in present])) for name in names])
    return pa.string()


def _encode(name: str, values: pa.Array) -> pa.Array:
    """JSON text of each value; null where it is null."""
    kind = stored_type(name, values.type)
    if values.type != kind:
        values = values.cast(kind)
    if pt.is_date(kind) or pt.is_timestamp(kind):
        text = encode(name, values).view(pa.string())  # refuses years that do not parse back
        return pc.binary_join_element_wise('"', text, '"', "")
    return json_text.encode(values)
