"""Secondary indexes: what is defined, and which records a range of one has."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import packed
from .collections_read import particle
from .particles import Particle, Type, integer_of
from .protocol import Field, Message, Refused, Result
from .records import Record

TYPES = {"numeric": Type.INTEGER, "string": Type.STRING, "blob": Type.BLOB}

COLLECTIONS = ("default", "list", "mapkeys", "mapvalues")

Value = int | bytes


@dataclass(frozen=True, slots=True)
class Index:
    """An index on a bin of a set, or of all sets where ``set_name`` is empty.

    Attributes:
        name: its name.
        set_name: its set.
        bin: its bin.
        type: of the values in it: ``numeric``, ``string`` or ``blob``.
        collection: ``default`` for a bin's own value, else ``list``, ``mapkeys`` or ``mapvalues``.
    """

    name: str
    set_name: bytes
    bin: bytes
    type: str
    collection: str = "default"

    @property
    def particle_type(self) -> Type:
        """The type of the values that it has."""
        return TYPES[self.type]

    def covers(self, record: Record) -> bool:
        """Is the record in the index?"""
        return bool(self.values(record))

    def values(self, record: Record) -> list[Value]:
        """The values by which the index has a record."""
        found = record.bins.get(self.bin)
        if found is None or self.set_name not in (b"", record.set_name):
            return []
        if self.collection == "default":
            return [_value(found)] if found.type == self.particle_type else []
        if found.type != (Type.LIST if self.collection == "list" else Type.MAP):
            return []
        parts = packed.decode(found.value)
        if self.collection != "list":
            parts = [pair[self.collection == "mapvalues"] for pair in parts]
        particles = filter(None, map(particle, parts))
        return [_value(one) for one in particles if one.type == self.particle_type]


def _value(found: Particle) -> Value:
    return integer_of(found.value) if found.type == Type.INTEGER else found.value


@dataclass(frozen=True, slots=True)
class Range:
    """The part of an index that a query asks for."""

    index: Index
    passes: Callable[[Value], bool]

    def value(self, record: Record) -> int | None:
        """The least number that the record stands at in the range, if it is there."""
        found = [value for value in self.index.values(record) if self.passes(value)]
        numbers = [one if isinstance(one, int) else zlib.crc32(one) for one in found]
        return min(numbers, default=None)


class Indexes:
    """All indexes of the namespace, by name."""

    def __init__(self) -> None:
        self.all: dict[str, Index] = {}

    def create(self, index: Index) -> bool:
        """Define an index, or rename the one so defined; False where the name is another one's."""
        old = self.all.get(index.name)
        if old is not None:
            return old == index
        for name, other in list(self.all.items()):
            if replace(other, name=index.name) == index:
                del self.all[name]
        self.all[index.name] = index
        return True

    def drop(self, name: str) -> None:
        """Forget an index."""
        self.all.pop(name, None)

    def range(self, message: Message) -> Range | None:
        """The range that a query asks for; None where it asks for none.

        Raises:
            Refused: there is no such index, or the range is none.
        """
        data = message.fields.get(Field.INDEX_RANGE)
        if data is None:
            return None
        for unsupported in (Field.INDEX_CONTEXT, Field.INDEX_EXPRESSION):
            if unsupported in message.fields:
                raise Refused(Result.UNSUPPORTED_FEATURE)
        name = data[2 : 2 + data[1]]
        kind = data[2 + data[1]]
        passes = _passes(kind, data[3 + data[1] :])
        return Range(self._found(message, name, kind), passes)

    def _found(self, message: Message, bin: bytes, kind: int) -> Index:
        if Field.INDEX_NAME in message.fields:
            named = self.all.get(message.fields[Field.INDEX_NAME].decode())
            if named is None:
                raise Refused(Result.INDEX_NOT_FOUND)
            return named
        collection = COLLECTIONS[message.fields.get(Field.INDEX_TYPE, b"\0")[0]]
        for set_name in (message.fields.get(Field.SET, b""), b""):
            wanted = (set_name, bin, kind, collection)
            for one in self.all.values():
                if (one.set_name, one.bin, one.particle_type, one.collection) == wanted:
                    return one
        raise Refused(Result.INDEX_NOT_FOUND)


def _passes(kind: int, data: bytes) -> Callable[[Value], bool]:
    """Does a value lie between the two that follow in the request?"""
    if kind == Type.INTEGER:
        _, begin, _, end = struct.unpack(">IqIq", data[:24])
        if begin > end:
            raise Refused(Result.PARAMETER)
        return lambda found: isinstance(found, int) and begin <= found <= end
    if kind not in (Type.STRING, Type.BLOB):
        raise Refused(Result.UNSUPPORTED_FEATURE)
    size = int.from_bytes(data[:4], "big")
    wanted = data[4 : 4 + size]
    return lambda found: found == wanted
