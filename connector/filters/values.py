"""Predicates on rows as values, and the text that each of them has."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import NoReturn

import numpy as np

from connector.errors import OptionError

Value = bool | int | float | Decimal | str | bytes | dt.date | dt.datetime

MOST_DEEP = 100
_DIGITS = 1000
KEYWORDS = frozenset(["AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "TRUE", "FALSE"])


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
class Comparison(Filter):
    """``column operator value``, such as ``age >= 18``."""

    column: str
    operator: Operator
    value: Value

    def __post_init__(self) -> None:
        _check_name(self.column)
        object.__setattr__(self, "value", _plain(self.column, self.value))

    def __str__(self) -> str:
        return f"{_name_text(self.column)} {self.operator.value} {_value_text(self.value)}"


@dataclass(frozen=True, eq=False)
class In(Filter):
    """``column IN (values)``; false for every row, nulls included, where there are no values."""

    column: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        _check_name(self.column)
        values = tuple(_plain(self.column, value) for value in self.values)
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        return f"{_name_text(self.column)} IN ({', '.join(map(_value_text, self.values))})"


@dataclass(frozen=True, eq=False)
class IsNull(Filter):
    """``column IS NULL``; never unknown."""

    column: str

    def __post_init__(self) -> None:
        _check_name(self.column)

    def __str__(self) -> str:
        return f"{_name_text(self.column)} IS NULL"


@dataclass(frozen=True, eq=False)
class TextMatch(Filter):
    """The column's text starts with, ends with or contains ``text``: ``startswith(city, 'a')``."""

    column: str
    match: Match
    text: str

    def __post_init__(self) -> None:
        _check_name(self.column)
        object.__setattr__(self, "text", _plain_text(self.column, self.text))

    def __str__(self) -> str:
        return f"{self.match.value}({_name_text(self.column)}, {_value_text(self.text)})"


@dataclass(frozen=True, eq=False)
class Like(Filter):
    r"""``column LIKE pattern``: % for any text, _ for one character, and \%, \_ and \\."""

    column: str
    pattern: str

    def __post_init__(self) -> None:
        _check_name(self.column)
        object.__setattr__(self, "pattern", _plain_text(self.column, self.pattern))
        if not re.fullmatch(r"(?:[^\\]|\\[%_\\])*", self.pattern, re.DOTALL):
            raise OptionError(
                f"column {self.column!r} LIKE {shown(self.pattern)}: a backslash stands before "
                f"%, _ or another backslash"
            )

    def __str__(self) -> str:
        return f"{_name_text(self.column)} LIKE {_value_text(self.pattern)}"


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
            return f"{_name_text(self.term.column)} IS NOT NULL"
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


def _check_name(name: str) -> None:
    if not name:
        raise OptionError("a filter names a column by an empty name")


def _plain(column: str, value: object) -> Value:
    """The value as one of Python's own types; zoned times in UTC."""
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_):
        value = value.item()
    kind = type(value)
    if kind is str:
        return _plain_text(column, value)
    if kind is dt.datetime and isinstance(value, dt.datetime):
        return _plain_time(column, value)
    if isinstance(value, int) and abs(value) >= 10**_DIGITS:
        raise OptionError(f"column {column!r} is compared with an integer of over {_DIGITS} digits")
    if isinstance(value, Decimal) and not value.is_finite():
        raise OptionError(f"column {column!r} is compared with {value}: write it as a float")
    if isinstance(value, Decimal) and len(value.as_tuple().digits) > _DIGITS:
        raise OptionError(f"column {column!r} is compared with a decimal of over {_DIGITS} digits")
    if value is None:
        raise OptionError(f"column {column!r} is compared with None: use is_null()")
    if kind in (bool, int, float, Decimal, bytes, dt.date):
        return value  # type: ignore[return-value]
    raise OptionError(
        f"column {column!r} is compared with a {kind.__name__}; "
        f"a value is a bool, number, text, bytes, date or datetime"
    )


def _plain_text(column: str, value: object) -> str:
    if not isinstance(value, str):
        raise OptionError(f"column {column!r} is matched with {type(value).__name__}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise OptionError(f"column {column!r} is compared with a text that {error}") from None
    return value


def _plain_time(column: str, value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        return value.replace(fold=0)
    try:
        return value.astimezone(dt.UTC).replace(fold=0)
    except OverflowError:
        raise OptionError(f"column {column!r}: {value} is out of the years 1 to 9999") from None


def _nested_text(term: Filter) -> str:
    return f"({term})" if isinstance(term, And | Or) else str(term)


def _name_text(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.upper() not in KEYWORDS:
        return name
    return f"`{name.replace('`', '``')}`"


def _value_text(value: Value) -> str:
    if isinstance(value, str):
        return f"'{value.replace(chr(39), chr(39) * 2)}'"
    if isinstance(value, bytes):
        return f"X'{value.hex().upper()}'"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"double('{value}')"
        return repr(value) if "e" in repr(value) else f"{value!r}e0"  # without: a decimal
    if isinstance(value, Decimal):
        text = str(value)
        return text if "." in text and "E" not in text else f"{text}BD"
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value.isoformat(' ').replace('+00:00', 'Z')}'"
    return f"DATE '{value}'" if isinstance(value, dt.date) else str(value).upper()


def shown(text: str) -> str:
    """The text as a message shows it: quoted, and not too long."""
    return repr(text if len(text) <= 200 else text[:200] + "...")
