"""Messages of the wire protocol: parsing requests and packing replies, without any I/O.

A message is a header of 8 bytes (version, type, size of the body) and a body. Bodies of type INFO are
text; bodies of type DATA are a header of 22 bytes, then fields, then operations on bins.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

VERSION = 2
INFO = 1
DATA = 3
COMPRESSED = 4

MAX_BODY_BYTES = 128 << 20

_PROTO = struct.Struct(">Q")
_HEADER = struct.Struct(">BBBBBBIIIHH")
_FIELD = struct.Struct(">IB")
_OPERATION = struct.Struct(">IBBBB")

HEADER_BYTES = _HEADER.size
PROTO_BYTES = _PROTO.size


class Result(IntEnum):
    """Result codes, as far as this server gives them."""

    OK = 0
    UNKNOWN = 1
    NOT_FOUND = 2
    GENERATION = 3
    PARAMETER = 4
    RECORD_EXISTS = 5
    OUT_OF_SPACE = 8
    UNAVAILABLE = 11
    INCOMPATIBLE_TYPE = 12
    RECORD_TOO_BIG = 13
    UNSUPPORTED_FEATURE = 16
    KEY_MISMATCH = 19
    NAMESPACE = 20
    BIN_NAME = 21
    FORBIDDEN = 22
    ENTERPRISE_ONLY = 25
    NOT_APPLICABLE = 26
    FILTERED_OUT = 27
    INDEX_FOUND = 200
    INDEX_NOT_FOUND = 201


class Refused(Exception):
    """A request is answered with this result code."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.name)
        self.result = result


class Read:
    """Bits of the header's first flags."""

    READ = 0x01
    ALL_BINS = 0x02
    BATCH = 0x08
    NO_BINS = 0x20


class Write:
    """Bits of the header's second flags."""

    WRITE = 0x01
    DELETE = 0x02
    GENERATION = 0x04
    GENERATION_GREATER = 0x08
    DURABLE_DELETE = 0x10
    CREATE_ONLY = 0x20
    RESPOND_ALL = 0x80


class More:
    """Bits of the header's third flags."""

    LAST = 0x01
    PARTITION_DONE = 0x04
    UPDATE_ONLY = 0x08
    CREATE_OR_REPLACE = 0x10
    REPLACE_ONLY = 0x20


class Field(IntEnum):
    """Types of fields."""

    NAMESPACE = 0
    SET = 1
    KEY = 2
    DIGEST = 4
    RECORDS_PER_SECOND = 10
    PARTITIONS = 11
    DIGESTS = 12
    MAX_RECORDS = 13
    INDEX_VALUES = 15
    INDEX_NAME = 21
    INDEX_RANGE = 22
    INDEX_CONTEXT = 23
    INDEX_EXPRESSION = 24
    INDEX_TYPE = 26
    UDF_NAME = 30
    BATCH = 41
    BATCH_WITH_SET = 42
    FILTER = 43


class Do(IntEnum):
    """Operations on bins."""

    READ = 1
    WRITE = 2
    COLLECTION_READ = 3
    COLLECTION_MODIFY = 4
    ADD = 5
    EXPRESSION_READ = 7
    EXPRESSION_WRITE = 8
    APPEND = 9
    PREPEND = 10
    TOUCH = 11
    DELETE_ALL = 14
    HYPERLOGLOG_MODIFY = 16


class Operation(NamedTuple):
    """One operation of a request on one bin."""

    op: int
    type: int
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A request: flags, numbers, fields by type, and operations in their order."""

    read: int
    write: int
    more: int
    generation: int
    ttl: int
    fields: dict[int, bytes]
    operations: list[Operation]


def proto(kind: int, body: bytes) -> bytes:
    """A whole message around a body."""
    return _PROTO.pack(VERSION << 56 | kind << 48 | len(body)) + body


def parse_proto(head: bytes) -> tuple[int, int, int]:
    """Version, type and size of the body that follows these 8 bytes."""
    (word,) = _PROTO.unpack(head)
    return word >> 56, word >> 48 & 0xFF, word & 0xFFFFFFFFFFFF


def parse(body: bytes) -> Message:
    """The request in a body of type DATA."""
    _, read, write, more, _, _, generation, ttl, _, n_fields, n_operations = _HEADER.unpack_from(
        body
    )
    fields, at = parse_fields(body, HEADER_BYTES, n_fields)
    operations, at = parse_operations(body, at, n_operations)
    return Message(read, write, more, generation, ttl, fields, operations)


def parse_fields(body: bytes, at: int, count: int) -> tuple[dict[int, bytes], int]:
    """``count`` fields from ``at`` on, and where they end."""
    fields = {}
    for _ in range(count):
        size, kind = _FIELD.unpack_from(body, at)
        fields[kind] = body[at + 5 : at + 4 + size]
        at += 4 + size
    return fields, at


def parse_operations(body: bytes, at: int, count: int) -> tuple[list[Operation], int]:
    """``count`` operations from ``at`` on, and where they end."""
    operations = []
    for _ in range(count):
        size, op, kind, _, name_size = _OPERATION.unpack_from(body, at)
        begin = at + 8 + name_size
        end = at + 4 + size
        operations.append(Operation(op, kind, body[at + 8 : begin], body[begin:end]))
        at = end
    return operations, at


def header(
    result: int,
    *,
    read: int = 0,
    more: int = 0,
    generation: int = 0,
    void_time: int = 0,
    index: int = 0,
    n_fields: int = 0,
    n_operations: int = 0,
) -> bytes:
    """The header of a reply. ``index`` is a record's place in its batch."""
    return _HEADER.pack(
        HEADER_BYTES,
        read,
        0,
        more,
        0,
        result,
        generation,
        void_time,
        index,
        n_fields,
        n_operations,
    )


def field(kind: int, value: bytes) -> bytes:
    """A field of a reply."""
    return _FIELD.pack(len(value) + 1, kind) + value


def operation(name: bytes, kind: int, value: bytes, op: int = Do.READ) -> bytes:
    """A bin of a reply."""
    return _OPERATION.pack(4 + len(name) + len(value), op, kind, 0, len(name)) + name + value


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request for one record: result, metadata and packed bins."""

    result: int = Result.OK
    generation: int = 0
    void_time: int = 0
    bins: tuple[bytes, ...] = ()

    def packed(self, index: int = 0) -> bytes:
        """The body of the reply; ``index`` is the record's place in its batch."""
        head = header(
            self.result,
            generation=self.generation,
            void_time=self.void_time,
            index=index,
            n_operations=len(self.bins),
        )
        return head + b"".join(self.bins)


def last(result: int = Result.OK) -> bytes:
    """The body that ends a reply of many records."""
    return header(result, more=More.LAST)


def info_reply(answers: Iterable[tuple[str, str]]) -> bytes:
    """The body of a reply of type INFO."""
    return "".join(f"{name}\t{answer}\n" for name, answer in answers).encode()
