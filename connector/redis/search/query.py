"""Filters as RediSearch queries that miss no row, though they may find more than the wanted ones.

The whole filter is tested on the rows found, so that a term which the index cannot answer is left out,
and one that it cannot answer exactly is widened.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from connector.filters import And, Comparison, FieldPath, Filter, In, Operator, Or, Value

_MOST_VALUES = 1000  # of an IN that becomes a query
_EXACT = 1 << 53  # up to here every integer is a double
_PLAIN_TAG = re.compile(r"[!-~](?:[ -~]{0,998}[!-~])?")
"""Texts that a TAG field holds whole: of others it drops blanks at the ends, or what is behind 4096 bytes."""
_ABOVE = (Operator.EQUAL, Operator.GREATER, Operator.GREATER_EQUAL)
_BELOW = (Operator.EQUAL, Operator.LESS, Operator.LESS_EQUAL)


@dataclass(frozen=True)
class NumericField:
    """A column of integers or decimals in an index, where each is a double.

    Attributes:
        name: of the field, in queries.
        error: how far from its value, beside rounding, a number with a fraction may be indexed.
    """

    name: str
    error: float = 0.0

    def around(self, value: Value) -> tuple[float, float]:
        """The least and the greatest double that may stand for a value."""
        assert isinstance(value, int | Decimal)
        number = float(value)
        if isinstance(value, int) and abs(value) <= _EXACT:
            return number, number
        off = abs(number) * sys.float_info.epsilon + self.error
        return number - off, number + off

    def within(self, low: float, high: float) -> str:
        """Rows of a range."""
        return f"@{self.name}:[{low!r} {max(low, high)!r}]"  # no row is in a range turned round


@dataclass(frozen=True)
class TagField:
    """A column of texts in an index, where each is cut into tags.

    Attributes:
        name: of the field, in queries.
        separator: what stands between tags; empty for nothing.
    """

    name: str
    separator: str

    def among(self, values: Iterable[Value]) -> str | None:
        """Rows with one of some texts; None where one of them is not a tag as it stands."""
        tags = []
        for value in values:
            assert isinstance(value, str)
            if not _PLAIN_TAG.fullmatch(value) or (self.separator and self.separator in value):
                return None
            tags.append(re.sub(r"([^0-9A-Za-z])", r"\\\1", value))
        return f"@{self.name}:{{{'|'.join(tags)}}}"


Fields = Mapping[FieldPath, NumericField | TagField]


def superset(filter: Filter, fields: Fields) -> str | None:
    """A query, of dialect 2, that finds every row for which a bound filter is true.

    Args:
        filter: a filter that ``bind`` gave.
        fields: what the index has of the columns, by their paths.

    Returns:
        The query, or None where the index can leave out no row.
    """
    if isinstance(filter, Or):
        terms = [superset(term, fields) for term in filter.terms]
        return None if None in terms else f"({'|'.join(map(str, terms))})"
    if isinstance(filter, And):
        return _all_of(filter.terms, fields)
    if isinstance(filter, In):
        return _one_of(filter, fields.get(filter.path))
    return _all_of((filter,), fields) if isinstance(filter, Comparison) else None


def _all_of(terms: Iterable[Filter], fields: Fields) -> str | None:
    """Rows that pass the terms, of which comparisons with one column are one range."""
    ranges: dict[NumericField, tuple[float, float]] = {}
    found: list[str | None] = []
    for term in terms:
        field = fields.get(term.path) if isinstance(term, Comparison) else None
        if not isinstance(term, Comparison):
            found.append(superset(term, fields))
        elif isinstance(field, NumericField) and term.operator is not Operator.NOT_EQUAL:
            low, high = ranges.get(field, (-math.inf, math.inf))
            least, greatest = field.around(term.value)
            ranges[field] = (
                max(low, least) if term.operator in _ABOVE else low,
                min(high, greatest) if term.operator in _BELOW else high,
            )
        elif isinstance(field, TagField) and term.operator is Operator.EQUAL:
            found.append(field.among([term.value]))
    found += [field.within(low, high) for field, (low, high) in ranges.items()]
    queries = [query for query in found if query is not None]
    return f"({' '.join(queries)})" if len(queries) > 1 else queries[0] if queries else None


def _one_of(filter: In, field: NumericField | TagField | None) -> str | None:
    if field is None or not 0 < len(filter.values) <= _MOST_VALUES:
        return None
    if isinstance(field, TagField):
        return field.among(filter.values)
    return f"({'|'.join(field.within(*field.around(value)) for value in filter.values)})"
