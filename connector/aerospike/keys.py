"""User keys: what a row's key columns are to the server, and the columns of keys that are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.aerospike.wire.messages import DIGEST_BYTES
from connector.aerospike.wire.particles import NOT_STORED, Particles, decode_user_keys
from connector.codecs import decode, decode_keys
from connector.errors import DecodeError

UserKey: TypeAlias = "int | str | bytearray"

MOST_INTEGER = 2**63 - 1

DIGEST = "__digest"
"""The column with a record's digest; as a key column it stands for the record itself."""


def user_key_type(fields: Sequence[pa.Field]) -> pa.DataType:
    """The type of the user keys of these key columns: int64, string or binary.

    A column of integers gives integers and one of bytes gives bytes; anything else, and several
    columns, gives the text of ``connector.codecs.encode_keys``, as bytes where there are bytes in it.
    """
    kinds = [field.type for field in fields]
    if len(kinds) == 1 and pt.is_integer(kinds[0]):
        return pa.int64()
    return pa.binary() if any(_is_binary(kind) for kind in kinds) else pa.string()


def user_keys(names: pa.Array, fields: Sequence[pa.Field]) -> list[UserKey]:
    """The user keys of encoded keys, as the client takes them.

    Args:
        names: as ``connector.codecs.encode_keys`` gives them, without nulls.
        fields: the key columns.

    Raises:
        DecodeError: a key is an integer above 2**63 - 1.
    """
    kind = user_key_type(fields)
    if pt.is_binary(kind):
        # The client takes bytes for text, and a bytearray for bytes.
        return [*map(bytearray, names.to_pylist())]
    found: list[UserKey] = decode(fields[0].name, names, kind).to_pylist()
    return found


def unstorable(names: pa.Array, fields: Sequence[pa.Field]) -> tuple[pa.BooleanArray, str]:
    """Which encoded keys no record can have, as the client does not take them or would change them.

    Args:
        names: as ``connector.codecs.encode_keys`` gives them, without nulls.
        fields: the key columns.

    Returns:
        Of each key whether it is one of these, and why that is.
    """
    kind = user_key_type(fields)
    if [field.name for field in fields] == [DIGEST]:
        lengths = pc.binary_length(names)
        return pc.not_equal(lengths, DIGEST_BYTES), "is no digest of 20 bytes"
    if pt.is_string(kind):
        bad = pc.match_substring(names, b"\0")
        return bad, "has a NUL character, which the client cuts it off at; store it as binary"
    if pt.is_binary(kind):
        return pc.equal(pc.binary_length(names), 0), "is empty, which the client does not take"
    bad = pa.repeat(False, len(names))
    if pt.is_uint64(fields[0].type):
        most = pa.scalar(MOST_INTEGER, pa.uint64())
        bad = pc.greater(names.cast(pa.string()).cast(pa.uint64()), most)
    return bad, f"is larger than the server's integers, which end at {MOST_INTEGER}"


def addresses(
    namespace: str, table: str, names: pa.Array, fields: Sequence[pa.Field]
) -> list[tuple[Any, ...]]:
    """The keys of records as the client takes them: by digest where that is the key column."""
    if [field.name for field in fields] == [DIGEST]:
        return [(namespace, table, None, bytearray(name)) for name in names.to_pylist()]
    return [(namespace, table, key) for key in user_keys(names, fields)]


def key_columns(keys: Sequence[Any] | Particles, fields: Sequence[pa.Field]) -> list[pa.Array]:
    """The key columns of records, from their user keys.

    Raises:
        DecodeError: a user key is missing, or is not one of such columns.
    """
    kind = user_key_type(fields)
    try:
        names = decode_user_keys(keys, kind) if isinstance(keys, Particles) else _array(keys, kind)
    except DecodeError as error:
        raise DecodeError(f"a key is {error}, not one for {_columns(fields)}") from error
    if pt.is_integer(kind):
        try:
            return [names.cast(fields[0].type)]
        except pa.ArrowInvalid as error:
            raise DecodeError(f"a key does not fit {_columns(fields)}: {error}") from error
    return decode_keys(names.cast(pa.binary()), fields)


def _array(keys: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """User keys as the client has them; an error says what one of another type is."""
    allowed = {int} if pt.is_integer(kind) else {str} if pt.is_string(kind) else {bytes, bytearray}
    others = {*map(type, keys)} - allowed
    if type(None) in others:
        raise DecodeError(NOT_STORED)
    if others:
        raise DecodeError(f"of type {others.pop().__name__}")
    return pa.array(keys, kind)


def _columns(fields: Sequence[pa.Field]) -> str:
    return ", ".join(f"column {field.name!r} of type {field.type}" for field in fields)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pt.is_binary(kind) or pt.is_fixed_size_binary(kind) or pt.is_large_binary(kind))
