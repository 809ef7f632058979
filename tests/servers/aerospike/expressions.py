"""Expressions: compiled once from the request, then evaluated on records.

Values have the types that the server's expressions have, checked while compiling. A bin that is not there, or
is of another type than the expression says, is unknown, and so is what follows from it: AND and OR know
three values, and a filter passes what is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from . import packed
from .collections_read import particle
from .expression_nodes import build
from .expression_size import MAX_BYTES, compiled_bytes
from .expression_types import UNKNOWN, Kind, Node, Scope, boxed
from .particles import Particle
from .protocol import Refused, Result
from .records import Record

_EVALUATION_MAY_FAIL = 16


@dataclass(frozen=True, slots=True)
class Expression:
    """A whole compiled expression."""

    root: Node

    def value(self, record: Record) -> Any:
        """Its value on a record, or UNKNOWN."""
        return self.root.evaluate(Scope(record, {}))

    def matches(self, record: Record) -> bool:
        """Does a record pass it as a filter?"""
        return self.value(record) is True


@lru_cache(maxsize=32)
def compiled(data: bytes) -> Expression:
    """The expression in a request.

    Raises:
        Refused: it is not one, or its types do not go together.
    """
    return _built(data, lambda tree: tree)


def _built(data: bytes, part: Callable[[Any], Any]) -> Expression:
    try:
        tree = part(packed.decode(data))
        if compiled_bytes(tree) >= MAX_BYTES:
            raise Refused(Result.PARAMETER)
        return Expression(build(tree, {}))
    except (ValueError, IndexError, TypeError) as error:
        raise Refused(Result.PARAMETER) from error


def condition(data: bytes) -> Expression:
    """The filter in a request.

    Raises:
        Refused: it is no expression, or neither true nor false.
    """
    expression = compiled(data)
    if expression.root.kind not in (Kind.BOOL, None):
        raise Refused(Result.PARAMETER)
    return expression


def read_expression(record: Record, request: bytes) -> Particle | None:
    """What the operation that reads an expression finds in a record.

    Raises:
        Refused: the expression is not one, or unknown on this record.
    """
    expression = _built(request, lambda pair: pair[0])
    value = expression.value(record)
    if value is UNKNOWN:
        if packed.decode(request)[1] & _EVALUATION_MAY_FAIL:
            return None
        raise Refused(Result.NOT_APPLICABLE)
    return particle(boxed(expression.root.kind, value))
