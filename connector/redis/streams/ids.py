"""IDs of a stream's entries as numbers: compared, stepped, and cut into ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

_ID = re.compile(r"(0|[1-9][0-9]{0,19})(?:-(0|[1-9][0-9]{0,19}))?")
_BITS = 64


@dataclass(frozen=True, order=True, slots=True)
class EntryId:
    """An entry's ID, ``<milliseconds>-<number>``, as one number of 128 bits."""

    number: int

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The ID that a text spells; milliseconds alone are the first ID of that millisecond.

        Raises:
            ValueError: it spells none.
        """
        found = _ID.fullmatch(text.decode() if isinstance(text, bytes) else text)
        parts = [] if found is None else [int(part or 0) for part in found.groups()]
        if not parts or max(parts) >= 1 << _BITS:
            raise ValueError("expected the ID of an entry, such as 1700000000000-0")
        return cls(parts[0] << _BITS | parts[1])

    def __str__(self) -> str:
        return f"{self.number >> _BITS}-{self.number & ((1 << _BITS) - 1)}"

    @property
    def before(self) -> EntryId:
        """The ID right before this one; of the first, itself."""
        return EntryId(max(0, self.number - 1))


BEGINNING = EntryId(0)
"""No entry has this ID: every entry comes after it."""


@dataclass(frozen=True, slots=True)
class IdRange:
    """The entries of one stream from ``first`` to ``last``, both included.

    Attributes:
        key: the stream's key.
        first: the first ID.
        last: the last ID.
    """

    key: str
    first: EntryId
    last: EntryId


def cut(whole: IdRange, parts: int) -> Iterator[IdRange]:
    """Cut a range into at most ``parts`` ranges of about as many IDs each, in order.

    IDs begin with the time, so these are equal times; where all share a millisecond, equal numbers.
    """
    first, stop = whole.first.number, whole.last.number + 1
    parts = min(parts, stop - first)
    cuts = [first + (stop - first) * i // parts for i in range(parts + 1)]
    for low, high in pairwise(cuts):
        yield IdRange(whole.key, EntryId(low), EntryId(high - 1))
