"""The set model: an array of distinct members, in whatever order the server has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import pyarrow as pa
import redis

from connector.codecs import decode, encode
from connector.redis.commands import argument, joined
from connector.redis.models.asking import ArrayFetch, Question, RowsFetch
from connector.redis.models.elements import SAMPLED, added, put_together, taken_apart
from connector.redis.models.inferring import narrowest
from connector.redis.models.shapes import (
    VALUE,
    array_type,
    exploded_types,
    named,
    only_column,
    wanted_array,
    with_types,
)
from connector.redis.steps import Step

MEMBER = "member"

_ALL = Question(b"SMEMBERS", (), b"SCARD")


@dataclass(frozen=True)
class SetModel:
    """A row is a set; its one column an array of members, which are distinct as they are spelled.

    Merging adds members: an empty array adds none. A set cannot be empty: a row whose array is null, or
    empty where rows are replaced, is deleted.
    """

    spec: ClassVar[str] = "set"
    kinds: ClassVar[tuple[str, ...]] = ("set",)

    def fetch(self, columns: Sequence[pa.Field]) -> ArrayFetch:
        return ArrayFetch(_ALL, wanted_array(self.spec, columns))

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        return put_together(column, stored)

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        column = only_column(table, self.spec, [item for item in schema if item.name not in key])
        kind = pa.list_(array_type(table, self.spec, column))
        return with_types(schema, {column.name: kind})

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        name, values = batch.schema.names[0], batch.column(0)
        flat, lengths = taken_apart(name, values)
        texts = joined(argument(encode(name, flat)))
        return added(b"SADD", values, texts, 1, lengths, replace=replace, uniform=uniform)

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.srandmember(key, SAMPLED)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        return [pa.field(VALUE, pa.list_(narrowest(list(chain.from_iterable(sample)))))]


@dataclass(frozen=True)
class ExplodedSetModel:
    """A row is a member of a set. Members can be added; others of the key stay."""

    spec: ClassVar[str] = "set/exploded"
    kinds: ClassVar[tuple[str, ...]] = ("set",)
    apart: ClassVar[tuple[str, ...]] = (MEMBER,)

    def fetch(self, columns: Sequence[pa.Field]) -> RowsFetch:
        return RowsFetch(_ALL, tuple(named(self.spec, column, (MEMBER,)) for column in columns))

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        return decode(column.name, stored, column.type)

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        return exploded_types(table, self.spec, schema, key, (MEMBER,))

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        return [Step(b"SADD", argument(encode(MEMBER, batch.column(MEMBER))), 1)]

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.srandmember(key, SAMPLED)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        return [pa.field(MEMBER, narrowest(list(chain.from_iterable(sample))))]
