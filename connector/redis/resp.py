"""Parsing a run of like RESP replies with array kernels instead of one object per value.

The bytes of many replies are cut at every CR LF at once. Where no value holds a CR LF, the lines
alternate between headers and values, and reshape to rows. That guess is then verified: every header
must be of its kind, and every length must equal the distance to the next line's end. By induction
over the lines, bytes that pass can only be parsed this way. What does not pass (values with CR LF
inside, error replies) is walked from header to header instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

_CR, _LF = 13, 10
_MOST_DIGITS = 18  # that int64 holds, and far more than any length has
_ARRAY, _BULK, _INTEGER, _MINUS, _STATE, _ZERO = np.frombuffer(b"*$:-+0", np.uint8)
_ONE_LINE = np.array([_ARRAY, _INTEGER, _MINUS, _STATE], np.uint8)

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class ProtocolError(Exception):
    """The bytes are not the replies that were expected; the connection cannot be used on."""


def line_ends(data: Bytes, start: int = 0) -> Ints:
    """Positions of every CR that an LF follows, from ``start`` on."""
    found = np.flatnonzero(data[start:] == _CR) + start
    if len(found) and found[-1] == len(data) - 1:
        found = found[:-1]
    ends: Ints = found[data[found + 1] == _LF]
    return ends


@dataclass(frozen=True)
class Lines:
    """Received bytes and the CR of each complete line in them.

    ``data`` begins where a reply begins.
    """

    data: Bytes
    ends: Ints

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def starts(self) -> Ints:
        starts = np.empty_like(self.ends)
        starts[:1] = 0
        starts[1:] = self.ends[:-1] + 2
        return starts

    @cached_property
    def kinds(self) -> Bytes:
        """First byte of each line; CR where it is empty."""
        return self.data[self.starts]

    @cached_property
    def nils(self) -> Flags:
        """Which lines read ``$-1``."""
        nils: Flags = self.ends - self.starts == 3
        short = np.flatnonzero(nils)
        starts = self.starts[short]
        nils[short] = (self.data[starts + 1] == _MINUS) & (self.data[starts] == _BULK)
        return nils

    @cached_property
    def may_hold_errors(self) -> bool:
        """Whether a line begins as an error reply does: a minus and a letter."""
        minus = self.starts[self.kinds == _MINUS]
        letter = self.data[minus + 1] | 0x20
        return bool(((letter >= ord("a")) & (letter <= ord("z"))).any())

    def text(self, line: int) -> bytes:
        return self.data[self.starts[line] : self.ends[line]].tobytes()

    def length_after(self, line: int) -> int:
        """Bytes up to the end of the line before ``line``."""
        return int(self.ends[line - 1]) + 2 if line else 0


@dataclass(frozen=True)
class Values:
    """Where the values of ``rows`` x ``width`` replies lie in the received bytes.

    Attributes:
        data: the received bytes.
        starts: first byte of each value; shape (rows, width).
        lengths: length of each value in bytes, -1 where it is nil; shape (rows, width).
        errors: the rows that were answered with an error, and its text; their values are nil.
        size: how many of the bytes these replies are.
    """

    data: Bytes
    starts: Ints
    lengths: Ints
    errors: dict[int, str]
    size: int

    def columns(self) -> list[pa.Array]:
        """One ``pa.binary()`` array per value of a row, copied out of the received bytes."""
        rows, width = self.starts.shape
        places = np.empty(2 * rows * width + 1, np.int32)
        flat, lengths = self.starts.ravel(), self.lengths.ravel()
        nil = lengths < 0
        if nil.any():
            # Offsets must not fall: a nil is an empty value at the end of the one before it.
            flat = np.maximum.accumulate(np.where(nil, 0, flat))
            stops = np.maximum.accumulate(np.where(nil, 0, flat + lengths))
            flat = np.where(nil, stops, flat)
        else:
            stops = flat + lengths
        places[0:-1:2], places[1::2], places[-1] = flat, stops, self.size
        buffers = [None, pa.py_buffer(places), pa.py_buffer(self.data)]
        # Every second element is a value; those between hold the headers.
        whole = pa.BinaryArray.from_buffers(pa.binary(), len(places) - 1, buffers)
        first = np.arange(rows) * (2 * width)
        return [
            whole.take(pa.array(first + 2 * i, mask=_mask(nil.reshape(rows, width)[:, i])))
            for i in range(width)
        ]


def _mask(nil: Flags) -> Flags | None:
    return nil if nil.any() else None


def parse_values(lines: Lines, rows: int, width: int, header: bytes | None) -> Values | None:
    """Parse replies of ``width`` bulk strings each, or say that bytes are missing.

    Args:
        lines: what has been received.
        rows: how many replies to parse.
        width: bulk strings in a reply.
        header: the line that opens a reply, such as ``*5``; None where the strings stand alone.

    Returns:
        The values, or None while the replies are not complete.

    Raises:
        ProtocolError: these are not such replies.
    """
    if not rows:
        empty = np.empty((0, width), np.int64)
        return Values(lines.data, empty, empty, {}, 0)
    if len(lines) < rows:
        return None
    found, complete = _reshaped(lines, rows, width, header)
    if found or not (complete or lines.may_hold_errors):
        return found
    return _walked(lines, rows, width, header)


def _reshaped(
    lines: Lines, rows: int, width: int, header: bytes | None
) -> tuple[Values | None, bool]:
    """The fast path: the values, if the replies have one shape; and whether it had enough lines."""
    lead = 0 if header is None else 1
    slots = rows * (lead + 2 * width)
    nils = lines.nils[:slots]
    starts, ends, last = (
        lines.starts[:slots],
        lines.ends[:slots],
        min(slots, len(lines)),
    )
    if nils.any():
        # A nil has no value line: leave an empty slot (-1) after it.
        at = np.arange(len(nils)) + np.cumsum(nils) - nils
        last = int(np.searchsorted(at, slots))
        spread = np.full((2, slots), -1, np.int64)
        spread[0, at[:last]], spread[1, at[:last]] = starts[:last], ends[:last]
        starts, ends = spread
        if at[last - 1] + 1 + nils[last - 1] < slots:
            return None, False
    elif len(starts) < slots:
        return None, False
    starts, ends = starts.reshape(rows, -1), ends.reshape(rows, -1)
    if header is not None and not _all_equal(lines.data, starts[:, 0], ends[:, 0], header):
        return None, True
    opens, closes = starts[:, lead::2], ends[:, lead::2]
    values, stops = starts[:, lead + 1 :: 2], ends[:, lead + 1 :: 2]
    lengths = _lengths(lines.data, opens, closes)
    nil = values < 0
    right = np.where(nil, lengths == -1, lengths == stops - values)
    if not right.all() or (opens < 0).any():
        return None, True
    return Values(lines.data, values, lengths, {}, lines.length_after(last)), True


def _all_equal(data: Bytes, starts: Ints, ends: Ints, expected: bytes) -> bool:
    if starts.min() < 0 or not (ends - starts == len(expected)).all():
        return False
    return all((data[starts + i] == byte).all() for i, byte in enumerate(expected))


def _numbers(data: Bytes, starts: Ints, ends: Ints) -> tuple[Ints, Flags]:
    """The decimal numbers from ``starts`` to ``ends``, and which of them are such numbers."""
    digits = ends - starts
    first = data.take(starts, mode="clip") - _ZERO  # unsigned: what is below "0" becomes large
    found = first.astype(np.int64)
    right = (first <= 9) & (digits > 0) & (digits <= _MOST_DIGITS)
    longer = np.flatnonzero(digits > 1)
    for i in range(1, _MOST_DIGITS):
        if not len(longer):
            break
        digit = data.take(starts[longer] + i, mode="clip") - _ZERO
        right[longer] &= digit <= 9
        found[longer] = found[longer] * 10 + digit
        longer = longer[digits[longer] > i + 1]
    return found, right


def _lengths(data: Bytes, starts: Ints, ends: Ints) -> Ints:
    """The number in each header ``$n``: -1 for ``$-1``, -2 where it is no such header."""
    opens, closes = starts.ravel(), ends.ravel()
    found, right = _numbers(data, opens + 1, closes)
    bulk = data.take(opens, mode="clip") == _BULK
    found[~(right & bulk)] = -2
    minus = np.flatnonzero(
        bulk & (closes - opens == 3) & (data.take(opens + 1, mode="clip") == _MINUS)
    )
    found[minus] = np.where(data.take(opens[minus] + 2, mode="clip") == _ZERO + 1, -1, -2)
    lengths: Ints = found.reshape(starts.shape)
    return lengths


def _walked(lines: Lines, rows: int, width: int, header: bytes | None) -> Values | None:
    """The slow path: from header to header, over values that hold any bytes."""
    lengths = _lengths(lines.data, lines.starts, lines.ends)
    stops = np.where(lengths >= 0, lines.ends + 2 + lengths, lines.ends)
    last = np.searchsorted(lines.ends, stops)  # the line in which each bulk string ends
    ends = np.append(lines.ends, -1)
    broken = (lengths < -1) | ((last < len(lines)) & (ends[last] != stops))
    after, bad = (last + 1).tolist(), broken.tolist()
    kinds, total = lines.kinds.tolist(), len(lines)
    heads = np.full((rows, width), -1, np.int64)
    errors: dict[int, str] = {}
    line = 0
    for row in range(rows):
        if line >= total:
            return None
        if kinds[line] == _MINUS:
            errors[row] = lines.text(line)[1:].decode("utf-8", "replace")
            line += 1
            continue
        if header is not None:
            if lines.text(line) != header:
                raise ProtocolError(f"expected {header!r}, got {lines.text(line)[:40]!r}")
            line += 1
        for i in range(width):
            if line >= total:
                return None
            if bad[line]:
                raise ProtocolError(f"expected a bulk string, got {lines.text(line)[:40]!r}")
            heads[row, i] = line
            line = after[line]
    if line > total:
        return None
    found = np.where(heads < 0, -1, lengths[heads])
    values = np.where(found < 0, 0, lines.ends[heads] + 2)
    return Values(lines.data, values, found, errors, lines.length_after(line))


@dataclass(frozen=True)
class Statuses:
    """Replies of one line each (integers, states, errors, headers of arrays of such), in order.

    Attributes:
        numbers: each integer reply; 0 for one that is no integer.
        errors: which replies are errors, and their texts.
        size: how many of the received bytes these replies are.
    """

    numbers: Ints
    errors: dict[int, str]
    size: int


def parse_statuses(lines: Lines, count: int, queued: int = 0) -> Statuses | None:
    """Parse ``count`` replies of one line each.

    Args:
        lines: what has been received.
        count: how many lines there are if no transaction is refused.
        queued: commands in each transaction. EXEC of a refused transaction is answered by an error
            alone, without the replies to these commands: they are counted as if they were there.

    Returns:
        The replies, or None while they are not complete.

    Raises:
        ProtocolError: a reply is of another kind.
    """
    least = count * (2 + queued) // (2 + 2 * queued)  # where every transaction is refused
    if len(lines) < least:
        return None
    kinds = lines.kinds[:count]
    errors = {
        i: lines.text(i)[1:].decode("utf-8", "replace")
        for i in np.flatnonzero(kinds == _MINUS).tolist()
    }
    refused = np.zeros(len(kinds), np.int64)
    if queued:
        refused[[i for i, text in errors.items() if text.startswith("EXECABORT")]] = queued
    at = np.arange(len(kinds)) + np.cumsum(refused) - refused
    mine = at < count
    if count and (not len(at) or (at + 1 + refused)[mine][-1] < count):
        return None
    kinds, at, used = kinds[mine], at[mine], int(mine.sum())
    wrong = np.flatnonzero(~np.isin(kinds, _ONE_LINE))
    if len(wrong):
        raise ProtocolError(f"expected a number, got {lines.text(int(wrong[0]))[:40]!r}")
    number = np.flatnonzero(kinds == _INTEGER)
    opens, closes = lines.starts[number] + 1, lines.ends[number]
    negative = lines.data[opens] == _MINUS
    values, right = _numbers(lines.data, opens + negative, closes)
    if not right.all():
        raise ProtocolError(
            f"expected a number, got {lines.text(int(number[np.argmin(right)]))[:40]!r}"
        )
    numbers = np.zeros(count, np.int64)
    numbers[at[number]] = np.where(negative, -values, values)
    found = {int(at[line]): text for line, text in errors.items() if line < used}
    return Statuses(numbers, found, lines.length_after(used))


def parse_page(lines: Lines) -> tuple[int, Values] | None:
    """Parse one reply to SCAN: the next cursor, and the keys as rows of one value.

    Returns:
        Cursor and keys, or None while the reply is not complete. An error reply is a page of one row
        with that error.

    Raises:
        ProtocolError: this is no such reply.
    """
    if len(lines) and lines.kinds[0] == _MINUS:
        return 0, _walked_or_fail(lines)
    if len(lines) < 4:
        return None
    opening = [lines.text(i) for i in range(4)]
    if opening[0] != b"*2" or opening[3][:1] != b"*" or not opening[2].isdigit():
        raise ProtocolError(f"expected a page of keys, got {opening!r}")
    offset = lines.length_after(4)
    rest = Lines(lines.data[offset:], lines.ends[4:] - offset)
    keys = parse_values(rest, int(opening[3][1:]), 1, None)
    if keys is None:
        return None
    size = offset + keys.size
    return int(opening[2]), Values(lines.data, keys.starts + offset, keys.lengths, {}, size)


def _walked_or_fail(lines: Lines) -> Values:
    found = _walked(lines, 1, 1, None)
    if found is None:
        raise ProtocolError("an error reply does not end")
    return found
