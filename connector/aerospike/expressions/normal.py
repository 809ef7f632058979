"""Filters with every NOT driven down to a test."""

from __future__ import annotations

from dataclasses import replace

from connector.filters import And, Comparison, Filter, Not, Operator, Or

_OPPOSITE = {
    Operator.EQUAL: Operator.NOT_EQUAL,
    Operator.NOT_EQUAL: Operator.EQUAL,
    Operator.LESS: Operator.GREATER_EQUAL,
    Operator.GREATER_EQUAL: Operator.LESS,
    Operator.LESS_EQUAL: Operator.GREATER,
    Operator.GREATER: Operator.LESS_EQUAL,
}


def normal(filter: Filter, negated: bool = False) -> Filter:
    """The same filter, or its opposite, in which NOT stands before single tests alone.

    Comparisons turn round instead. Each test may then be widened for itself, as no NOT makes the
    widened one narrower; the answers, unknown ones too, are those of the filter.
    """
    if isinstance(filter, Not):
        return normal(filter.term, not negated)
    if isinstance(filter, And | Or):
        join = And if isinstance(filter, And) is not negated else Or
        return join(tuple(normal(term, negated) for term in filter.terms))
    if isinstance(filter, Comparison) and negated:
        return replace(filter, operator=_OPPOSITE[filter.operator])
    return Not(filter) if negated else filter
