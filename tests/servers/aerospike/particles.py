"""Particles: the typed values of bins as they travel, and what write operations do to them."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from .hyperloglog import is_valid
from .protocol import Do, Refused, Result


class Type(IntEnum):
    """Types of particles."""

    NULL = 0
    INTEGER = 1
    FLOAT = 2
    STRING = 3
    BLOB = 4
    BOOL = 17
    HLL = 18
    MAP = 19
    LIST = 20
    GEOJSON = 23


# Blobs of client languages: the server keeps them apart and treats them as blobs.
_BLOBS = {Type.BLOB, 7, 8, 9, 10, 11, 12}
_KNOWN = {*Type, *_BLOBS}
_ADDABLE = {Type.INTEGER, Type.FLOAT}


class Particle(NamedTuple):
    """A bin's value: its type, and its bytes as the client sent them."""

    type: int
    value: bytes


def checked(kind: int, value: bytes) -> Particle:
    """A value that a client writes.

    Raises:
        Refused: no value of this type looks like that.
    """
    if kind not in _KNOWN or kind == Type.NULL:
        raise Refused(Result.PARAMETER)
    if kind == Type.INTEGER:
        if len(value) not in (1, 2, 4, 8):
            raise Refused(Result.PARAMETER)
        value = value.rjust(8, b"\0")
    elif (
        (kind == Type.FLOAT and len(value) != 8)
        or (kind == Type.BOOL and value not in (b"\0", b"\1"))
        or (kind == Type.HLL and not is_valid(value))
    ):
        raise Refused(Result.PARAMETER)
    elif kind == Type.GEOJSON:
        value = _geojson(value)
    return Particle(kind, value)


def _geojson(value: bytes) -> bytes:
    """Drop the cells that a client may send along: flags (1), count (2), then 8 bytes a cell."""
    (count,) = struct.unpack_from(">H", value, 1)
    return b"\0\0\0" + value[3 + 8 * count :]


def modified(op: int, old: Particle | None, kind: int, value: bytes) -> Particle:
    """What ADD, APPEND or PREPEND makes of a bin.

    Raises:
        Refused: the types do not go together.
    """
    new = checked(kind, value)
    if old is None:
        return new
    if op == Do.ADD:
        if old.type not in _ADDABLE or new.type != old.type:
            raise Refused(Result.INCOMPATIBLE_TYPE)
        return Particle(old.type, _added(old, new))
    if old.type not in _BLOBS | {Type.STRING} or new.type != old.type:
        raise Refused(Result.INCOMPATIBLE_TYPE)
    parts = (old.value, new.value) if op == Do.APPEND else (new.value, old.value)
    return Particle(old.type, b"".join(parts))


def _added(old: Particle, new: Particle) -> bytes:
    if old.type == Type.FLOAT:
        return struct.pack(">d", float_of(old.value) + float_of(new.value))
    total = integer_of(old.value) + integer_of(new.value)
    return struct.pack(">Q", total & 0xFFFFFFFFFFFFFFFF)


def integer_of(value: bytes) -> int:
    """The number in an integer's bytes."""
    return int.from_bytes(value, "big", signed=True)


def float_of(value: bytes) -> float:
    """The number in a double's bytes."""
    (number,) = struct.unpack(">d", value)
    return float(number)


def geojson_text(value: bytes) -> bytes:
    """The text in a stored GeoJSON value."""
    return value[3:]
