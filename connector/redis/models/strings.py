"""The string model: a row is one value, which holds its one column, or all of them as an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import redis

from connector.codecs import decode, encode
from connector.errors import DecodeError, SchemaError
from connector.redis.commands import argument, bulk, const, keyed_request
from connector.redis.link import Link
from connector.redis.models.inferring import narrowest
from connector.redis.models.model import Found
from connector.redis.models.objects import from_objects, infer_objects, to_objects
from connector.redis.models.packed import from_maps, infer_maps, to_maps
from connector.redis.models.shapes import VALUE, only_column, with_types
from connector.redis.options import ValueCodec
from connector.redis.steps import Step

Apart = Callable[[pa.Array], dict[str, pa.Array]]


@dataclass(frozen=True)
class ValueFetch:
    """GET; or where no column is asked for STRLEN, of which 0 leaves open whether the key is gone.

    Attributes:
        columns: what the values are to be taken apart into; None for nothing.
    """

    columns: Apart | None
    presence: ClassVar[bytes] = b"EXISTS"

    def request(self, keys: pa.Array) -> memoryview:
        return keyed_request(b"STRLEN" if self.columns is None else b"GET", keys)

    def receive(self, link: Link, keys: pa.Array) -> Found:
        if self.columns is None:
            sizes = link.statuses(len(keys))
            empty = sizes.numbers == 0
            empty[list(sizes.errors)] = False
            return Found({}, sizes.errors, sizes.size, doubtful=empty if empty.any() else None)
        found = link.values(len(keys), 1, None)
        missing = (found.lengths < 0)[:, 0]
        values = found.columns()[0]
        return Found(self.columns(values), found.errors, found.size, missing=missing)


@dataclass(frozen=True)
class StringModel:
    """A row is a string that holds the one column beside the key's.

    A null has no value that could be stored: its row is deleted. Where a row is merged its expiry stays.

    Attributes:
        codec: ``text``, as in a field of a hash; or ``raw``: bytes, as they are.
    """

    codec: ValueCodec
    kinds: ClassVar[tuple[str, ...]] = ("string",)

    @property
    def spec(self) -> str:
        return f"string/{self.codec.value}"

    def fetch(self, columns: Sequence[pa.Field]) -> ValueFetch:
        names = [column.name for column in columns]
        if len(names) > 1:
            raise SchemaError(
                f"reading: model {self.spec!r} has one column beside the key's, and "
                f"{', '.join(map(repr, names))} are asked for; set value.codec to json or msgpack"
            )
        return ValueFetch((lambda values: {names[0]: values}) if names else None)

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        return decode(column.name, stored, column.type)

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        column = only_column(table, self.spec, [item for item in schema if item.name not in key])
        found = with_types(schema, {})
        kind = found.field(column.name).type
        if self.codec is ValueCodec.RAW and not (
            pt.is_binary(kind) or pt.is_fixed_size_binary(kind)
        ):
            raise SchemaError(
                f"table {table!r}: column {column.name!r} of type {kind} is not binary, which "
                f"value.codec 'raw' stores as it is; cast it, or set value.codec to text"
            )
        return found

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        return _setting(encode(batch.schema.names[0], batch.column(0)), replace)

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.get(key)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        kind = pa.binary() if self.codec is ValueCodec.RAW else narrowest(sample)
        return [pa.field(VALUE, kind)]


@dataclass(frozen=True)
class ObjectModel:
    """A row is a string that holds all columns beside the key's as one object; a null has no entry.

    Attributes:
        codec: ``json`` or ``msgpack``.
    """

    codec: ValueCodec
    kinds: ClassVar[tuple[str, ...]] = ("string",)
    whole: ClassVar[str] = "'hash' or 'json'"

    @property
    def spec(self) -> str:
        return f"string/{self.codec.value}"

    def fetch(self, columns: Sequence[pa.Field]) -> ValueFetch:
        return ValueFetch((lambda values: self._apart(values, columns)) if columns else None)

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        if pt.is_struct(stored.type):
            return pc.struct_field(stored, 0)
        return self._columns(stored, [column])[column.name]

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        return with_types(schema, {})

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        pack = to_objects if self.codec is ValueCodec.JSON else to_maps
        return _setting(pack(batch), replace)

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.get(key)

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        return (infer_objects if self.codec is ValueCodec.JSON else infer_maps)(table, sample)

    def _columns(self, values: pa.Array, columns: Sequence[pa.Field]) -> dict[str, pa.Array]:
        return (from_objects if self.codec is ValueCodec.JSON else from_maps)(values, columns)

    def _apart(self, values: pa.Array, columns: Sequence[pa.Field]) -> dict[str, pa.Array]:
        """Each column as structs of one field; or where an object does not parse, the objects themselves.

        They are parsed column by column then, so that ``decode`` can tell which values are bad.
        """
        try:
            found = self._columns(values, columns)
        except DecodeError:
            return {column.name: values for column in columns}
        return {
            name: pa.StructArray.from_arrays([column], [name]) for name, column in found.items()
        }


def _setting(values: pa.Array, replace: bool) -> list[Step]:
    """SET of what is not null, DEL of what is."""
    parts, count = argument(values), 1
    if not replace:
        parts, count = [*parts, const(bulk(b"KEEPTTL"))], 2
    if not values.null_count:
        return [Step(b"SET", parts, count)]
    valid = np.asarray(values.is_valid())
    return [Step(b"SET", parts, count, valid), Step(b"DEL", rows=~valid)]
