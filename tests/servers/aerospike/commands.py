"""Requests for one record: read, write and delete, in the order of the server's own checks."""

from __future__ import annotations

from dataclasses import dataclass

from . import protocol
from .clock import now_ms
from .expressions import Expression, condition
from .operations import Writing, read_bins
from .protocol import Field, Message, Read, Refused, Reply, Result, Write
from .records import END_MARK_BYTES, MAX_RECORD_BYTES, Namespace, Record, partition_of

_TTL_NEVER = 0xFFFFFFFF
_TTL_KEEP = 0xFFFFFFFE
_TTL_MAX_SECONDS = 10 * 365 * 24 * 3600
_MAX_GENERATION = 0xFFFF


@dataclass(slots=True)
class Faults:
    """What a test has ordered to fail."""

    stop_writes: bool = False
    unavailable: frozenset[int] = frozenset()
    kill_after: int | None = None
    cut_after: int | None = None
    delay_seconds: float = 0.0

    @property
    def end_scans(self) -> bool:
        """Is a scan to end before its end?"""
        return self.kill_after is not None or self.cut_after is not None


@dataclass(frozen=True, slots=True)
class Commands:
    """Answers requests for one record of a namespace."""

    namespace: Namespace
    faults: Faults

    def answer(self, message: Message, filter: Expression | None = None) -> Reply:
        """Do what the message asks. ``filter`` is of its batch, where the message has none."""
        try:
            if message.fields.get(Field.NAMESPACE) != self.namespace.name.encode():
                raise Refused(Result.NAMESPACE)
            digest = message.fields[Field.DIGEST]
            if partition_of(digest) in self.faults.unavailable:
                raise Refused(Result.UNAVAILABLE)
            if message.write & Write.WRITE:
                if message.write & Write.DELETE:
                    return self._delete(message, digest, filter)
                return self._write(message, digest, filter)
            return self._read(message, digest, filter)
        except Refused as refused:
            return Reply(refused.result)

    def _read(self, message: Message, digest: bytes, filter: Expression | None) -> Reply:
        record = self.namespace.get(digest)
        if record is None:
            raise Refused(Result.NOT_FOUND)
        _check_set(message, record, may_be_absent=True)
        _check_filter(message, filter, record)
        _check_key(message, record)
        if message.read & Read.NO_BINS:
            bins: list[bytes] = []
        elif message.read & Read.ALL_BINS:
            bins = [protocol.operation(name, *bin) for name, bin in record.bins.items()]
        else:
            if not message.operations:
                raise Refused(Result.PARAMETER)
            respond_all = bool(message.write & Write.RESPOND_ALL)
            bins = read_bins(record, message.operations, respond_all=respond_all)
        return Reply(Result.OK, record.generation, record.void_time, tuple(bins))

    def _delete(self, message: Message, digest: bytes, filter: Expression | None) -> Reply:
        if message.write & Write.DURABLE_DELETE:
            raise Refused(Result.ENTERPRISE_ONLY)
        record = self.namespace.get(digest)
        if record is None:
            raise Refused(Result.NOT_FOUND)
        _check_set(message, record, may_be_absent=True)
        _check_generation(message, record.generation)
        _check_filter(message, filter, record)
        _check_key(message, record)
        self.namespace.remove(record)
        return Reply(Result.OK)

    def _write(self, message: Message, digest: bytes, filter: Expression | None) -> Reply:
        if self.faults.stop_writes:
            raise Refused(Result.OUT_OF_SPACE)
        writing = Writing.of(message)
        old = self.namespace.get(digest)
        if old is None and writing.must_exist:
            raise Refused(Result.NOT_FOUND)
        if old is not None and message.write & Write.CREATE_ONLY:
            raise Refused(Result.RECORD_EXISTS)
        _check_generation(message, old.generation if old else 0)
        if old is not None:
            _check_set(message, old, may_be_absent=False)
            _check_filter(message, filter, old)
            _check_key(message, old)
        new = self._advanced(message, digest, old)
        responses = writing.apply(new, {} if old is None or writing.replace else dict(old.bins))
        if not new.bins:
            return self._emptied(message, old, responses)
        if new.stored_bytes() + END_MARK_BYTES > MAX_RECORD_BYTES:
            raise Refused(Result.RECORD_TOO_BIG)
        self.namespace.put(new)
        return Reply(Result.OK, new.generation, new.void_time, tuple(responses))

    def _emptied(self, message: Message, old: Record | None, responses: list[bytes]) -> Reply:
        """A record that is left without bins is deleted."""
        if old is None:
            raise Refused(Result.NOT_FOUND)
        if message.write & Write.DURABLE_DELETE:
            raise Refused(Result.ENTERPRISE_ONLY)
        self.namespace.remove(old)
        return Reply(Result.OK, bins=tuple(responses))

    def _advanced(self, message: Message, digest: bytes, old: Record | None) -> Record:
        """The record's metadata after this write."""
        now = now_ms()
        if old is None:
            record = Record(digest, message.fields.get(Field.SET, b""))
        else:
            record = Record(digest, old.set_name, old.key)
            record.generation = old.generation % _MAX_GENERATION
            record.void_time = old.void_time
            now = max(now, old.last_update)
        record.key = record.key or message.fields.get(Field.KEY)
        record.generation += 1
        record.last_update = now
        record.void_time = _void_time(message.ttl, old, now)
        return record


def _void_time(ttl: int, old: Record | None, now: int) -> int:
    if ttl == _TTL_KEEP:
        return old.void_time if old else 0
    if ttl in (0, _TTL_NEVER):
        return 0
    if ttl > _TTL_MAX_SECONDS:
        raise Refused(Result.PARAMETER)
    return now // 1000 + ttl


def _check_set(message: Message, record: Record, *, may_be_absent: bool) -> None:
    given = message.fields.get(Field.SET, b"")
    if given != record.set_name and (given or not may_be_absent):
        raise Refused(Result.PARAMETER)


def _check_generation(message: Message, generation: int) -> None:
    if message.write & Write.GENERATION:
        if message.generation != generation:
            raise Refused(Result.GENERATION)
    elif message.write & Write.GENERATION_GREATER and message.generation <= generation:
        raise Refused(Result.GENERATION)


def _check_filter(message: Message, filter: Expression | None, record: Record) -> None:
    if Field.FILTER in message.fields:
        filter = condition(message.fields[Field.FILTER])
    if filter is not None and not filter.matches(record):
        raise Refused(Result.FILTERED_OUT)


def _check_key(message: Message, record: Record) -> None:
    given = message.fields.get(Field.KEY)
    if given is not None and record.key is not None and given != record.key:
        raise Refused(Result.KEY_MISMATCH)
