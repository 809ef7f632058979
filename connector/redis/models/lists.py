"""The list model: an array of elements in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import redis

from connector.codecs import decode, encode
from connector.errors import DecodeError, SchemaError
from connector.redis.commands import argument, joined
from connector.redis.models.asking import ArrayFetch, Question, RowsFetch
from connector.redis.models.elements import SAMPLED, adding, put_together, taken_apart
from connector.redis.models.inferring import narrowest
from connector.redis.models.shapes import (
    VALUE,
    array_type,
    named,
    only_column,
    wanted_array,
    with_types,
)
from connector.redis.steps import Counts, Step

INDEX = "index"

_ALL = Question(b"LRANGE", (b"0", b"-1"), b"LLEN")


@dataclass(frozen=True)
class ListModel:
    """A row is a list; its one column an array, spelled element by element as in a hash.

    A list cannot be empty: a row whose array is null or empty is deleted. A row is always written
    whole, as adding elements twice would not be adding them once; where it is merged its expiry stays.
    """

    spec: ClassVar[str] = "list"
    kinds: ClassVar[tuple[str, ...]] = ("list",)
    tied: ClassVar[bool] = True  # elements are pushed, and then the old ones cut off

    def fetch(self, columns: Sequence[pa.Field]) -> ArrayFetch:
        return ArrayFetch(_ALL, wanted_array(self.spec, columns))

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        return put_together(column, stored)

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        column = only_column(table, self.spec, [item for item in schema if item.name not in key])
        kind = pa.list_(array_type(table, self.spec, column))
        return with_types(schema, {column.name: kind})

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        name = batch.schema.names[0]
        flat, lengths = taken_apart(name, batch.column(0))
        pushing = adding(b"RPUSH", joined(argument(encode(name, flat))), 1, lengths, uniform)
        return [Step(b"DEL"), *pushing] if replace else [*pushing, _trimmed(lengths)]

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.lrange(key, 0, SAMPLED - 1)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        return [pa.field(VALUE, pa.list_(narrowest(list(chain.from_iterable(sample)))))]


@dataclass(frozen=True)
class ExplodedListModel:
    """A row is an element of a list: its index, counted from 0, and its value. For reading only."""

    spec: ClassVar[str] = "list/exploded"
    kinds: ClassVar[tuple[str, ...]] = ("list",)
    apart: ClassVar[tuple[str, ...]] = (INDEX,)

    def fetch(self, columns: Sequence[pa.Field]) -> RowsFetch:
        names = [named(self.spec, column, (INDEX, VALUE)) for column in columns]
        return RowsFetch(
            _ALL, (VALUE,) if VALUE in names else (), INDEX if INDEX in names else None
        )

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        if column.name != INDEX:
            return decode(column.name, stored, column.type)
        try:
            return stored.cast(column.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DecodeError(f"column {INDEX!r} does not fit {column.type}: {error}") from error

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        raise SchemaError(
            f"table {table!r}: a list cannot be written element by element, as a task cannot know what "
            f"others push; group the rows by key into arrays, and write them without option 'explode'"
        )

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        raise SchemaError("a list cannot be written element by element")

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.lrange(key, 0, SAMPLED - 1)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        kind = narrowest(list(chain.from_iterable(sample)))
        return [pa.field(INDEX, pa.int64()), pa.field(VALUE, kind)]


def _trimmed(lengths: Counts) -> Step:
    """Cut off all but the last elements, that were pushed; where there were none, everything."""
    first = pa.array(np.where(lengths > 0, -lengths, 1)).cast(pa.string()).view(pa.binary())
    last = pa.array(np.where(lengths > 0, -1, 0)).cast(pa.string()).view(pa.binary())
    return Step(b"LTRIM", [*argument(first), *argument(last)], 2)
