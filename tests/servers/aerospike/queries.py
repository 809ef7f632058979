"""Scans and queries: partitions or the rest of them, filtered, in chunks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import protocol
from .expressions import Expression, condition
from .indexes import Indexes, Range
from .operations import read_bins
from .protocol import Do, Field, Message, More, Operation, Read, Refused, Result, Write
from .records import PARTITIONS, Namespace, Record, partition_of

Build = tuple[int, ...]
BUILD: Build = (8, 1, 2, 0)


@dataclass(frozen=True, slots=True)
class Rest:
    """What of a partition a query asks for: all, or what comes after a record.

    Attributes:
        partition: its number.
        digest: the last record that the client has, if any.
        value: where that record stood in the index.
    """

    partition: int
    digest: bytes | None = None
    value: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """A query as its message asks for it."""

    set_name: bytes
    rests: list[Rest]
    max_records: int
    records_per_second: int
    filter: Expression | None
    range: Range | None
    no_bins: bool
    operations: list[Operation]
    respond_all: bool

    @classmethod
    def of(cls, message: Message, indexes: Indexes, build: Build = BUILD) -> Query:
        """Parse a query as a server of this build does.

        Raises:
            Refused: it is none that the server takes.
        """
        if message.write & Write.WRITE or Field.UDF_NAME in message.fields:
            raise Refused(Result.UNSUPPORTED_FEATURE)
        fields = message.fields
        rests = list(_rests(fields))
        range = indexes.range(message)
        no_bins = bool(message.read & Read.NO_BINS)
        operations = message.operations
        respond_all = bool(message.write & Write.RESPOND_ALL)
        if build < _OPERATIONS_SINCE:
            operations, respond_all = _selected(operations), False
        if not no_bins and any(operation.op not in _READS for operation in operations):
            raise Refused(Result.PARAMETER)
        given = fields.get(Field.FILTER)
        return cls(
            set_name=fields.get(Field.SET, b""),
            rests=rests,
            max_records=int.from_bytes(fields.get(Field.MAX_RECORDS, b""), "big"),
            records_per_second=int.from_bytes(fields.get(Field.RECORDS_PER_SECOND, b""), "big"),
            filter=None if given is None else condition(given),
            range=range,
            no_bins=no_bins,
            operations=operations,
            respond_all=respond_all,
        )

    def chosen(self, records: list[Record], rest: Rest) -> Iterator[tuple[Record, int | None]]:
        """The records of a partition that the query is after, and where the index has them."""
        if self.range is None:
            for record in records:
                after = rest.digest is None or record.digest < rest.digest
                if after and self._passes(record):
                    yield record, None
            return
        found = [(value, r) for r in records if (value := self.range.value(r)) is not None]
        for value, record in sorted(found, key=lambda pair: (pair[0], pair[1].digest)):
            after = rest.digest is None or (value, record.digest) > (rest.value, rest.digest)
            if after and self._passes(record):
                yield record, value

    def _passes(self, record: Record) -> bool:
        if self.set_name and record.set_name != self.set_name:
            return False
        return self.filter is None or self.filter.matches(record)

    def packed(self, namespace: Namespace, record: Record, value: int | None) -> bytes | None:
        """The record as the query wants it; None where it has no bin that is asked for."""
        if self.no_bins:
            return namespace.packed(record, [], read=Read.NO_BINS, index_value=value)
        if not self.operations:
            if value is None:
                return namespace.whole(record)
            bins = [protocol.operation(name, *bin) for name, bin in record.bins.items()]
            return namespace.packed(record, bins, index_value=value)
        try:
            bins = read_bins(record, self.operations, respond_all=self.respond_all)
        except Refused:
            return None
        return namespace.packed(record, bins, index_value=value) if bins else None


_READS = {Do.READ, Do.COLLECTION_READ, Do.EXPRESSION_READ}
_OPERATIONS_SINCE: Build = (8, 1, 2)


def _selected(operations: list[Operation]) -> list[Operation]:
    """Servers before 8.1.2 take an operation of a query for the name of a bin to give."""
    return [Operation(Do.READ, 0, operation.name, b"") for operation in operations]


def _rests(fields: dict[int, bytes]) -> Iterator[Rest]:
    if Field.PARTITIONS not in fields and Field.DIGESTS not in fields:
        raise Refused(Result.UNSUPPORTED_FEATURE)
    numbers = fields.get(Field.PARTITIONS, b"")
    seen = set()
    for (partition,) in struct.iter_unpack("<H", numbers):
        if partition >= PARTITIONS or partition in seen:
            raise Refused(Result.PARAMETER)
        seen.add(partition)
        yield Rest(partition)
    digests = fields.get(Field.DIGESTS, b"")
    values = fields.get(Field.INDEX_VALUES, bytes(8 * (len(digests) // 20)))
    for at, (value,) in zip(range(0, len(digests), 20), struct.iter_unpack("<q", values)):
        digest = digests[at : at + 20]
        yield Rest(partition_of(digest), digest, value)


def unavailable(partition: int) -> bytes:
    """The body that tells that a partition cannot be read now."""
    return protocol.header(Result.UNAVAILABLE, more=More.PARTITION_DONE, generation=partition)


def answered(
    query: Query, namespace: Namespace, missing: Callable[[], frozenset[int]]
) -> Iterator[list[bytes]]:
    """The records of one partition after another; ``missing`` tells which cannot be read."""
    left = query.max_records or float("inf")
    for rest in query.rests:
        if rest.partition in missing():
            yield [unavailable(rest.partition)]
            continue
        found = []
        for record, value in query.chosen(namespace.partition(rest.partition), rest):
            if left <= 0:
                break
            left -= 1
            body = query.packed(namespace, record, value)
            if body is not None:
                found.append(body)
        yield found
        if left <= 0:
            return
