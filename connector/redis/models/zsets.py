"""The sorted set model: an array of distinct members and their scores, by score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import redis

from connector.codecs import decode, encode
from connector.errors import SchemaError
from connector.redis.commands import Text, argument, joined
from connector.redis.models.asking import ArrayFetch, Question, RowsFetch
from connector.redis.models.elements import SAMPLED, added, put_together, taken_apart
from connector.redis.models.inferring import narrowest
from connector.redis.models.sets import MEMBER
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

SCORE = "score"

_ALL = Question(b"ZRANGE", (b"0", b"-1", b"WITHSCORES"), b"ZCARD", width=2)
_MEMBERS = Question(b"ZRANGE", (b"0", b"-1"), b"ZCARD")


@dataclass(frozen=True)
class ZsetModel:
    """A row is a sorted set; its one column an array of structs of ``member`` and ``score``.

    They are read by score, and by member where scores are equal. Merging adds members and sets their
    scores: an empty array changes nothing. A row whose array is null, or empty where rows are replaced,
    is deleted.
    """

    spec: ClassVar[str] = "zset"
    kinds: ClassVar[tuple[str, ...]] = ("zset",)

    def fetch(self, columns: Sequence[pa.Field]) -> ArrayFetch:
        name = wanted_array(self.spec, columns)
        for column in columns:
            _check_pair("reading", column)
        return ArrayFetch(_ALL, name)

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        kind = column.type.value_type
        parts = dict(zip((MEMBER, SCORE), stored.flatten().flatten(), strict=True))
        found = [decode(f"{column.name}.{item.name}", parts[item.name], item.type) for item in kind]
        return put_together(column, stored, pa.StructArray.from_arrays(found, fields=list(kind)))

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        column = only_column(table, self.spec, [item for item in schema if item.name not in key])
        pair = array_type(table, self.spec, column)
        _check_pair(f"table {table!r}", column)
        types = [pa.float64() if item.name == SCORE else item.type for item in pair]
        kind = pa.struct([item.with_type(made) for item, made in zip(pair, types, strict=True)])
        return with_types(schema, {column.name: pa.list_(kind)})

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        name, values = batch.schema.names[0], batch.column(0)
        flat, lengths = taken_apart(name, values)
        texts = joined(_pairs(pc.struct_field(flat, MEMBER), pc.struct_field(flat, SCORE)))
        return added(b"ZADD", values, texts, 2, lengths, replace=replace, uniform=uniform)

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.zrange(key, 0, SAMPLED - 1)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        member = narrowest(list(chain.from_iterable(sample)))
        pair = pa.struct([(MEMBER, member), (SCORE, pa.float64())])
        return [pa.field(VALUE, pa.list_(pair))]


@dataclass(frozen=True)
class ExplodedZsetModel:
    """A row is a member of a sorted set, and its score.

    Members can be added and scores changed; other members of the key stay.
    """

    spec: ClassVar[str] = "zset/exploded"
    kinds: ClassVar[tuple[str, ...]] = ("zset",)
    apart: ClassVar[tuple[str, ...]] = (MEMBER,)

    def fetch(self, columns: Sequence[pa.Field]) -> RowsFetch:
        names = [named(self.spec, column, (MEMBER, SCORE)) for column in columns]
        if not names:
            return RowsFetch(_ALL, ())
        if SCORE not in names:
            return RowsFetch(_MEMBERS, (MEMBER,))
        return RowsFetch(_ALL, (MEMBER if MEMBER in names else None, SCORE))

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        return decode(column.name, stored, column.type)

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        found = exploded_types(table, self.spec, schema, key, (MEMBER, SCORE))
        _check_score(f"table {table!r}", schema.field(SCORE).type)
        return with_types(found, {SCORE: pa.float64()})

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        return [Step(b"ZADD", _pairs(batch.column(MEMBER), batch.column(SCORE)), 2)]

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.zrange(key, 0, SAMPLED - 1)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        member = narrowest(list(chain.from_iterable(sample)))
        return [pa.field(MEMBER, member), pa.field(SCORE, pa.float64())]


def _pairs(members: pa.Array, scores: pa.Array) -> list[Text]:
    """Score and member of each element, as arguments of ZADD.

    Raises:
        SchemaError: one of them is null, or a score is not a number.
    """
    for name, values in ((MEMBER, members), (SCORE, scores)):
        if values.null_count:
            raise SchemaError(
                f"{values.null_count} elements of sorted sets have a null {name}; drop or fill them"
            )
    if pc.any(pc.is_nan(scores)).as_py():
        raise SchemaError(
            "a score is NaN, which has no place in an order; drop these members or give them another"
        )
    return [*argument(encode(SCORE, scores)), *argument(encode(MEMBER, members))]


def _check_pair(what: str, column: pa.Field) -> None:
    """Raise SchemaError unless the elements are structs of a member and a score."""
    pair = column.type.value_type
    if not (pt.is_struct(pair) and sorted(item.name for item in pair) == [MEMBER, SCORE]):
        raise SchemaError(
            f"{what}: column {column.name!r} of type {column.type} is no array of structs of "
            f"{MEMBER!r} and {SCORE!r}, which model 'zset' has"
        )
    _check_score(what, pair.field(SCORE).type)


def _check_score(what: str, kind: pa.DataType) -> None:
    if not (pt.is_integer(kind) or pt.is_floating(kind)):
        raise SchemaError(f"{what}: a {SCORE!r} of type {kind} is no number; cast it to double")
