"""The namespace: records by partition and digest, sets, truncation and expiry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from . import protocol
from .clock import now_seconds
from .particles import Particle, Type, integer_of
from .protocol import Field

PARTITIONS = 4096
MAX_RECORD_BYTES = 1 << 20
END_MARK_BYTES = 4


def partition_of(digest: bytes) -> int:
    """The partition that a digest belongs to: its lowest twelve bits."""
    return int.from_bytes(digest[:2], "little") % PARTITIONS


@dataclass(slots=True)
class Record:
    """One record: its metadata and its bins by name."""

    digest: bytes
    set_name: bytes
    key: bytes | None = None
    generation: int = 0
    void_time: int = 0
    last_update: int = 0
    bins: dict[bytes, Particle] = field(default_factory=dict)
    whole: bytes | None = None

    def live(self) -> bool:
        """Has it not expired?"""
        return self.void_time == 0 or self.void_time >= now_seconds()

    def stored_bytes(self) -> int:
        """What the record takes in the server's flat format, before rounding."""
        size = 35 + (4 if self.void_time else 0)
        size += 1 + len(self.set_name) if self.set_name else 0
        size += _var_bytes(len(self.key)) + len(self.key) if self.key else 0
        size += _var_bytes(len(self.bins)) if self.bins else 0
        return size + sum(1 + len(name) + _flat_bytes(bin) for name, bin in self.bins.items())

    def data_bytes(self) -> int:
        """What the record takes of the namespace's memory."""
        return -(-(self.stored_bytes() + END_MARK_BYTES) // 16) * 16


def _var_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))


def _flat_bytes(particle: Particle) -> int:
    match particle.type:
        case Type.INTEGER:
            number = integer_of(particle.value) & 0xFFFFFFFFFFFFFFFF
            return 2 + next(width for width in (1, 2, 4, 8) if number < 1 << 8 * width)
        case Type.FLOAT:
            return 9
        case Type.BOOL:
            return 2
        case _:
            return 5 + len(particle.value)


@dataclass(slots=True)
class Set:
    """What is known of a set besides its records."""

    objects: int = 0
    data_bytes: int = 0
    truncate_lut: int = 0


class Namespace:
    """All records of the one namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sets: dict[bytes, Set] = {}
        self.truncate_lut = 0
        self._partitions: list[dict[bytes, Record]] = [{} for _ in range(PARTITIONS)]
        self._orders: list[list[bytes] | None] = [[] for _ in range(PARTITIONS)]

    def get(self, digest: bytes) -> Record | None:
        """The record of this digest, unless it has expired."""
        record = self._partitions[partition_of(digest)].get(digest)
        return record if record is not None and record.live() else None

    def put(self, record: Record) -> None:
        """Store a record in the place of any other of its digest."""
        pid = partition_of(record.digest)
        old = self._partitions[pid].get(record.digest)
        if old is None:
            self._orders[pid] = None
        else:
            self._count(old, -1)
        self._partitions[pid][record.digest] = record
        self._count(record, 1)

    def remove(self, record: Record) -> None:
        """Delete a record."""
        pid = partition_of(record.digest)
        del self._partitions[pid][record.digest]
        self._orders[pid] = None
        self._count(record, -1)

    def partition(self, pid: int) -> list[Record]:
        """The live records of a partition, greatest digest first, as the server goes through them."""
        records, order = self._partitions[pid], self._orders[pid]
        if order is None:
            order = self._orders[pid] = sorted(records, reverse=True)
        return [record for digest in order if (record := records[digest]).live()]

    def all(self) -> Iterator[Record]:
        """Every stored record, expired ones too."""
        for records in self._partitions:
            yield from list(records.values())

    def truncate(self, set_name: bytes, before: int) -> None:
        """Delete records that were last updated before this time (ms since 2010), of one set or all."""
        if not set_name:
            self.truncate_lut = before
        elif set_name in self.sets:
            self.sets[set_name].truncate_lut = before
        for record in self.all():
            if record.last_update < before and set_name in (b"", record.set_name):
                self.remove(record)

    def expire(self) -> None:
        """Delete what has expired."""
        for record in self.all():
            if not record.live():
                self.remove(record)

    def whole(self, record: Record) -> bytes:
        """A record with all its bins as scans send it."""
        if record.whole is None:
            bins = [
                protocol.operation(name, kind, value) for name, (kind, value) in record.bins.items()
            ]
            record.whole = self.packed(record, bins)
        return record.whole

    def packed(
        self, record: Record, bins: list[bytes], *, read: int = 0, index_value: int | None = None
    ) -> bytes:
        """A record with some bins as scans send it; from an index, with the value found there."""
        fields = [
            protocol.field(Field.NAMESPACE, self.name.encode()),
            protocol.field(Field.DIGEST, record.digest),
        ]
        if record.set_name:
            fields.append(protocol.field(Field.SET, record.set_name))
        if record.key is not None:
            fields.append(protocol.field(Field.KEY, record.key))
        if index_value is not None:
            value = index_value.to_bytes(8, "little", signed=True)
            fields.append(protocol.field(Field.INDEX_VALUES, value))
        head = protocol.header(
            protocol.Result.OK,
            read=read,
            generation=record.generation,
            void_time=record.void_time,
            n_fields=len(fields),
            n_operations=len(bins),
        )
        return b"".join([head, *fields, *bins])

    def _count(self, record: Record, sign: int) -> None:
        if record.set_name:
            found = self.sets.setdefault(record.set_name, Set())
            found.objects += sign
            found.data_bytes += sign * record.data_bytes()
