"""What compiled expressions are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from .records import Record


class Kind(IntEnum):
    """Types of expressions."""

    NIL = 0
    BOOL = 1
    INT = 2
    STR = 3
    LIST = 4
    MAP = 5
    BLOB = 6
    FLOAT = 7
    GEOJSON = 8
    HLL = 9


class Unknown:
    """The value of what cannot be evaluated."""


UNKNOWN = Unknown()


@dataclass(slots=True)
class Scope:
    """What an expression is evaluated on: a record, and the variables defined so far."""

    record: Record
    variables: dict[bytes, Any]


Evaluate = Callable[[Scope], Any]


@dataclass(frozen=True, slots=True)
class Node:
    """A compiled expression: its type (None: it is unknown itself) and how to evaluate it."""

    kind: Kind | None
    evaluate: Evaluate


_PREFIXES = {Kind.STR: b"\x03", Kind.BLOB: b"\x04", Kind.GEOJSON: b"\x17", Kind.HLL: b"\x12"}


def boxed(kind: Kind | None, value: Any) -> Any:
    """A value as it stands inside lists: texts and blobs begin with their type."""
    return _PREFIXES[kind] + value if kind in _PREFIXES and value is not UNKNOWN else value
