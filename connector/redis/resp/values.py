"""Parsing a run of like RESP replies with array kernels instead of one object per value.

The bytes of many replies are cut at every CR LF at once. Where no value holds a CR LF, the lines
alternate between headers and values, and reshape to rows. That guess is then verified: every header
must be of its kind, and every length must equal the distance to the next line's end. By induction
over the lines, bytes that pass can only be parsed this way. What does not pass (values with CR LF
inside, error replies) is walked from header to header instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connector.redis.resp.lines import (
    MOST_BYTES,
    Bytes,
    Ints,
    Lines,
    ProtocolError,
    check_opening,
    parse_lengths,
)


@dataclass(frozen=True)
class Values:
    """Where the values of ``rows`` x ``width`` replies lie in the received bytes.

    Attributes:
        data: the received bytes.
        starts: first byte of each value, never falling; of a nil, where it would be; shape (rows,
            width).
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
        starts, lengths = self.starts.ravel(), self.lengths.ravel()
        nil = lengths < 0
        places[0:-1:2], places[-1] = starts, self.size
        np.add(starts, np.maximum(lengths, 0), out=places[1::2], casting="unsafe")
        buffers = [None, pa.py_buffer(places), pa.py_buffer(self.data)]
        # Every second element is a value; those between hold the headers.
        whole = pa.BinaryArray.from_buffers(pa.binary(), len(places) - 1, buffers)
        # All values of the first column, then all of the second, ...: one gather for all columns.
        order = 2 * np.arange(rows * width).reshape(rows, width).T.ravel()
        values = whole.take(pa.array(order))
        if nil.any():
            valid = np.packbits(~nil.reshape(rows, width).T.ravel(), bitorder="little")
            buffers = [pa.py_buffer(valid), *values.buffers()[1:]]
            values = pa.BinaryArray.from_buffers(pa.binary(), len(order), buffers)
        return [values.slice(i * rows, rows) for i in range(width)]


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
    check_opening(lines, b"$" if header is None else header)
    if len(lines) < rows:
        return None
    found, complete = _reshaped(lines, rows, width, header)
    if found or not (complete or lines.may_hold_errors):
        return found
    return walked(lines, rows, width, header)


def _reshaped(
    lines: Lines, rows: int, width: int, header: bytes | None
) -> tuple[Values | None, bool]:
    """The fast path: the values, if the replies have one shape; and whether it had enough lines."""
    lead = 0 if header is None else 1
    slots = rows * (lead + 2 * width)
    nils = lines.nils[:slots]
    if nils.any():
        # A nil has no value line: leave an empty slot after it.
        at = np.arange(len(nils)) + np.cumsum(nils) - nils
        last = int(np.searchsorted(at, slots))
        if at[last - 1] + 1 + nils[last - 1] < slots:
            return None, False
        line = np.full(slots, -1, np.int64)
        line[at[:last]] = np.arange(last)
    elif len(lines) < slots:
        return None, False
    else:
        last, line = slots, np.arange(slots)
    by_row = line.reshape(rows, -1)
    opens = by_row[:, lead::2].ravel()  # the lines that open the values
    if opens.min() < 0 or (lead and not _all_equal(lines, by_row[:, 0], header)):
        return None, True
    closes = lines.ends[opens]
    lengths = parse_lengths(lines.data, lines.starts[opens], closes)
    found = lines.ends.take(opens + 1, mode="clip") - closes - 2
    right = (lengths == found) & (lengths >= 0)
    if last < slots:
        right |= nils[opens] & (lengths == -1)
    if not right.all():
        return None, True
    shape = (rows, width)
    values = (closes + 2).reshape(shape)
    return Values(lines.data, values, lengths.reshape(shape), {}, lines.length_after(last)), True


def _all_equal(lines: Lines, which: Ints, expected: bytes | None) -> bool:
    """Whether these lines all read as expected."""
    assert expected is not None
    starts = lines.starts[which]
    if which.min() < 0 or not (lines.ends[which] - starts == len(expected)).all():
        return False
    return all((lines.data[starts + i] == byte).all() for i, byte in enumerate(expected))


def walked(lines: Lines, rows: int, width: int, header: bytes | None) -> Values | None:
    """The slow path: from header to header, over values that hold any bytes."""
    lengths = parse_lengths(lines.data, lines.starts, lines.ends)
    stops = np.where(lengths >= 0, lines.ends + 2 + lengths, lines.ends)
    last = np.searchsorted(lines.ends, stops)  # the line in which each bulk string ends
    ends = np.append(lines.ends, -1)
    broken = (lengths < -1) | ((last < len(lines)) & (ends[last] != stops))
    broken |= lengths > MOST_BYTES
    after, bad = (last + 1).tolist(), broken.tolist()
    refused, total = lines.errors.tolist(), len(lines)
    heads = np.empty((rows, width), np.int64)
    errors: dict[int, str] = {}
    line = 0
    for row in range(rows):
        if line >= total:
            return None
        if refused[line]:
            errors[row] = lines.text(line)[1:].decode("utf-8", "replace")
            heads[row] = line
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
    found = lengths[heads]
    found[list(errors)] = -1
    values = lines.ends[heads] + 2
    return Values(lines.data, values, found, errors, lines.length_after(line))
