"""Batches: many requests for one record each in one message, answered one by one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from . import protocol
from .commands import Commands
from .expressions import condition
from .protocol import Field, Message, Refused, Result

_ROW = struct.Struct(">I20sB")
_COUNTS = struct.Struct(">HH")
_REPORT_ALL = 0x04
_REPEAT, _MORE_FLAGS, _GENERATION, _TTL, _FOURTH_FLAGS = 0x01, 0x02, 0x04, 0x08, 0x10

_HARMLESS = {Result.OK, Result.NOT_FOUND, Result.FILTERED_OUT}


def is_batch(message: Message) -> bool:
    """Is the message a batch?"""
    return Field.BATCH in message.fields or Field.BATCH_WITH_SET in message.fields


def answered(message: Message, commands: Commands) -> Iterator[bytes]:
    """The body of every row's reply, and the last one's."""
    data = message.fields.get(Field.BATCH_WITH_SET) or message.fields[Field.BATCH]
    result = Result.OK
    try:
        given = message.fields.get(Field.FILTER)
        filter = None if given is None else condition(given)
        for index, row in rows(data):
            reply = commands.answer(row, filter)
            yield reply.packed(index)
            if reply.result not in _HARMLESS and not data[4] & _REPORT_ALL:
                result = Result(reply.result)
    except Refused as refused:
        result = refused.result
    yield protocol.last(result)


def rows(data: bytes) -> Iterator[tuple[int, Message]]:
    """The requests of a batch with their places in it.

    Raises:
        Refused: the batch is empty.
    """
    count = int.from_bytes(data[:4], "big")
    if count == 0:
        raise Refused(Result.PARAMETER)
    at = 5
    before: Message | None = None
    for _ in range(count):
        index, digest, flags = _ROW.unpack_from(data, at)
        at += _ROW.size
        if flags & _REPEAT and before is not None:
            row = before
        else:
            row, at = _row(data, at, flags)
        before = row
        yield index, _with_digest(row, digest)


def _with_digest(row: Message, digest: bytes) -> Message:
    fields = {**row.fields, int(Field.DIGEST): digest}
    return Message(row.read, row.write, row.more, row.generation, row.ttl, fields, row.operations)


def _row(data: bytes, at: int, flags: int) -> tuple[Message, int]:
    """A row that does not repeat the one before, and where it ends."""
    read, write, more = data[at], 0, 0
    at += 1
    if flags & _MORE_FLAGS:
        write, more = data[at], data[at + 1]
        at += 2
    at += 1 if flags & _FOURTH_FLAGS else 0
    generation = ttl = 0
    if flags & _GENERATION:
        generation = int.from_bytes(data[at : at + 2], "big")
        at += 2
    if flags & _TTL:
        ttl = int.from_bytes(data[at : at + 4], "big")
        at += 4
    n_fields, n_operations = _COUNTS.unpack_from(data, at)
    fields, at = protocol.parse_fields(data, at + 4, max(1, n_fields))
    operations, at = protocol.parse_operations(data, at, n_operations)
    return Message(read, write, more, generation, ttl, fields, operations), at
