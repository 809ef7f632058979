"""Parsing replies that are arrays of any number of bulk strings, such as those of LRANGE.

As in connector/redis/resp/values.py a guess is verified: that every line which begins with a star opens a
reply. If the distances between those lines are what their numbers say, and every bulk string has the
length that its header says, the bytes can only be parsed this way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connector.redis.resp.lines import (
    ARRAY,
    MOST_BYTES,
    Bytes,
    Ints,
    Lines,
    ProtocolError,
    check_opening,
    parse_lengths,
    parse_numbers,
)
from connector.redis.resp.values import Values

_HEADER = re.compile(rb"\*(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Arrays:
    """Replies of any number of values each.

    Attributes:
        counts: how many values each reply has; 0 for one that is an error; shape (rows,).
        values: the values of all replies, one after the other, as rows of one value.
        errors: the replies that are errors, and their texts.
        size: how many of the received bytes these replies are.
    """

    counts: Ints
    values: Values
    errors: dict[int, str]

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def offsets(self) -> pa.Array:
        """Where each reply's values begin, and the end of the last: offsets of a list array."""
        return pa.array(np.concatenate([[0], np.cumsum(self.counts)]), pa.int32())

    def flat(self) -> pa.Array:
        """All values as ``pa.binary()``."""
        return self.values.columns()[0]


def parse_arrays(lines: Lines, rows: int) -> Arrays | None:
    """Parse ``rows`` replies that are arrays of bulk strings, or errors.

    Returns:
        The replies, or None while they are not complete.

    Raises:
        ProtocolError: these are no such replies.
    """
    if not rows:
        return Arrays(np.empty(0, np.int64), _values(lines.data, [], [], 0), {})
    check_opening(lines, b"*")
    if len(lines) < rows:
        return None
    found, complete = _reshaped(lines, rows)
    if found or not (complete or lines.may_hold_errors):
        return found
    return _walked(lines, rows)


def _reshaped(lines: Lines, rows: int) -> tuple[Arrays | None, bool]:
    """The fast path: the replies, if only headers begin with a star; and whether that is decided.

    What was received is verified before the verdict that more has to come: a value that only looks like
    the beginning of a reply would be waited for in vain.
    """
    stars = np.flatnonzero(lines.kinds == ARRAY)[:rows]
    counts, right = parse_numbers(lines.data, lines.starts[stars] + 1, lines.ends[stars])
    opens = np.concatenate([[0], stars[:-1] + 1 + 2 * counts[:-1]]) if len(stars) else stars
    if not right.all() or not np.array_equal(opens, stars):
        return None, True
    if len(stars) < rows:
        return None, False
    stop = int(stars[-1] + 1 + 2 * counts[-1])
    bulk = np.ones(min(stop, len(lines)), np.bool_)
    bulk[stars] = False
    at = np.flatnonzero(bulk)
    pairs = at[: len(at) // 2 * 2].reshape(-1, 2)
    lengths = parse_lengths(lines.data, lines.starts[pairs[:, 0]], lines.ends[pairs[:, 0]])
    starts = lines.starts[pairs[:, 1]]
    if not np.array_equal(lengths, lines.ends[pairs[:, 1]] - starts):
        return None, True
    if stop > len(lines):
        return None, False
    size = lines.length_after(stop)
    return Arrays(counts, _values(lines.data, starts, lengths, size), {}), True


def _walked(lines: Lines, rows: int) -> Arrays | None:
    """The slow path: from header to header, over values that hold any bytes."""
    lengths = parse_lengths(lines.data, lines.starts, lines.ends)
    stops = np.where(lengths >= 0, lines.ends + 2 + lengths, -1)
    last = np.searchsorted(lines.ends, stops)
    ends = np.append(lines.ends, -1)
    broken = (lengths < 0) | ((last < len(lines)) & (ends[last] != stops))
    broken |= lengths > MOST_BYTES
    after, bad, failed, total = (
        (last + 1).tolist(),
        broken.tolist(),
        lines.errors.tolist(),
        len(lines),
    )
    counts = np.zeros(rows, np.int64)
    heads: list[int] = []
    errors: dict[int, str] = {}
    line = 0
    for row in range(rows):
        if line >= total:
            return None
        text = lines.text(line)
        line += 1
        if failed[line - 1]:
            errors[row] = text[1:].decode("utf-8", "replace")
            continue
        if not _HEADER.fullmatch(text):
            raise ProtocolError(f"expected an array, got {text[:40]!r}")
        counts[row] = int(text[1:])
        for _ in range(counts[row]):
            if line >= total:
                return None
            if bad[line]:
                raise ProtocolError(f"expected a bulk string, got {lines.text(line)[:40]!r}")
            heads.append(line)
            line = after[line]
    if line > total:
        return None
    starts = lines.ends[heads] + 2 if heads else np.empty(0, np.int64)
    size = lines.length_after(line)
    return Arrays(
        counts, _values(lines.data, starts, lengths[heads] if heads else [], size), errors
    )


def _values(data: Bytes, starts: Ints | list[int], lengths: Ints | list[int], size: int) -> Values:
    shape = (len(starts), 1)
    return Values(
        data,
        np.asarray(starts, np.int64).reshape(shape),
        np.asarray(lengths, np.int64).reshape(shape),
        {},
        size,
    )
