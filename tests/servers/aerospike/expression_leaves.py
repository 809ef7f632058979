"""Expressions that have no others in them: constants, bins, keys and metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import packed
from .bin_names import check_name
from .clock import now_ms, now_seconds, unix_ns
from .expression_types import UNKNOWN, Kind, Node, Scope
from .particles import Particle, Type, float_of, geojson_text, integer_of
from .protocol import Refused, Result
from .records import Record

_BIN_TYPES = {
    Kind.NIL: Type.NULL,
    Kind.BOOL: Type.BOOL,
    Kind.INT: Type.INTEGER,
    Kind.STR: Type.STRING,
    Kind.LIST: Type.LIST,
    Kind.MAP: Type.MAP,
    Kind.BLOB: Type.BLOB,
    Kind.FLOAT: Type.FLOAT,
    Kind.GEOJSON: Type.GEOJSON,
    Kind.HLL: Type.HLL,
}
_TEXTS = {Type.STRING: Kind.STR, Type.BLOB: Kind.BLOB, Type.HLL: Kind.HLL}
_KEYS = {Kind.INT: Type.INTEGER, Kind.STR: Type.STRING, Kind.BLOB: Type.BLOB}


def constant(value: Any) -> Node:
    """A literal; lists come quoted, by another way."""
    match value:
        case None:
            return _always(Kind.NIL, None)
        case bool():
            return _always(Kind.BOOL, value)
        case int():
            return _always(Kind.INT, value)
        case float():
            return _always(Kind.FLOAT, value)
        case packed.Map():
            return _always(Kind.MAP, value)
        case bytes():
            return _text(value)
        case _:
            raise Refused(Result.PARAMETER)


def quoted(value: Any) -> Node:
    """A literal list."""
    if not isinstance(value, list) or isinstance(value, packed.Map):
        raise Refused(Result.PARAMETER)
    return _always(Kind.LIST, value)


def _text(value: bytes) -> Node:
    if value[:1] == b"\x17":
        return _always(Kind.GEOJSON, value[1:])
    kind = _TEXTS.get(Type(value[0])) if value and value[0] in set(Type) else None
    if kind is None:
        raise Refused(Result.PARAMETER)
    return _always(kind, value[1:])


def _always(kind: Kind, value: Any) -> Node:
    return Node(kind, lambda scope: value)


def unwrapped(bin: Particle) -> Any:
    """A bin's value as expressions work on it."""
    match bin.type:
        case Type.INTEGER:
            return integer_of(bin.value)
        case Type.FLOAT:
            return float_of(bin.value)
        case Type.BOOL:
            return bin.value != b"\0"
        case Type.LIST | Type.MAP:
            return packed.decode(bin.value)
        case Type.GEOJSON:
            return geojson_text(bin.value)
        case _:
            return bin.value


def bin_value(kind: int, name: bytes) -> Node:
    """The value of a bin, if it is of this type."""
    check_bin_name(name)
    kind = Kind(kind)
    wanted = _BIN_TYPES[kind]

    def evaluate(scope: Scope) -> Any:
        found = scope.record.bins.get(name)
        return unwrapped(found) if found is not None and found.type == wanted else UNKNOWN

    return Node(kind, evaluate)


def bin_type(name: bytes) -> Node:
    """The type of a bin as a number, 0 where it is not there."""
    check_bin_name(name)

    def evaluate(scope: Scope) -> Any:
        found = scope.record.bins.get(name)
        return int(Type.NULL if found is None else found.type)

    return Node(Kind.INT, evaluate)


def check_bin_name(name: bytes) -> None:
    """Refuse a name as the server does in expressions."""
    try:
        check_name(name)
    except Refused as refused:
        raise Refused(Result.PARAMETER) from refused


def record_key(kind: int) -> Node:
    """The user key, if it is stored and of this type."""
    kind = Kind(kind)
    wanted = _KEYS.get(kind)
    if wanted is None:
        raise Refused(Result.PARAMETER)

    def evaluate(scope: Scope) -> Any:
        key = scope.record.key
        if key is None or key[0] != wanted:
            return UNKNOWN
        return integer_of(key[1:]) if wanted == Type.INTEGER else key[1:]

    return Node(kind, evaluate)


def digest_modulo(divisor: int) -> Node:
    """The last four bytes of the digest, modulo a number."""
    if divisor == 0:
        raise Refused(Result.PARAMETER)
    return Node(
        Kind.INT,
        lambda scope: int.from_bytes(scope.record.digest[16:], "little") % abs(divisor),
    )


def _void_time(record: Record) -> int:
    return unix_ns(record.void_time * 1000) if record.void_time else -1


def _ttl(record: Record) -> int:
    return max(0, record.void_time - now_seconds()) if record.void_time else -1


_METADATA: dict[int, tuple[Kind, Callable[[Record], Any]]] = {
    65: (Kind.INT, lambda record: 0),
    66: (Kind.INT, lambda record: unix_ns(record.last_update)),
    67: (Kind.INT, lambda record: max(0, now_ms() - record.last_update)),
    68: (Kind.INT, _void_time),
    69: (Kind.INT, _ttl),
    70: (Kind.STR, lambda record: record.set_name),
    71: (Kind.BOOL, lambda record: record.key is not None),
    72: (Kind.BOOL, lambda record: False),
    73: (Kind.INT, lambda record: record.data_bytes()),
    74: (Kind.INT, lambda record: record.data_bytes()),
}


def metadata(code: int) -> Node | None:
    """One of the record's metadata; None where the code is not of metadata."""
    if code not in _METADATA:
        return None
    kind, read = _METADATA[code]
    return Node(kind, lambda scope: read(scope.record))
