"""Building filters, and telling which columns and which keys one asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from connector.errors import OptionError
from connector.filters.fields import FieldPath, path_text
from connector.filters.literals import Value
from connector.filters.values import (
    And,
    ArrayContains,
    Comparison,
    FieldTest,
    Filter,
    In,
    IsNull,
    Like,
    MapContainsKey,
    Match,
    Not,
    Operator,
    Or,
    Regex,
    TextMatch,
)

_LOOKUPS = 1_000_000


@dataclass(frozen=True, eq=False)
class Column:
    """A column or a field in it by its path, to build filters with: ``column("age") >= 18``."""

    path: FieldPath

    def __eq__(self, value: object) -> Comparison:  # type: ignore[override]
        return Comparison(self.path, Operator.EQUAL, value)  # type: ignore[arg-type]

    def __ne__(self, value: object) -> Comparison:  # type: ignore[override]
        return Comparison(self.path, Operator.NOT_EQUAL, value)  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, value: Value) -> Comparison:
        return Comparison(self.path, Operator.LESS, value)

    def __le__(self, value: Value) -> Comparison:
        return Comparison(self.path, Operator.LESS_EQUAL, value)

    def __gt__(self, value: Value) -> Comparison:
        return Comparison(self.path, Operator.GREATER, value)

    def __ge__(self, value: Value) -> Comparison:
        return Comparison(self.path, Operator.GREATER_EQUAL, value)

    def isin(self, values: Iterable[Value]) -> In:
        """One of the values."""
        if isinstance(values, str | bytes):
            raise OptionError(
                f"column {path_text(self.path)!r}: isin takes a list of values, not {values!r}"
            )
        return In(self.path, tuple(values))

    def between(self, low: Value, high: Value) -> Filter:
        """From low to high, both included."""
        return And((self >= low, self <= high))

    def is_null(self) -> IsNull:
        """Null; NaN is not."""
        return IsNull(self.path)

    def is_not_null(self) -> Not:
        """Anything but null."""
        return Not(IsNull(self.path))

    def startswith(self, text: str) -> TextMatch:
        """Text that begins so."""
        return TextMatch(self.path, Match.STARTS, text)

    def endswith(self, text: str) -> TextMatch:
        """Text that ends so."""
        return TextMatch(self.path, Match.ENDS, text)

    def contains(self, text: str) -> TextMatch:
        """Text that has this in it."""
        return TextMatch(self.path, Match.CONTAINS, text)

    def like(self, pattern: str) -> Like:
        """Text of this SQL pattern."""
        return Like(self.path, pattern)

    def rlike(self, pattern: str) -> Regex:
        """Text with a match of this regular expression, one of RE2, anywhere."""
        return Regex(self.path, pattern)

    def array_contains(self, value: Value) -> ArrayContains:
        """A list with an element of this value."""
        return ArrayContains(self.path, value)

    def map_contains_key(self, key: Value) -> MapContainsKey:
        """A map with this key."""
        return MapContainsKey(self.path, key)


def column(*path: str) -> Column:
    """A column, or a field of a struct column: ``column("address", "city") == "x"``.

    Args:
        path: the name of the column, followed by that of a field in it, of a field in that, and so on.
    """
    return Column(path)


def columns_of(filter: Filter) -> tuple[str, ...]:
    """The names of the filter's columns, in order of first use; of a field, that of its column."""
    return tuple(dict.fromkeys(_names(filter)))


def _names(filter: Filter) -> Iterator[str]:
    if isinstance(filter, And | Or):
        for term in filter.terms:
            yield from _names(term)
    elif isinstance(filter, Not):
        yield from _names(filter.term)
    elif isinstance(filter, FieldTest):
        yield filter.path[0]


def conjuncts(filter: Filter) -> tuple[Filter, ...]:
    """The filters that must all hold for this one to hold."""
    return filter.terms if isinstance(filter, And) else (filter,)


def all_of(filters: Iterable[Filter | None]) -> Filter | None:
    """The filter that holds where all of these do, the opposite of ``conjuncts``; None for always."""
    given = tuple(one for one in filters if one is not None)
    return And(given) if len(given) > 1 else given[0] if given else None


def key_values(
    filter: Filter, key: Sequence[str]
) -> tuple[list[tuple[object, ...]] | None, Filter | None]:
    """The keys that alone can pass the filter, where it fixes every key column by = or IN.

    Args:
        filter: a filter that ``bind`` gave; key columns hold no nulls.
        key: the names of the key columns, in key order.

    Returns:
        The keys, distinct, and what of the filter is left to evaluate on their rows, None for
        nothing. Or None and the whole filter, where a key column is not fixed, is a floating-point
        number, or there would be more than a million keys.
    """
    paths = [(name,) for name in key]
    fixed: dict[FieldPath, dict[object, None]] = {}
    rest = []
    for term in conjuncts(filter):
        path, values = _fixed(term) or ((), {})
        if path in paths:
            before = fixed.get(path, values)
            fixed[path] = {value: None for value in before if value in values}
        else:
            rest.append(term)
    if not key or len(fixed) < len(key) or math.prod(map(len, fixed.values())) > _LOOKUPS:
        return None, filter
    return list(itertools.product(*(fixed[path] for path in paths))), all_of(rest)


def _fixed(term: Filter) -> tuple[FieldPath, dict[object, None]] | None:
    """The only column, or field, of the term and the only values with which it holds."""
    if isinstance(term, Or):
        found = [_fixed(one) for one in term.terms]
        if None in found or len({one[0] for one in found if one}) > 1:
            return None
        return found[0] and (found[0][0], {v: None for one in found if one for v in one[1]})
    if isinstance(term, In):
        values: tuple[Value, ...] = term.values
    elif isinstance(term, Comparison) and term.operator is Operator.EQUAL:
        values = (term.value,)
    else:
        return None
    if any(isinstance(value, float) for value in values):
        return None
    return term.path, dict.fromkeys(values)
