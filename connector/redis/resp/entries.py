"""Parsing replies that are pages of stream entries, as those of XRANGE.

A page is an array of entries, an entry an array of its ID and an array of its fields: names and values
in turn, at least one of each. As in connector/redis/resp/values.py a guess is verified: that every line
which begins with a star opens an array. If those lines stand where their numbers say, and every bulk
string has the length that its header says, the bytes can only be parsed this way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from connector.redis.resp.lines import (
    ARRAY,
    MOST_BYTES,
    Ints,
    Lines,
    ProtocolError,
    check_opening,
    parse_lengths,
    parse_numbers,
)
from connector.redis.resp.values import Values

_HEADER = re.compile(rb"\*(0|[1-9][0-9]{0,8})")
_ENTRY = 2  # elements of an entry: its ID, and its fields


@dataclass(frozen=True)
class Entries:
    """Pages of entries.

    Attributes:
        counts: how many entries each reply has; 0 for one that is an error; shape (rows,).
        widths: how many bulk strings the fields of each entry are: twice their number; shape (entries,).
        values: the bulk strings of all entries, one after the other, as rows of one value: its ID, the
            name of its first field, that field's value, and so on.
        errors: the replies that are errors, and their texts.
    """

    counts: Ints
    widths: Ints
    values: Values
    errors: dict[int, str]

    @property
    def size(self) -> int:
        return self.values.size


def parse_entries(lines: Lines, rows: int) -> Entries | None:
    """Parse ``rows`` replies that are pages of entries, or errors.

    Returns:
        The replies, or None while they are not complete.

    Raises:
        ProtocolError: these are no such replies.
    """
    if not rows:
        none = np.empty(0, np.int64)
        return Entries(none, none, _values(lines, none, none, 0), {})
    check_opening(lines, b"*")
    if len(lines) < rows:
        return None
    found, complete = _reshaped(lines, rows)
    if found or not (complete or lines.may_hold_errors):
        return found
    return _walked(lines, rows)


_Reshaped: TypeAlias = tuple[Entries | None, bool]


def _reshaped(lines: Lines, rows: int) -> _Reshaped:
    """The fast path: the replies, if only arrays begin with a star; and whether that is decided.

    Nothing but the bytes that were received is taken for granted before the verdict that some are
    missing: a value that only looks like the beginning of an array would be waited for in vain.
    """
    stars = np.flatnonzero(lines.kinds == ARRAY)
    numbers, right = parse_numbers(lines.data, lines.starts[stars] + 1, lines.ends[stars])
    if not right.all() or not len(stars) or stars[0]:
        return None, True
    if stars[-1] + 1 == len(lines) and numbers[-1]:
        stars, numbers = stars[:-1], numbers[:-1]  # what it opens has yet to come
    kinds = np.append(lines.kinds, 0)
    pages = np.flatnonzero((numbers == 0) | (kinds[stars + 1] == ARRAY))[:rows]
    if not len(pages):
        return None, bool(len(stars))
    last = int(pages[-1] + 1 + 2 * numbers[pages[-1]])
    stars, numbers = stars[:last], numbers[:last]
    after = np.diff(np.append(pages, len(stars)))  # stars from each page to the next
    whole = after == 1 + 2 * numbers[pages]
    place = np.arange(len(stars)) - np.repeat(pages, after)
    entries = np.flatnonzero(place % 2 == 1)
    fields = np.flatnonzero((place > 0) & (place % 2 == 0))
    steps = np.ones(len(stars), np.int64)
    steps[entries], steps[fields] = 3, 1 + 2 * numbers[fields]
    stops = stars + steps
    if not (
        whole[:-1].all()
        and after[-1] <= 1 + 2 * numbers[pages[-1]]
        and np.array_equal(stops[:-1], stars[1:])
        and (numbers[entries] == _ENTRY).all()
        and (numbers[fields] % 2 == 0).all()
    ):
        return None, True
    complete = len(pages) == rows and bool(whole[-1]) and stops[-1] <= len(lines)
    bulk = np.ones(min(int(stops[-1]), len(lines)), np.bool_)
    bulk[stars] = False
    at = np.flatnonzero(bulk)
    pairs = at[: len(at) // 2 * 2].reshape(-1, 2)
    lengths = parse_lengths(lines.data, lines.starts[pairs[:, 0]], lines.ends[pairs[:, 0]])
    starts = lines.starts[pairs[:, 1]]
    if not np.array_equal(lengths, lines.ends[pairs[:, 1]] - starts):
        return None, True
    if not complete:
        return None, False
    size = lines.length_after(int(stops[-1]))
    values = _values(lines, starts, lengths, size)
    return Entries(numbers[pages], numbers[fields], values, {}), True


def _walked(lines: Lines, rows: int) -> Entries | None:
    """The slow path: from header to header, over values that hold any bytes."""
    walk = _Walk(lines)
    counts = np.zeros(rows, np.int64)
    widths: list[int] = []
    errors: dict[int, str] = {}
    for row in range(rows):
        if walk.at < len(lines) and lines.errors[walk.at]:
            errors[row] = lines.text(walk.at)[1:].decode("utf-8", "replace")
            walk.at += 1
            continue
        count = walk.array()
        for _ in range(count or 0):
            shape = walk.array()
            if shape not in (None, _ENTRY):
                raise ProtocolError(f"expected an entry of a stream, got {shape} elements")
            walk.bulk()
            width = walk.array()
            if width is not None and width % 2:
                raise ProtocolError(f"expected names and values of fields, got {width} elements")
            for _ in range(width or 0):
                walk.bulk()
            widths.append(width or 0)
            if walk.short:
                return None
        if walk.short or count is None:
            return None
        counts[row] = count
    heads = np.array(walk.heads, np.int64)
    starts = lines.ends[heads] + 2
    values = _values(lines, starts, walk.lengths[heads], lines.length_after(walk.at))
    return Entries(counts, np.array(widths, np.int64), values, errors)


class _Walk:
    """A place among lines that moves on element by element, until there are no more."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.at = 0
        self.short = False
        self.heads: list[int] = []
        self.lengths = parse_lengths(lines.data, lines.starts, lines.ends)
        stops = np.where(self.lengths >= 0, lines.ends + 2 + self.lengths, -1)
        last = np.searchsorted(lines.ends, stops)
        ends = np.append(lines.ends, -1)
        broken = (self.lengths < 0) | ((last < len(lines)) & (ends[last] != stops))
        self._bad = (broken | (self.lengths > MOST_BYTES)).tolist()
        self._after = (last + 1).tolist()

    def array(self) -> int | None:
        """Over the header of an array: how many elements it has, None where it has not come."""
        if self.at >= len(self._lines):
            self.short = True
            return None
        text = self._lines.text(self.at)
        if not _HEADER.fullmatch(text):
            raise ProtocolError(f"expected an array, got {text[:40]!r}")
        self.at += 1
        return int(text[1:])

    def bulk(self) -> None:
        """Over a bulk string."""
        if self.at >= len(self._lines):
            self.short = True
            return
        if self._bad[self.at]:
            raise ProtocolError(f"expected a bulk string, got {self._lines.text(self.at)[:40]!r}")
        self.heads.append(self.at)
        self.at = self._after[self.at]
        self.short = self.short or self.at > len(self._lines)


def _values(lines: Lines, starts: Ints, lengths: Ints, size: int) -> Values:
    shape = (len(starts), 1)
    return Values(lines.data, starts.reshape(shape), lengths.reshape(shape), {}, size)
