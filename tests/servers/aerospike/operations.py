"""Operations on the bins of one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import packed, protocol
from .bin_names import check_name
from .collections_read import read_collection
from .expressions import read_expression
from .hyperloglog import initialized
from .particles import Particle, Type, checked, modified
from .protocol import Do, Message, More, Operation, Read, Refused, Result, Write
from .records import Record

_READS = {Do.READ, Do.COLLECTION_READ, Do.EXPRESSION_READ}
_MODIFIES = {Do.ADD, Do.APPEND, Do.PREPEND}
_NULL = Particle(Type.NULL, b"")


def read_bins(
    record: Record, operations: Sequence[Operation], *, respond_all: bool = False
) -> list[bytes]:
    """The packed answers to read operations; bins that are not there have none.

    Raises:
        Refused: one of them is not for a value of that type.
    """
    answers = []
    for operation in operations:
        check_name(operation.name)
        found = _read(record, operation)
        if found is not None or respond_all:
            op = Do.READ if found is None else operation.op
            answers.append(protocol.operation(operation.name, *(found or _NULL), op=op))
    return answers


def _read(record: Record, operation: Operation) -> Particle | None:
    if operation.op == Do.READ:
        return record.bins.get(operation.name)
    if operation.op == Do.COLLECTION_READ:
        bin = record.bins.get(operation.name)
        return None if bin is None else read_collection(bin, operation.value)
    if operation.op == Do.EXPRESSION_READ:
        return read_expression(record, operation.value)
    raise Refused(Result.UNSUPPORTED_FEATURE)


@dataclass(frozen=True, slots=True)
class Writing:
    """The operations of a write, and what they ask of the record."""

    operations: Sequence[Operation]
    must_exist: bool
    replace: bool
    respond_all: bool
    read_all: bool

    @classmethod
    def of(cls, message: Message) -> Writing:
        """The write that a message asks for.

        Raises:
            Refused: its operations do not go together.
        """
        if not message.operations:
            raise Refused(Result.PARAMETER)
        replace = bool(message.more & (More.CREATE_OR_REPLACE | More.REPLACE_ONLY))
        touches = any(operation.op == Do.TOUCH for operation in message.operations)
        read_all = bool(message.read & Read.ALL_BINS)
        for operation in message.operations:
            _check(operation, replace=replace)
        return cls(
            message.operations,
            touches or bool(message.more & (More.UPDATE_ONLY | More.REPLACE_ONLY)),
            replace,
            bool(message.write & Write.RESPOND_ALL),
            read_all,
        )

    def apply(self, record: Record, bins: dict[bytes, Particle]) -> list[bytes]:
        """Give ``record`` these bins as the operations change them; return the packed answers."""
        record.bins = bins
        answers: list[bytes] = []
        for operation in self.operations:
            if operation.op in _READS:
                answers += self._answers(record, operation)
                continue
            _change(bins, operation)
            if self.respond_all:
                answers.append(protocol.operation(operation.name, *_NULL, op=operation.op))
        return answers

    def _answers(self, record: Record, operation: Operation) -> list[bytes]:
        if operation.op == Do.READ and not operation.name and self.read_all:
            return [protocol.operation(name, *bin) for name, bin in record.bins.items()]
        respond = self.respond_all or operation.op != Do.READ
        return read_bins(record, [operation], respond_all=respond)


def _check(operation: Operation, *, replace: bool) -> None:
    if operation.op == Do.TOUCH:
        if replace:
            raise Refused(Result.PARAMETER)
        return
    check_name(operation.name)
    deletes = operation.op == Do.WRITE and operation.type == Type.NULL
    if replace and (deletes or operation.op in _MODIFIES | {Do.DELETE_ALL, Do.HYPERLOGLOG_MODIFY}):
        raise Refused(Result.PARAMETER)


def _change(bins: dict[bytes, Particle], operation: Operation) -> None:
    op, kind, name, value = operation
    if op == Do.TOUCH:
        return
    if op == Do.DELETE_ALL:
        bins.clear()
    elif op == Do.WRITE and kind == Type.NULL:
        bins.pop(name, None)
    elif op == Do.WRITE:
        bins[name] = checked(kind, value)
    elif op in _MODIFIES:
        bins[name] = modified(op, bins.get(name), kind, value)
    elif op == Do.HYPERLOGLOG_MODIFY:
        bins[name] = _with_hyperloglog(bins.get(name), value)
    else:
        raise Refused(Result.UNSUPPORTED_FEATURE)


def _with_hyperloglog(old: Particle | None, request: bytes) -> Particle:
    if old is not None and old.type != Type.HLL:
        raise Refused(Result.INCOMPATIBLE_TYPE)
    value = initialized(None if old is None else old.value, packed.decode(request))
    return Particle(Type.HLL, value)
