"""Predicates on rows as values, and their text: ``parse_filter(str(filter)) == filter``.

    age >= 18 AND city IN ('a', 'b') AND NOT (name LIKE 'x%' OR day < DATE '2013-01-31')

Text reads as in Spark SQL, but for two things: "double quotes" hold the name of a column, as in
standard SQL, and a backslash in a string is a backslash. Names of columns keep their case.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from enum import Enum
from typing import NoReturn

import numpy as np

from connector.errors import OptionError

Value = bool | int | float | Decimal | str | bytes | dt.date | dt.datetime

_DEPTH = 100
_DIGITS = 1000
_KEYWORDS = frozenset(["AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "TRUE", "FALSE"])


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
        raise OptionError(f"filter {_shown(str(self))} has no truth of its own: join by &, | and ~")


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
                f"column {self.column!r} LIKE {_shown(self.pattern)}: a backslash stands before "
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
    if depth > _DEPTH:
        raise OptionError(f"a filter nests deeper than {_DEPTH} levels: write lists as IN")
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
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.upper() not in _KEYWORDS:
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


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "...")


_SPACE = re.compile(r"\s*")
_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?:[bB][dD])?)(?!\w)
    | (?P<typed>(?i:DATE|TIMESTAMP|X)\s*'(?:[^']|'')*'|(?i:DOUBLE)\s*\(\s*'[^']*'\s*\))
    | (?P<word>[^\W\d]\w*)
    | (?P<string>'(?:[^']|'')*')
    | (?P<name>`(?:[^`]|``)+`|"(?:[^"]|"")+")
    | (?P<sign><=|>=|<>|!=|==|[=<>(),+-])
    | (?P<nothing>.)""",
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = {operator.value: operator for operator in Operator} | {
    "==": Operator.EQUAL,
    "!=": Operator.NOT_EQUAL,
}
_TURNED = {
    Operator.LESS: Operator.GREATER,
    Operator.LESS_EQUAL: Operator.GREATER_EQUAL,
    Operator.GREATER: Operator.LESS,
    Operator.GREATER_EQUAL: Operator.LESS_EQUAL,
}
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?P<clock>[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


def parse_filter(text: str) -> Filter:
    """The filter that SQL-like text spells.

    Raises:
        OptionError: the text is malformed; the message tells where, and what was expected there.
    """
    parser = _Parser(text)
    found = parser.disjunction()
    if parser.kind != "end":
        raise parser.error("AND, OR or the end")
    return found


def parse_time(text: str) -> dt.date | dt.datetime:
    """A date, or a time of a date, from text as in ``2013-01-31 12:00:00.5+01:00``.

    Raises:
        ValueError: the text is neither.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)} is not as in 2013-01-31 or 2013-01-31 12:00:00.5+01:00")
    return dt.datetime.fromisoformat(text) if match["clock"] else dt.date.fromisoformat(text)


class _Parser:
    """Recursive descent; ``kind`` and ``word`` are those of the token that comes next."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = self.end = 0
        self.depth = 0
        self.advance()

    def advance(self) -> str:
        """Step over the next token, and give its text."""
        before = self.text[self.start : self.end]
        space = _SPACE.match(self.text, self.end)
        self.start = space.end() if space else self.end
        match = _TOKEN.match(self.text, self.start)
        self.kind = "end" if match is None else str(match.lastgroup)
        self.end = self.start if match is None else match.end()
        written = self.text[self.start : self.end]
        self.word = written.upper() if self.kind == "word" else written
        return before

    def error(self, expected: str) -> OptionError:
        found = "the end" if self.kind == "end" else _shown(self.text[self.start : self.end])
        return OptionError(
            f"filter {_shown(self.text)}: expected {expected} at character {self.start + 1}, "
            f"found {found}"
        )

    def accept(self, *words: str) -> bool:
        """Step over the next token if it is one of these keywords or signs."""
        found = self.kind in ("word", "sign") and self.word in words
        if found:
            self.advance()
        return found

    def expect(self, word: str, why: str = "") -> None:
        if not self.accept(word):
            raise self.error(f"{word!r}{why}" if not word.isalpha() else word)

    def descend(self) -> None:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.error(f"at most {_DEPTH} levels of NOT and parentheses")

    def disjunction(self) -> Filter:
        terms = [self.conjunction()]
        while self.accept("OR"):
            terms.append(self.conjunction())
        return Or(tuple(terms)) if len(terms) > 1 else terms[0]

    def conjunction(self) -> Filter:
        terms = [self.term()]
        while self.accept("AND"):
            terms.append(self.term())
        return And(tuple(terms)) if len(terms) > 1 else terms[0]

    def term(self) -> Filter:
        depth = self.depth
        if self.accept("NOT"):
            self.descend()
            found: Filter = Not(self.term())
        elif self.accept("("):
            self.descend()
            found = self.disjunction()
            self.expect(")", " or AND or OR")
        else:
            found = self.test()
        self.depth = depth
        return found

    def test(self) -> Filter:
        """One column against values."""
        literal = self.literal()
        if literal is not None:
            operator = self.operator("an operator, such as <=")
            column = self.column("the name of a column")
            return Comparison(column, _TURNED.get(operator, operator), literal)
        column = self.column("a column, a value, NOT or '('")
        if self.kind == "sign" and self.word == "(" and column.lower() in [m.value for m in Match]:
            return self.text_match(Match(column.lower()))
        if self.accept("IS"):
            negated = self.accept("NOT")
            self.expect("NULL")
            return Not(IsNull(column)) if negated else IsNull(column)
        negated = self.accept("NOT")
        if self.accept("IN"):
            found: Filter = In(column, self.list())
        elif self.accept("LIKE"):
            found = Like(column, self.string("a pattern in single quotes"))
        elif self.accept("BETWEEN"):
            low = Comparison(column, Operator.GREATER_EQUAL, self.value())
            self.expect("AND")
            found = And((low, Comparison(column, Operator.LESS_EQUAL, self.value())))
        elif negated:
            raise self.error("IN, LIKE or BETWEEN")
        else:
            operator = self.operator("=, <>, <, <=, >, >=, IN, LIKE, BETWEEN, IS or NOT")
            return Comparison(column, operator, self.value())
        return Not(found) if negated else found

    def text_match(self, match: Match) -> Filter:
        self.advance()
        column = self.column("the name of a column")
        self.expect(",")
        text = self.string("a text in single quotes")
        self.expect(")")
        return TextMatch(column, match, text)

    def operator(self, expected: str) -> Operator:
        if self.kind != "sign" or self.word not in _OPERATORS:
            raise self.error(expected)
        return _OPERATORS[self.advance()]

    def column(self, expected: str) -> str:
        if self.kind == "name":
            quoted = self.advance()
            return quoted[1:-1].replace(quoted[0] * 2, quoted[0])
        if self.kind != "word" or self.word in _KEYWORDS:
            raise self.error(expected)
        return self.advance()

    def string(self, expected: str) -> str:
        if self.kind != "string":
            raise self.error(expected)
        return self.advance()[1:-1].replace("''", "'")

    def list(self) -> tuple[Value, ...]:
        self.expect("(")
        if self.accept(")"):
            return ()
        values = [self.value()]
        while self.accept(","):
            values.append(self.value())
        self.expect(")", " or ','")
        return tuple(values)

    def value(self) -> Value:
        found = self.literal()
        if found is None:
            also = "; for nulls there is IS NULL" if self.word == "NULL" else ""
            raise self.error(f"a number, a 'text' or another value{also}")
        return found

    def literal(self) -> Value | None:
        """The value that comes next, or None where something else does."""
        if self.kind == "string":
            return self.string("")
        if self.kind == "number" or (self.kind == "sign" and self.word in "+-"):
            return self.number()
        if self.kind == "word" and self.word in ("TRUE", "FALSE"):
            return self.advance().upper() == "TRUE"
        if self.kind == "typed":
            return self.typed()
        return None

    def number(self) -> Value:
        minus = self.kind == "sign" and self.advance() == "-"
        if self.kind != "number":
            raise self.error("a number")
        text = self.word.lower()
        kind = float if "e" in text and not text.endswith("bd") else Decimal
        try:
            value = int(text) if text.isdecimal() else kind(text.removesuffix("bd"))
        except (ValueError, DecimalException):
            raise self.error("a number of fewer digits") from None
        if isinstance(value, float) and math.isinf(value):
            raise self.error("a number within a double's range")
        self.advance()
        if isinstance(value, Decimal):  # whose minus would round to 28 digits
            return value.copy_negate() if minus else value
        return -value if minus else value

    def typed(self) -> Value:
        name, _, quoted = self.word.partition("'")
        text = quoted.rpartition("'")[0].replace("''", "'")
        try:
            value = _TYPED[name.rstrip(" \t\r\n(").upper()](text)
        except ValueError as error:
            raise self.error(f"a value of its type ({error})") from None
        self.advance()
        return value


def _date(text: str) -> dt.date:
    found = parse_time(text)
    if isinstance(found, dt.datetime):
        raise ValueError("a date has no time of the day")
    return found


def _timestamp(text: str) -> dt.datetime:
    found = parse_time(text)
    return found if isinstance(found, dt.datetime) else dt.datetime(*found.timetuple()[:3])


_TYPED: dict[str, Callable[[str], Value]] = {
    "DATE": _date,
    "TIMESTAMP": _timestamp,
    "X": bytes.fromhex,
    "DOUBLE": float,
}
