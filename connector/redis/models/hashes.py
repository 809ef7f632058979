"""The hash model: a row is a hash, a column is a field of it, a null is a field that is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector.codecs import decode, encode, stored_type
from connector.errors import SchemaError
from connector.redis.commands import Text, argument, bulk, const, joined, keyed_request
from connector.redis.link import Link
from connector.redis.models.inferring import narrowest
from connector.redis.models.model import Found
from connector.redis.steps import Counts, Flags, Step

PRESENT = b""
"""Name of the field by which a row lives that has nothing but nulls: a hash cannot be empty."""


@dataclass(frozen=True)
class HashFetch:
    """HMGET of some fields; of none, HLEN, which tells a hash from a key that is gone."""

    names: tuple[str, ...]
    presence: ClassVar[bytes] = b"HLEN"

    def request(self, keys: pa.Array) -> memoryview:
        if not self.names:
            return keyed_request(self.presence, keys)
        return keyed_request(b"HMGET", keys, [name.encode() for name in self.names])

    def receive(self, link: Link, keys: pa.Array) -> Found:
        if not self.names:
            lengths = link.statuses(len(keys))
            return Found({}, lengths.errors, lengths.size, missing=lengths.numbers == 0)
        width = len(self.names)
        found = link.values(len(keys), width, b"*%d" % width)
        columns = dict(zip(self.names, found.columns(), strict=True))
        bare: Flags = np.asarray((found.lengths < 0).all(axis=1))
        bare[list(found.errors)] = False
        doubtful = bare if bare.any() else None
        return Found(columns, found.errors, found.size, doubtful=doubtful)


@dataclass(frozen=True)
class HashModel:
    """Rows as hashes; numbers are text, lists of numbers raw vectors, other nested values JSON."""

    spec: ClassVar[str] = "hash"
    kinds: ClassVar[tuple[str, ...]] = ("hash",)

    def fetch(self, columns: Sequence[pa.Field]) -> HashFetch:
        return HashFetch(tuple(column.name for column in columns))

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        return decode(column.name, stored, column.type)

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        return pa.schema([item.with_type(stored_type(item.name, item.type)) for item in schema])

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        columns = {name.encode(): encode(name, batch.column(name)) for name in batch.schema.names}
        nulls = np.zeros(batch.num_rows, np.int64)
        for column in columns.values():
            if column.null_count:
                nulls += np.asarray(column.is_null())
        setting = Step(b"HSET", *present_fields(columns, nulls))
        if replace:
            return [Step(b"DEL"), setting]
        if not nulls.any():
            return [setting]
        # The row is set before its null fields are deleted, so that it never is without any field.
        return [setting, _delete_nulls(columns, nulls, uniform)]

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.hgetall(key)

    def infer(self, table: str, sample: Sequence[Mapping[bytes, bytes]]) -> list[pa.Field]:
        columns: dict[bytes, list[bytes]] = {}
        for row in sample:
            for name, value in row.items():
                if name != PRESENT:
                    columns.setdefault(name, []).append(value)
        return [pa.field(_text(table, name), narrowest(columns[name])) for name in sorted(columns)]


def present_fields(
    columns: Mapping[bytes, pa.Array], nulls: Counts
) -> tuple[list[Text], int | Counts]:
    """Names and values of the fields that are not null; of the field PRESENT where all of them are.

    Args:
        columns: encoded values of each field.
        nulls: how many of them are null; shape (rows,).

    Returns:
        The texts whose concatenation they are as arguments, and how many arguments these are.
    """
    parts: list[Text] = []
    for name, column in columns.items():
        pair = [const(bulk(name)), *argument(column)]
        if column.null_count:
            parts.append(pc.if_else(column.is_valid(), joined(pair), const(b"")))
        else:
            parts += pair
    bare = nulls == len(columns)
    if bare.any():
        marker = const(bulk(PRESENT) + bulk(b""))
        parts.append(pc.if_else(pa.array(bare), marker, const(b"")))
    if not (nulls.any() or bare.any()):
        return parts, 2 * len(columns)
    return parts, 2 * np.where(bare, 1, len(columns) - nulls)


def _delete_nulls(columns: Mapping[bytes, pa.Array], nulls: Counts, uniform: bool) -> Step:
    """HDEL of the fields that are null; of PRESENT for a row without, where it must have a command."""
    parts: list[Text] = [
        pc.if_else(column.is_null(), const(bulk(name)), const(b""))
        for name, column in columns.items()
        if column.null_count
    ]
    if not uniform:
        return Step(b"HDEL", parts, nulls, nulls > 0)
    parts.append(pc.if_else(pa.array(nulls == 0), const(bulk(PRESENT)), const(b"")))
    return Step(b"HDEL", parts, np.maximum(nulls, 1))


def _text(table: str, name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise SchemaError(
            f"table {table!r}: the field name {name!r} is not UTF-8; give the schema, without it"
        ) from None
