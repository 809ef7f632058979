"""Typed values where they lie in received bytes, and the columns that are made of them at once."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from connector.aerospike.bins import bin_type
from connector.errors import DecodeError
from connector.places import places

Ints: TypeAlias = "npt.NDArray[np.int64]"
Bytes: TypeAlias = "npt.NDArray[np.uint8]"

SPARE_BYTES = 32
"""Behind received bytes: the header and the name of a bin may be read at any place among them."""

_WORD = np.dtype(">u8")
_NUMBER_BYTES = 8
_GEOJSON_LEAD, _CELL_BYTES = 3, 8  # flags and the number of cells, before the cells and the text


class Type(enum.IntEnum):
    """Types of particles, as the server numbers them; ABSENT stands for a bin that is not there."""

    ABSENT = 0
    INTEGER = 1
    DOUBLE = 2
    STRING = 3
    BLOB = 4
    BOOLEAN = 17
    HLL = 18
    MAP = 19
    LIST = 20
    GEOJSON = 23


NOT_STORED = "not stored in its record (it was written without sending the key)"
"""What a user key is that is missing."""

_BLOBS = frozenset([*range(Type.BLOB, 13), Type.HLL])  # those of client languages, too
_NAMES = {
    Type.INTEGER: "int",
    Type.DOUBLE: "float",
    Type.STRING: "str",
    Type.BOOLEAN: "bool",
    Type.HLL: "HyperLogLog",
    Type.MAP: "dict",
    Type.LIST: "list",
    Type.GEOJSON: "GeoJSON",
}


@dataclass(frozen=True)
class Particles:
    """The values of one bin in some records, or their user keys.

    Attributes:
        data: the received bytes, and SPARE_BYTES behind them.
        kinds: of each value its type; shape (rows,).
        starts: where each begins, never falling but for those that are absent; shape (rows,).
        lengths: how many bytes each has; shape (rows,).
    """

    data: Bytes
    kinds: Ints
    starts: Ints
    lengths: Ints

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, rows: slice | Ints) -> Particles:
        return Particles(self.data, self.kinds[rows], self.starts[rows], self.lengths[rows])

    @property
    def seen(self) -> frozenset[int]:
        """The types that there are."""
        return frozenset(np.flatnonzero(np.bincount(self.kinds)).tolist())

    def value(self, row: int) -> Any:
        """One flat value, as the official client has it."""
        one = self[row : row + 1]
        kind = int(one.kinds[0])
        if kind == Type.ABSENT:
            return None
        if kind == Type.INTEGER:
            return int(one.numbers()[0])
        found = one.binary()[0].as_py()
        return found.decode("utf-8", "replace") if kind == Type.STRING else found

    def numbers(self) -> Ints:
        """The words of 8 bytes at the values, 0 for those that are absent.

        Raises:
            DecodeError: a value has another length.
        """
        there = self.kinds != Type.ABSENT
        if (self.lengths[there] != _NUMBER_BYTES).any():
            raise DecodeError("a number has other than 8 bytes")
        found: Ints = words(self.data)[self.starts].astype(np.int64)
        found[~there] = 0
        return found

    def binary(self) -> pa.Array:
        """The bytes of the values as ``pa.binary()``, copied; null where there is none."""
        there = self.kinds != Type.ABSENT
        if not there.all():
            return self[there].binary().take(places(there))
        offsets = np.zeros(2 * len(self) + 1, np.int32)
        offsets[0:-1:2] = self.starts
        offsets[1::2] = self.starts + self.lengths
        offsets[-1] = offsets[-2] if len(self) else 0
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        # Every second element is a value; those between are what lies between two of them.
        whole = pa.BinaryArray.from_buffers(pa.binary(), 2 * len(self), buffers)
        return whole.take(pa.array(np.arange(0, 2 * len(self), 2)))


def words(data: Bytes) -> npt.NDArray[np.uint64]:
    """The 8 bytes from every place on as one big-endian number, without a copy."""
    return np.ndarray((len(data) - _WORD.itemsize + 1,), _WORD, data, strides=(1,))


def is_flat(kind: pa.DataType) -> bool:
    """Whether a column of this type has values that ``decode`` knows."""
    return not pt.is_nested(kind)


def decode(column: str, values: Particles, kind: pa.DataType) -> pa.Array:
    """A column from the values of its bin, as ``connector.aerospike.decoding.decode_bin`` makes it.

    Raises:
        DecodeError: a value is not one of the column's type.
    """
    allowed, make = _expected(kind)
    if strange := values.seen - allowed - {Type.ABSENT}:
        raise DecodeError(f"column {column!r} of type {kind}: a bin holds {_named(strange)}")
    try:
        return make(values).cast(bin_type(kind)).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DecodeError(f"column {column!r} of type {kind}: {error}") from error


def decode_user_keys(values: Particles, kind: pa.DataType) -> pa.Array:
    """User keys of one type: int64, string or binary.

    Raises:
        DecodeError: one is of another type, or missing; it says what that is.
    """
    allowed, make = _expected(kind)
    if Type.ABSENT in values.seen:
        raise DecodeError(NOT_STORED)
    if strange := values.seen - allowed:
        raise DecodeError(f"of type {_name(min(strange))}")
    return make(values).cast(kind)


def _expected(
    kind: pa.DataType,
) -> tuple[frozenset[int], Callable[[Particles], pa.Array]]:
    """Which types of particles a column takes, and what makes an array of such."""
    if pt.is_boolean(kind):
        return frozenset([Type.BOOLEAN, Type.INTEGER]), _booleans
    if pt.is_floating(kind):
        return frozenset([Type.DOUBLE, Type.INTEGER]), _doubles
    if pt.is_integer(kind) or pt.is_temporal(kind):
        return frozenset([Type.INTEGER]), _integers
    if pt.is_string(kind):
        return frozenset([Type.STRING, Type.GEOJSON]), _texts
    if pt.is_decimal(kind):
        return frozenset([Type.STRING]), _texts
    return _BLOBS, Particles.binary


def _integers(values: Particles) -> pa.Array:
    return _array(values, values.numbers())


def _doubles(values: Particles) -> pa.Array:
    found = values.numbers()
    return _array(values, np.where(values.kinds == Type.INTEGER, found, found.view(np.float64)))


def _booleans(values: Particles) -> pa.Array:
    found = values.data[values.starts] != 0
    whole = values.kinds == Type.INTEGER
    if whole.any():
        numbers = values[whole].numbers()
        if (bad := numbers[(numbers < 0) | (numbers > 1)]).size:
            raise DecodeError(f"a bin holds the integer {bad[0]}, which is no boolean")
        found[whole] = numbers == 1
    return _array(values, found)


def _texts(values: Particles) -> pa.Array:
    located = values.kinds == Type.GEOJSON
    if located.any():
        lead = _GEOJSON_LEAD + _CELL_BYTES * (words(values.data)[values.starts] >> 40 & 0xFFFF)
        lead = np.where(located, lead, 0).astype(np.int64)
        values = Particles(values.data, values.kinds, values.starts + lead, values.lengths - lead)
    return values.binary().cast(pa.string())


def _array(values: Particles, found: npt.NDArray[Any]) -> pa.Array:
    absent = values.kinds == Type.ABSENT
    return pa.array(found, mask=absent if absent.any() else None)


def _named(kinds: frozenset[int]) -> str:
    return " and ".join(sorted(f"values of type {name}" for name in {*map(_name, kinds)}))


def _name(kind: int) -> str:
    return _NAMES.get(Type(kind) if kind in {*Type} else Type.BLOB, "bytes")
