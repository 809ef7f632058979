"""The lines of received bytes, and the numbers in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

CR, LF = 13, 10
MOST_DIGITS = 18  # that int64 holds, and far more than any length has
ARRAY, BULK, INTEGER, MINUS, STATE, ZERO = np.frombuffer(b"*$:-+0", np.uint8)
MOST_BYTES = (1 << 31) - 1  # that a value can have: what the offsets of Arrow's arrays can hold

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class ProtocolError(Exception):
    """The bytes are not the replies that were expected; the connection cannot be used on."""


def line_ends(data: Bytes, start: int = 0) -> Ints:
    """Positions of every CR that an LF follows, from ``start`` on."""
    found: Ints = np.flatnonzero((data[start:-1] == CR) & (data[start + 1 :] == LF))
    return found + start if start else found


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
        nils[short] = (self.data[starts + 1] == MINUS) & (self.data[starts] == BULK)
        return nils

    @cached_property
    def errors(self) -> Flags:
        """Which lines begin as an error reply does: with a minus and a letter."""
        errors: Flags = self.kinds == MINUS
        minus = np.flatnonzero(errors)
        letter = self.data[self.starts[minus] + 1] | 0x20
        errors[minus] = (letter >= ord("a")) & (letter <= ord("z"))
        return errors

    @property
    def may_hold_errors(self) -> bool:
        return bool(self.errors.any())

    def text(self, line: int) -> bytes:
        return self.data[self.starts[line] : self.ends[line]].tobytes()

    def length_after(self, line: int) -> int:
        """Bytes up to the end of the line before ``line``."""
        return int(self.ends[line - 1]) + 2 if line else 0


def check_opening(lines: Lines, opening: bytes) -> None:
    """Refuse other kinds of replies at the first: there may be no more bytes to wait for."""
    first = lines.data[: len(opening)].tobytes()
    if first[:1] != b"-" and first != opening[: len(first)]:
        raise ProtocolError(f"expected {opening!r}, got {lines.data[:40].tobytes()!r}")


def parse_numbers(data: Bytes, starts: Ints, ends: Ints) -> tuple[Ints, Flags]:
    """The decimal numbers from ``starts`` to ``ends``, and which of them are such numbers."""
    digits = ends - starts
    first = data.take(starts, mode="clip") - ZERO  # unsigned: what is below "0" becomes large
    found = first.astype(np.int64)
    right = (first <= 9) & (digits > 0) & (digits <= MOST_DIGITS)
    longer = np.flatnonzero(digits > 1)
    right[longer] &= found[longer] > 0  # a server writes no leading zeros
    for i in range(1, MOST_DIGITS):
        if not len(longer):
            break
        digit = data.take(starts[longer] + i, mode="clip") - ZERO
        right[longer] &= digit <= 9
        found[longer] = found[longer] * 10 + digit
        longer = longer[digits[longer] > i + 1]
    return found, right


def parse_lengths(data: Bytes, starts: Ints, ends: Ints) -> Ints:
    """The number in each header ``$n``: -1 for ``$-1``, -2 where it is no such header."""
    opens, closes = starts.ravel(), ends.ravel()
    found, right = parse_numbers(data, opens + 1, closes)
    bulk = data.take(opens, mode="clip") == BULK
    found[~(right & bulk)] = -2
    minus = np.flatnonzero(
        bulk & (closes - opens == 3) & (data.take(opens + 1, mode="clip") == MINUS)
    )
    found[minus] = np.where(data.take(opens[minus] + 2, mode="clip") == ZERO + 1, -1, -2)
    lengths: Ints = found.reshape(starts.shape)
    return lengths
