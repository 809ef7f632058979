"""What reads of stores have in common: a rule for values that do not fit, and counts of what was met."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import Self


class OnBadField(enum.Enum):
    """What to do with a stored value that is not of its column's type."""

    ERROR = "error"
    NULL = "null"
    DROP = "drop"


@dataclass
class ReadCounts:
    """What a read met.

    Attributes:
        rows: rows handed on.
        bad_fields: values that are not of their column's type and were read as null.
        dropped_rows: rows left out because of such a value.
    """

    rows: int = 0
    bad_fields: int = 0
    dropped_rows: int = 0

    def add(self, other: Self) -> None:
        """Add the counts of another read to these."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
