"""Parsing the records of a scan with array kernels instead of a step for each of them.

Every byte that can begin a message is taken for the begin of one, and all of them are parsed side by side:
first field, second field, ..., first bin, second bin, ... That guess is then verified: every message must
end where the next begins, and the last one with the bytes. By induction over the messages, bytes that
pass can only be parsed this way. Where a value looks like the begin of a message, the true ones are
found by going from each to the one that begins at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from connector.aerospike.wire.messages import (
    DIGEST_BYTES,
    DIGEST_FIELD,
    HEADER_BYTES,
    KEY_FIELD,
    PARTITION_DONE,
    SET_FIELD,
)
from connector.aerospike.wire.particles import Bytes, Ints, Particles, Type, words
from connector.errors import StoreError

_Flags: TypeAlias = "npt.NDArray[np.bool_]"
_Rows: TypeAlias = "slice | Ints"

# The first word of a header: its size, four bytes of flags, the result, half of the generation. A record has
# one flag at most, that it comes without bins; what tells of a partition has another, and a result.
_RECORD_MASK, _TOLD_MASK = 0xFFDFFFFFFFFF0000, 0xFFFFFFFFFF000000
_RECORD_WORD = HEADER_BYTES << 56
_TOLD_WORD = _RECORD_WORD | PARTITION_DONE << 32
_ONE_FIELD = 1 << 16  # in the last word: four bytes that are 0, the number of fields, that of bins
_MOST_FIELDS = 16
_FIELD_LEAD, _BIN_LEAD = 5, 8  # bytes before the value of a field, and before the name of a bin
_MOST_NAME, _NAME_WORD = 15, 8  # bytes
_ALL = slice(None)


@dataclass(frozen=True)
class Records:
    """The records of a reply, in the order in which they came.

    Attributes:
        generations: of each record; shape (rows,).
        void_times: when each expires, in seconds since 2010, 0 for never; shape (rows,).
        digests: their digests.
        sets: the name of each one's set.
        keys: the user keys.
        bins: the wanted bins.
        failed: the partitions that could not be read, with the server's results.
    """

    data: Bytes
    generations: Ints
    void_times: Ints
    digests: Particles
    sets: Particles
    keys: Particles
    bins: tuple[Particles, ...]
    failed: dict[int, int]

    def __len__(self) -> int:
        return len(self.digests)

    def digest(self, row: int) -> bytes:
        """The digest of one record."""
        start = int(self.digests.starts[row])
        return self.data[start : start + DIGEST_BYTES].tobytes()

    def partitions(self) -> Ints:
        """The partition of each record: the lowest 12 bits of its digest; shape (rows,)."""
        starts = self.digests.starts
        low = self.data[starts].astype(np.int64)
        return low | (self.data[starts + 1].astype(np.int64) & 0x0F) << 8


def parse_records(data: Bytes, size: int, names: Sequence[str]) -> Records:
    """The records in received messages.

    Args:
        data: the messages one after the other, and SPARE_BYTES behind them.
        size: how many bytes they are.
        names: the bins wanted.

    Raises:
        StoreError: these are no such messages.
    """
    heads = _Heads.of(data, size)
    walk = _Walk(data, size, heads)
    found = walk.records([name.encode() for name in names])
    rows = _chained(heads.starts, walk.ends, walk.broken, size)
    failed: dict[int, int] = {}
    told = heads.told[rows]
    if told.any():
        index = np.arange(len(heads.starts))[rows]
        failed = heads.failed(index[told])
        rows = index[~told]
    digests = found.digests[rows]
    if (digests.lengths != DIGEST_BYTES).any():
        raise StoreError("the node sent a record without its digest")
    return Records(
        data,
        heads.generations[rows],
        heads.void_times[rows],
        digests,
        found.sets[rows],
        found.keys[rows],
        tuple(column[rows] for column in found.bins),
        failed,
    )


@dataclass(frozen=True)
class _Heads:
    """What the headers say of what may be messages, that is records or tell of a partition.

    All of shape (candidates,).
    """

    starts: Ints
    told: _Flags
    results: Ints
    generations: Ints
    void_times: Ints
    fields: Ints
    bins: Ints

    @classmethod
    def of(cls, data: Bytes, size: int) -> _Heads:
        starts = np.flatnonzero(data[: max(0, size - HEADER_BYTES + 1)] == HEADER_BYTES)
        view = words(data)
        first, last = view[starts].astype(np.uint64), view[starts + 14].astype(np.uint64)
        likely = (first & _RECORD_MASK) == _RECORD_WORD
        likely &= (last >= _ONE_FIELD) & (last < _MOST_FIELDS * _ONE_FIELD)
        likely |= ((first & _TOLD_MASK) == _TOLD_WORD) & (last == 0)
        starts, first, last = starts[likely], first[likely], last[likely].astype(np.int64)
        middle = view[starts + 6].astype(np.uint64)
        return cls(
            starts,
            (first >> 32).astype(np.int64) & PARTITION_DONE != 0,
            (first >> 16).astype(np.int64) & 0xFF,
            (middle >> 32).astype(np.int64),
            middle.astype(np.int64) & 0xFFFFFFFF,
            last >> 16,
            last & 0xFFFF,
        )

    def failed(self, rows: Ints) -> dict[int, int]:
        """The partitions that could not be read, with the results."""
        partitions, results = self.generations[rows].tolist(), self.results[rows].tolist()
        return {pid: result for pid, result in zip(partitions, results, strict=True) if result}


class _Column:
    """Where the values of one bin or field are, as they are found."""

    def __init__(self, count: int) -> None:
        self.kinds = np.zeros(count, np.int64)
        self.starts = np.zeros(count, np.int64)
        self.lengths = np.zeros(count, np.int64)

    def put(self, rows: _Rows, which: _Flags, kinds: Ints, starts: Ints, lengths: Ints) -> None:
        """Note what was found in those of the rows that ``which`` tells."""
        if not which.all():
            rows = np.flatnonzero(which) if isinstance(rows, slice) else rows[which]
            kinds, starts, lengths = kinds[which], starts[which], lengths[which]
        self.kinds[rows], self.starts[rows], self.lengths[rows] = kinds, starts, lengths

    def particles(self, data: Bytes) -> Particles:
        return Particles(data, self.kinds, self.starts, self.lengths)


@dataclass(frozen=True)
class _Found:
    """What was found behind the headers of what may be messages."""

    digests: Particles
    sets: Particles
    keys: Particles
    bins: tuple[Particles, ...]


class _Walk:
    """Goes through what may be messages side by side.

    Attributes:
        ends: where each ends, as far as is known; shape (candidates,).
        broken: those that can be no messages; shape (candidates,).
    """

    def __init__(self, data: Bytes, size: int, heads: _Heads) -> None:
        self._data, self._size, self._heads = data, size, heads
        self._view = words(data)
        self.ends = heads.starts + HEADER_BYTES
        self.broken = np.zeros(len(self.ends), np.bool_)

    def records(self, names: Sequence[bytes]) -> _Found:
        digests, sets, keys = (self._column() for _ in range(3))
        for rows in self._each(self._heads.fields):
            self._field(rows, digests, sets, keys)
        columns = {name: self._column() for name in names}
        for rows in self._each(self._heads.bins):
            self._bin(rows, columns)
        data = self._data
        return _Found(
            digests.particles(data),
            sets.particles(data),
            keys.particles(data),
            tuple(columns[name].particles(data) for name in names),
        )

    def _column(self) -> _Column:
        return _Column(len(self.ends))

    def _each(self, counts: Ints) -> Iterator[_Rows]:
        """The candidates that have a first one of these, then those that have a second, and so on."""
        at = 0
        while True:
            left = (counts > at) & ~self.broken
            if not left.any():
                return
            yield _ALL if left.all() else np.flatnonzero(left)
            at += 1

    def _field(self, rows: _Rows, digests: _Column, sets: _Column, keys: _Column) -> None:
        at = self.ends[rows].copy()
        word = self._view[at].astype(np.uint64)
        size, kinds = (word >> 32).astype(np.int64), (word >> 24).astype(np.int64) & 0xFF
        starts, lengths = at + _FIELD_LEAD, size - 1
        self._end(rows, at + 4 + size, lengths < 0)
        for field, kind, column in (
            (DIGEST_FIELD, Type.BLOB, digests),
            (SET_FIELD, Type.STRING, sets),
        ):
            if (which := kinds == field).any():
                column.put(rows, which, np.full(len(at), kind, np.int64), starts, lengths)
        if (which := kinds == KEY_FIELD).any():  # which begins with its type
            types = self._data[starts].astype(np.int64)
            keys.put(rows, which, types, starts + 1, lengths - 1)

    def _bin(self, rows: _Rows, columns: dict[bytes, _Column]) -> None:
        at = self.ends[rows].copy()
        word = self._view[at].astype(np.uint64)
        size, low = (word >> 32).astype(np.int64), word.astype(np.int64)
        kinds, named = low >> 16 & 0xFF, low & 0xFF
        lengths = size - 4 - named
        wrong = (lengths < 0) | (named > _MOST_NAME)
        self._end(rows, at + 4 + size, wrong)
        if not columns:
            return
        named[wrong] = 0  # which no bin has
        starts = at + _BIN_LEAD
        for name, which in self._names(starts, named):
            if (column := columns.get(name)) is not None:
                column.put(rows, which, kinds, starts + named, lengths)

    def _names(self, starts: Ints, lengths: Ints) -> Iterator[tuple[bytes, _Flags]]:
        """The different names, and in which places each is."""
        left = np.ones(len(starts), np.bool_)
        while left.any():
            first = int(np.argmax(left))
            start, length = int(starts[first]), int(lengths[first])
            name = self._data[start : start + length].tobytes()
            same = lengths == length
            for done in range(0, length, _NAME_WORD):
                part = name[done : done + _NAME_WORD]
                shift = np.uint64(8 * (_NAME_WORD - len(part)))
                found = self._view[starts + done].astype(np.uint64) >> shift
                same &= found == np.uint64(int.from_bytes(part, "big"))
            yield name, same
            left &= ~same

    def _end(self, rows: _Rows, ends: Ints, wrong: _Flags) -> None:
        """Note where what was looked at ends; beyond the bytes, it was none."""
        wrong |= ends > self._size
        self.ends[rows] = np.where(wrong, 0, ends)
        if wrong.any():
            self.broken[rows] |= wrong


def _chained(starts: Ints, ends: Ints, broken: _Flags, size: int) -> _Rows:
    """Which of what may be messages are: from the first on, each one that begins where the last ended.

    Raises:
        StoreError: they do not fill the bytes.
    """
    if not size and not len(starts):
        return _ALL
    whole = len(starts) and starts[0] == 0 and ends[-1] == size
    if whole and not broken.any() and np.array_equal(starts[1:], ends[:-1]):
        return _ALL
    place = dict(zip(starts.tolist(), range(len(starts)), strict=True))
    stops, wrong = ends.tolist(), broken.tolist()
    found: list[int] = []
    at = 0
    while at < size:
        row = place.get(at)
        if row is None or wrong[row]:
            raise StoreError(f"the node sent what is no message at byte {at} of {size}")
        found.append(row)
        at = stops[row]
    return np.array(found, np.int64)
