"""Predicates on rows as values, and the text that each of them has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import OptionError
from connector.filters.fields import FieldPath, check_path, path_text
from connector.filters.literals import Value, plain, plain_text, shown, value_text

MOST_DEEP = 100


class Operator(Enum):
    """How a column compares with a value."""

    EQUAL = "="
    NOT_EQUAL = "<>"
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="


class Match(Enum):
    """Where a text must stand in a column's text; named as Spark's functions are."""

    STARTS = "startswith"
    ENDS = "endswith"
    CONTAINS = "contains"


class Filter:
    """A predicate on rows: true, false or, where it meets a null, unknown.

    Filters are joined by ``&``, ``|`` and ``~``. They are equal when their texts are: ``a = 1`` and
    ``a = TRUE`` differ, though 1 and True do not.
    """

    depth: int = 0
    """How many ANDs, ORs and NOTs stand in one another, at most 100."""

    def __and__(self, other: Filter) -> Filter:
        return And((self, other))

    def __or__(self, other: Filter) -> Filter:
        return Or((self, other))

    def __invert__(self) -> Filter:
        return Not(self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __bool__(self) -> NoReturn:
        # Without this, ``1 < column("a") < 5`` would silently be its second half.
        raise OptionError(f"filter {shown(str(self))} has no truth of its own: join by &, | and ~")


@dataclass(frozen=True, eq=False)
class FieldTest(Filter):
    """A filter on one column or on a field in it, which is null where a struct around it is.

    Attributes:
        path: the name of the column, followed by that of a field in it, of a field in that, and so on.
    """

    path: FieldPath

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True, eq=False)
class Comparison(FieldTest):
    """``column operator value``, such as ``age >= 18``."""

    operator: Operator
    value: Value

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", plain(self.path, self.value))

    def __str__(self) -> str:
        return f"{path_text(self.path)} {self.operator.value} {value_text(self.value)}"


@dataclass(frozen=True, eq=False)
class In(FieldTest):
    """``column IN (values)``; false for every row, nulls included, where there are no values."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        values = tuple(plain(self.path, value) for value in self.values)
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        return f"{path_text(self.path)} IN ({', '.join(map(value_text, self.values))})"


@dataclass(frozen=True, eq=False)
class IsNull(FieldTest):
    """``column IS NULL``; never unknown."""

    def __str__(self) -> str:
        return f"{path_text(self.path)} IS NULL"


@dataclass(frozen=True, eq=False)
class TextMatch(FieldTest):
    """The column's text starts with, ends with or contains ``text``: ``startswith(city, 'a')``."""

    match: Match
    text: str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "text", plain_text(self.path, self.text))

    def __str__(self) -> str:
        return f"{self.match.value}({path_text(self.path)}, {value_text(self.text)})"


@dataclass(frozen=True, eq=False)
class Like(FieldTest):
    r"""``column LIKE pattern``: % for any text, _ for one character, and \%, \_ and \\."""

    pattern: str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pattern", plain_text(self.path, self.pattern))
        if not re.fullmatch(r"(?:[^\\]|\\[%_\\])*", self.pattern, re.DOTALL):
            raise OptionError(
                f"column {path_text(self.path)!r} LIKE {shown(self.pattern)}: a backslash stands before "
                f"%, _ or another backslash"
            )

    def __str__(self) -> str:
        return f"{path_text(self.path)} LIKE {value_text(self.pattern)}"


@dataclass(frozen=True, eq=False)
class Regex(FieldTest):
    r"""The column's text has a match of ``pattern`` anywhere: ``rlike(city, '^[ab]')``.

    The pattern is one of RE2, which Arrow matches with and which takes a time linear in the text. Spark's
    RLIKE takes Java's patterns: of those RE2 refuses lookaround, backreferences and possessive
    quantifiers, its $ does not match before a last line break, and its dot leaves out ``\n`` alone.
    """

    pattern: str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pattern", plain_text(self.path, self.pattern))
        try:
            pc.match_substring_regex(pa.scalar(""), self.pattern)
        except pa.ArrowInvalid as error:
            raise OptionError(
                f"column {path_text(self.path)!r} RLIKE {shown(self.pattern)}: RE2, which takes no "
                f"lookaround and no backreference, cannot take the pattern: {error}"
            ) from None

    def __str__(self) -> str:
        return f"rlike({path_text(self.path)}, {value_text(self.pattern)})"


@dataclass(frozen=True, eq=False)
class ArrayContains(FieldTest):
    """An element of the column's list equals the value: ``array_contains(tags, 'a')``.

    Unknown where none does and one is null, and for a null list.
    """

    value: Value

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", plain(self.path, self.value))

    def __str__(self) -> str:
        return f"array_contains({path_text(self.path)}, {value_text(self.value)})"


@dataclass(frozen=True, eq=False)
class MapContainsKey(FieldTest):
    """A key of the column's map equals the value: ``map_contains_key(attributes, 'a')``."""

    value: Value

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", plain(self.path, self.value))

    def __str__(self) -> str:
        return f"map_contains_key({path_text(self.path)}, {value_text(self.value)})"


@dataclass(frozen=True, eq=False)
class And(Filter):
    """All of the terms, at least two; an And among them is taken apart into its own."""

    terms: tuple[Filter, ...]
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        flat = (term.terms if isinstance(term, And) else (term,) for term in self.terms)
        _join(self, tuple(one for some in flat for one in some))

    def __str__(self) -> str:
        return " AND ".join(map(_nested_text, self.terms))


@dataclass(frozen=True, eq=False)
class Or(Filter):
    """Any of the terms, at least two; an Or among them is taken apart into its own."""

    terms: tuple[Filter, ...]
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        flat = (term.terms if isinstance(term, Or) else (term,) for term in self.terms)
        _join(self, tuple(one for some in flat for one in some))

    def __str__(self) -> str:
        return " OR ".join(map(_nested_text, self.terms))


@dataclass(frozen=True, eq=False)
class Not(Filter):
    """The opposite; unknown stays unknown."""

    term: Filter
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _deepen(self, (self.term,))

    def __str__(self) -> str:
        if isinstance(self.term, IsNull):
            return f"{path_text(self.term.path)} IS NOT NULL"
        return f"NOT {_nested_text(self.term)}"


def _join(filter: And | Or, terms: tuple[Filter, ...]) -> None:
    if len(terms) < 2:
        raise OptionError(f"{type(filter).__name__} joins at least two filters, not {len(terms)}")
    object.__setattr__(filter, "terms", terms)
    _deepen(filter, terms)


def _deepen(filter: Filter, terms: tuple[Filter, ...]) -> None:
    depth = 1 + max(term.depth for term in terms)
    if depth > MOST_DEEP:
        raise OptionError(f"a filter nests deeper than {MOST_DEEP} levels: write lists as IN")
    object.__setattr__(filter, "depth", depth)


def _nested_text(term: Filter) -> str:
    return f"({term})" if isinstance(term, And | Or) else str(term)
