"""The text that a table's schema is saved as."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pyarrow as pa

from connector.errors import SchemaError
from connector.schema import key_of, keyed

_FORMAT = 1


def to_text(schema: pa.Schema, notes: Mapping[str, str]) -> str:
    """A schema as JSON: for people the columns' types in words, for us Arrow's own bytes.

    Args:
        schema: the columns, with their key as ``connector.schema.keyed`` notes it.
        notes: what else the store has to know of the table.
    """
    return json.dumps(
        {
            "format": _FORMAT,
            **notes,
            "key": list(key_of(schema)),
            "columns": {field.name: str(field.type) for field in schema},
            "arrow": base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode(),
        }
    )


def from_text(text: bytes | str, what: str) -> tuple[pa.Schema, Mapping[str, str]]:
    """The schema, with its key noted, and the notes.

    Args:
        text: as ``to_text`` gave it.
        what: which schema it is and where it is saved, for messages.

    Raises:
        SchemaError: it was saved in a newer format, or by something else.
    """
    try:
        saved = json.loads(text)
        if saved["format"] != _FORMAT:
            raise ValueError(f"it has format {saved['format']}, and this version reads {_FORMAT}")
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(saved["arrow"])))
        return keyed(schema, saved["key"]), {k: v for k, v in saved.items() if isinstance(v, str)}
    except (ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise SchemaError(f"{what} cannot be read: {error}") from error
