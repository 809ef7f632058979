"""Predicates on rows as values, and their text: ``parse_filter(str(filter)) == filter``.

    age >= 18 AND city IN ('a', 'b') AND NOT (name LIKE 'x%' OR day < DATE '2013-01-31')

Text reads as in Spark SQL, but for two things: "double quotes" hold the name of a column, as in
standard SQL, and a backslash in a string is a backslash. Names keep their case. A dot stands before a
field of a struct column, as in ``address.city = 'x'``; in quotes it is a part of the name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal, DecimalException

from connector.errors import OptionError
from connector.filters.fields import KEYWORDS, FieldPath, path_text
from connector.filters.literals import TYPED, Value, shown
from connector.filters.values import (
    MOST_DEEP,
    And,
    ArrayContains,
    Comparison,
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

_SPACE = re.compile(r"\s*")
_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?:[bB][dD])?)(?!\w)
    | (?P<typed>(?i:DATE|TIMESTAMP|X)\s*'(?:[^']|'')*'|(?i:DOUBLE)\s*\(\s*'[^']*'\s*\))
    | (?P<word>[^\W\d]\w*)
    | (?P<string>'(?:[^']|'')*')
    | (?P<name>`(?:[^`]|``)+`|"(?:[^"]|"")+")
    | (?P<sign><=|>=|<>|!=|==|[=<>(),.+-])
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
        found = "the end" if self.kind == "end" else shown(self.text[self.start : self.end])
        return OptionError(
            f"filter {shown(self.text)}: expected {expected} at character {self.start + 1}, "
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
        if self.depth > MOST_DEEP:
            raise self.error(f"at most {MOST_DEEP} levels of NOT and parentheses")

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
        """One column, or a field in it, against values."""
        literal = self.literal()
        if literal is not None:
            operator = self.operator("an operator, such as <=")
            path = self.path("the name of a column")
            return Comparison(path, _TURNED.get(operator, operator), literal)
        path = self.path("a column, a value, NOT or '('")
        function = _FUNCTIONS.get(path_text(path).lower())
        if function is not None and self.accept("("):
            return self.call(function)
        if self.accept("IS"):
            negated = self.accept("NOT")
            self.expect("NULL")
            return Not(IsNull(path)) if negated else IsNull(path)
        negated = self.accept("NOT")
        if self.accept("IN"):
            found: Filter = In(path, self.list())
        elif self.accept("LIKE"):
            found = Like(path, self.pattern())
        elif self.accept("RLIKE"):
            found = Regex(path, self.pattern())
        elif self.accept("BETWEEN"):
            low = Comparison(path, Operator.GREATER_EQUAL, self.value())
            self.expect("AND")
            found = And((low, Comparison(path, Operator.LESS_EQUAL, self.value())))
        elif negated:
            raise self.error("IN, LIKE, RLIKE or BETWEEN")
        else:
            operator = self.operator("=, <>, <, <=, >, >=, IN, LIKE, RLIKE, BETWEEN, IS or NOT")
            return Comparison(path, operator, self.value())
        return Not(found) if negated else found

    def call(self, function: Callable[[_Parser, FieldPath], Filter]) -> Filter:
        path = self.path("the name of a column")
        self.expect(",")
        found = function(self, path)
        self.expect(")")
        return found

    def operator(self, expected: str) -> Operator:
        if self.kind != "sign" or self.word not in _OPERATORS:
            raise self.error(expected)
        return _OPERATORS[self.advance()]

    def path(self, expected: str) -> FieldPath:
        names = [self.name(expected)]
        while self.accept("."):
            names.append(self.name("the name of a field"))
        return tuple(names)

    def name(self, expected: str) -> str:
        if self.kind == "name":
            quoted = self.advance()
            return quoted[1:-1].replace(quoted[0] * 2, quoted[0])
        if self.kind != "word" or self.word in KEYWORDS:
            raise self.error(expected)
        return self.advance()

    def pattern(self) -> str:
        return self.string("a pattern in single quotes")

    def string(self, expected: str = "a text in single quotes") -> str:
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
            return self.string()
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
            value = TYPED[name.rstrip(" \t\r\n(").upper()](text)
        except ValueError as error:
            raise self.error(f"a value of its type ({error})") from None
        self.advance()
        return value


_FUNCTIONS: dict[str, Callable[[_Parser, FieldPath], Filter]] = {
    "startswith": lambda parser, path: TextMatch(path, Match.STARTS, parser.string()),
    "endswith": lambda parser, path: TextMatch(path, Match.ENDS, parser.string()),
    "contains": lambda parser, path: TextMatch(path, Match.CONTAINS, parser.string()),
    "rlike": lambda parser, path: Regex(path, parser.pattern()),
    "array_contains": lambda parser, path: ArrayContains(path, parser.value()),
    "map_contains_key": lambda parser, path: MapContainsKey(path, parser.value()),
}
