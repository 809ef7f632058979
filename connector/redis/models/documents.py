"""The JSON model: a row is a JSON object, in a document of RedisJSON or as the text of a plain string.

Which of the two is settled when a table is made, by what its servers know, and saved with the table.
Nested columns are objects and arrays; maps arrays of key and value, as connector/json_text.py says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import redis

from connector.errors import DecodeError
from connector.redis.commands import argument, bulk, const, keyed_request
from connector.redis.link import Link
from connector.redis.models.model import Flags, Found
from connector.redis.models.objects import from_objects, infer_objects, to_objects
from connector.redis.models.shapes import with_types
from connector.redis.models.strings import ObjectModel
from connector.redis.options import ValueCodec
from connector.redis.steps import Step

MOST_PATHS = 3
"""Most columns that are asked for by path. RedisJSON 2.8 takes 0.6 microseconds for each path and 1.2 for
a whole document of 5 short fields, 3 for one of 50: of more columns the whole document is cheaper."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # what a path holds as it is
_BY_PATH = pa.large_binary()
"""Marks answers to paths, where whole documents are binary, and values that were parsed are structs."""


@dataclass(frozen=True)
class DocumentFetch:
    """JSON.GET of whole documents, or of a few paths; of no column, JSON.TYPE.

    A document that is no object has nothing under a path, so that a few columns of it are nulls, where
    all columns do not parse.
    """

    columns: tuple[pa.Field, ...]
    presence: ClassVar[bytes] = b"EXISTS"

    def request(self, keys: pa.Array) -> memoryview:
        if not self.columns:
            return keyed_request(b"JSON.TYPE", keys)
        paths = [_path(column).encode() for column in self.columns] if self._by_path else []
        return keyed_request(b"JSON.GET", keys, paths)

    def receive(self, link: Link, keys: pa.Array) -> Found:
        texts, answer = _texts(link, keys)
        if not self.columns:
            return answer
        if not self._by_path:
            return replace(answer, columns=_parsed(self.columns, texts))
        if len(self.columns) == 1:
            # The answer to one path is a list, to several an object of lists.
            opening = b'{"%b":' % _path(self.columns[0]).encode()
            texts = pc.binary_join_element_wise(opening, texts, b"}", b"")
        raw = texts.cast(_BY_PATH)
        return replace(answer, columns={column.name: raw for column in self.columns})

    @property
    def _by_path(self) -> bool:
        names = [column.name for column in self.columns]
        return len(names) <= MOST_PATHS and all(map(_PLAIN_NAME.fullmatch, names))


@dataclass(frozen=True)
class DocumentModel:
    """Rows as documents of RedisJSON.

    Objects inside of a row that is merged are merged too, so that fields which others put there stay;
    arrays are replaced. RedisJSON 2.8 keeps of some doubles of 16 or 17 digits only a neighbour.
    """

    spec: ClassVar[str] = "json/redisjson"
    kinds: ClassVar[tuple[str, ...]] = ("ReJSON-RL",)

    def fetch(self, columns: Sequence[pa.Field]) -> DocumentFetch:
        return DocumentFetch(tuple(columns))

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        if pt.is_struct(stored.type):
            return pc.struct_field(stored, 0)
        if stored.type != _BY_PATH:
            return from_objects(stored, [column])[column.name]
        listed = pa.field(_path(column), pa.list_(column.type))
        return _first(from_objects(stored, [listed])[listed.name])

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        return with_types(schema, {})

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        if replace:
            return [Step(b"DEL"), _step(b"JSON.SET", to_objects(batch))]
        patch = to_objects(batch, nulls=True)
        merging = _step(b"JSON.MERGE", patch)
        nulls = _has_null(batch)
        if not nulls.any():
            return [merging]
        # A document that was not there has been made with its nulls; merged once more they go.
        return [merging, _step(b"JSON.MERGE", patch, None if uniform else nulls)]

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.execute_command("JSON.GET", key)  # type: ignore[no-untyped-call]

    def infer(self, table: str, sample: Sequence[bytes]) -> list[pa.Field]:
        return infer_objects(table, sample)


@dataclass(frozen=True)
class TextModel(ObjectModel):
    """Rows as plain strings of JSON text, where there is no RedisJSON.

    A row is always written whole: without RedisJSON the server cannot merge objects.
    """

    codec: ValueCodec = ValueCodec.JSON
    whole: ClassVar[str] = "'hash', or 'json' where there is RedisJSON"

    @property
    def spec(self) -> str:
        return "json/text"


def _texts(link: Link, keys: pa.Array) -> tuple[pa.Array, Found]:
    """What is stored under each key, and an answer that lacks its columns yet."""
    values = link.values(len(keys), 1, None)
    gone = values.lengths[:, 0] < 0
    gone[list(values.errors)] = False
    return values.columns()[0], Found({}, values.errors, values.size, missing=gone)


def _parsed(columns: Sequence[pa.Field], texts: pa.Array) -> dict[str, pa.Array]:
    """Each column as structs of one field; or where a document does not fit, the documents themselves.

    They are parsed column by column then, so that ``decode`` can tell which values are bad.
    """
    try:
        found = from_objects(texts, columns)
    except DecodeError:
        return {column.name: texts for column in columns}
    return {name: pa.StructArray.from_arrays([column], [name]) for name, column in found.items()}


def _first(lists: pa.Array) -> pa.Array:
    """The first element of each list; null where there is none."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    starts = np.cumsum(lengths) - lengths
    return lists.flatten().take(pa.array(starts, mask=lengths == 0))


def _path(column: pa.Field) -> str:
    return f"$.{column.name}"


def _step(name: bytes, objects: pa.Array, rows: Flags | None = None) -> Step:
    return Step(name, [const(bulk(b"$")), *argument(objects)], 2, rows)


def _has_null(batch: pa.RecordBatch) -> Flags:
    found = np.zeros(batch.num_rows, np.bool_)
    for column in batch.columns:
        if column.null_count:
            found |= np.asarray(column.is_null())
    return found
