"""Random conditions and expressions, as the text that Spark SQL takes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from queries_data import FIELDS, POOLS, Column, literal

COMPARISONS = ["=", "=", "<=>", "<>", "<", "<=", ">", ">="]
_NUMBERS = ["tinyint", "int", "bigint", "float", "double", "decimal"]
_TIMES = ["date", "timestamp", "timestamp_ntz"]
_TEXTS = ["a", "k", "k1", "b", "é", "", "%", "a%", "_", "it's", "\\", "1"]
_PATTERNS = [
    "a%",
    "%b",
    "%a%",
    "k1%",
    "_",
    "a_%",
    "%",
    "",
    "a",
    "k1",
    "%é",
    "a\\%b",
    "a\\_b",
    "k%1",
]

# What no source is told of, with {} for the term; none of it raises an error under ANSI rules.
_OPAQUE: dict[str, list[str]] = {
    "string": ["length({}) > 1", "upper({}) = 'K1'", "{} RLIKE '^k[0-3]'", "{} || 'x' = 'ax'"],
    "tinyint": ["{} % 2 = 1", "cast({} AS string) = '1'", "cast({} AS bigint) + 1 > 1"],
    "int": ["{} % 3 = 1", "cast({} AS string) LIKE '1%'", "coalesce({}, 7) = 7", "cast({} AS bigint) = 5"],
    "bigint": ["{} % 3 = 1", "try_cast({} AS int) > 3", "coalesce({}, 0) < 3", "cast({} AS double) < 5"],
    "float": ["isnan({})", "coalesce({}, 0) >= 0", "cast({} AS double) = 0.25", "{} + 1 > 2"],
    "double": ["isnan({})", "nanvl({}, 0) = 0", "NOT isnan({})", "{} * 2 >= 1"],
    "decimal": ["cast({} AS double) = 0.25", "try_cast({} AS int) = 1", "coalesce({}, 0) > 0"],
    "binary": ["length({}) = 1", "hex({}) LIKE '6%'"],
    "boolean": ["{}", "NOT {}", "{} IS TRUE", "coalesce({}, TRUE)", "({} OR NULL)"],
    "date": ["year({}) = 2013", "{} + 1 > DATE'2013-02-01'", "cast({} AS timestamp) < '2013-01-20'"],
    "timestamp": ["cast({} AS date) = DATE'2013-01-31'", "hour({}) < 9"],
    "timestamp_ntz": ["cast({} AS date) = DATE'2013-01-31'", "hour({}) < 9"],
    "struct": ["{} IS NOT NULL", "{} IS NULL"],
    "array": ["size({}) > 1", "array_contains({}, 'a')", "{} IS NULL", "{} = array('a')"],
    "map": ["size({}) = 1", "{}['a'] > 1", "{} IS NULL"],
}  # fmt: skip


def terms(columns: Sequence[Column]) -> list[Column]:
    """The columns, and the fields of those that are the table's struct."""
    nested = (
        Column(f"{column.name}.{field.name}", field.type)
        for column in columns
        if column.type == "struct"
        for field in FIELDS
    )
    return [*columns, *nested]


@st.composite
def literals(draw: st.DrawFn, kind: str) -> str:
    """A literal to compare a term of this type with: mostly of its type, at times of a wider one."""
    value = literal(draw(st.sampled_from(POOLS[kind])))
    if kind in _NUMBERS and draw(st.integers(0, 4)) == 4:
        others = ["1.5", "0.5BD", "1e1", "-0.0D", "float('0.25')", "300", "9999999999L", "2S", "0"]
        return draw(st.sampled_from(others))
    if kind in _TIMES and draw(st.integers(0, 3)) == 3:
        return draw(st.sampled_from(["'2013-01-31'", "'1999-12-31'", "DATE'2013-02-01'"]))
    return "NULL" if draw(st.integers(0, 19)) == 19 else value


@st.composite
def _in(draw: st.DrawFn, term: Column) -> str:
    values = draw(st.lists(literals(term.type), min_size=1, max_size=12))
    if draw(st.integers(0, 3)) == 3:
        values.append("NULL")
    word = draw(st.sampled_from(["IN", "IN", "NOT IN"]))
    return f"{term.name} {word} ({', '.join(values)})"


@st.composite
def _between(draw: st.DrawFn, term: Column) -> str:
    low, high = draw(literals(term.type)), draw(literals(term.type))
    word = draw(st.sampled_from(["BETWEEN", "NOT BETWEEN"]))
    return f"{term.name} {word} {low} AND {high}"


@st.composite
def _compared(draw: st.DrawFn, term: Column, columns: Sequence[Column]) -> str:
    sign = draw(st.sampled_from(COMPARISONS))
    same = [other.name for other in terms(columns) if other.type == term.type]
    other = draw(st.one_of(literals(term.type), literals(term.type), st.sampled_from(same)))
    sides = (other, term.name) if draw(st.integers(0, 4)) == 4 else (term.name, other)
    return f"{sides[0]} {sign} {sides[1]}"


@st.composite
def _matched(draw: st.DrawFn, term: Column) -> str:
    if draw(st.booleans()):
        word = draw(st.sampled_from(["LIKE", "LIKE", "NOT LIKE"]))
        return f"{term.name} {word} {literal(draw(st.sampled_from(_PATTERNS)))}"
    function = draw(st.sampled_from(["startswith", "endswith", "contains"]))
    return f"{function}({term.name}, {literal(draw(st.sampled_from(_TEXTS)))})"


@st.composite
def _keyed(draw: st.DrawFn, term: Column) -> str:
    """Keys by name: a filter that turns a scan into lookups, where the term is the key."""
    keys = draw(st.lists(st.integers(0, 70).map(lambda at: f"'k{at}'"), min_size=1, max_size=5))
    return f"{term.name} = {keys[0]}" if len(keys) == 1 else f"{term.name} IN ({', '.join(keys)})"


@st.composite
def comparison(draw: st.DrawFn, columns: Sequence[Column], *, cased: bool = True) -> str:
    """One test of one term."""
    term = draw(st.sampled_from(terms(columns)))
    if cased and draw(st.integers(0, 9)) == 9:
        term = Column(term.name.upper(), term.type)
    opaque = st.sampled_from(_OPAQUE[term.type]).map(lambda text: text.format(term.name))
    if term.type not in POOLS:
        return draw(opaque)
    null = st.sampled_from(["IS NULL", "IS NOT NULL"]).map(lambda test: f"{term.name} {test}")
    ways = [_compared(term, columns)] * 3 + [_in(term), _between(term), null, opaque]
    if term.type == "string":
        ways += [_matched(term)] * 2 + [_keyed(term)] * 2
    return draw(st.one_of(ways))


@st.composite
def condition(draw: st.DrawFn, columns: Sequence[Column], depth: int = 2) -> str:
    """Tests joined by AND, OR and NOT."""
    shape = draw(st.sampled_from(["one", "one", "one", "AND", "OR", "NOT"])) if depth else "one"
    if shape == "one":
        return draw(comparison(columns))
    if shape == "NOT":
        return f"NOT ({draw(condition(columns, depth - 1))})"
    sides = [draw(condition(columns, depth - 1)) for _ in range(draw(st.integers(2, 3)))]
    return "(" + f" {shape} ".join(sides) + ")"


_EXPRESSIONS: dict[str, list[Column]] = {
    "string": [Column("length({})", "int"), Column("concat({}, '!')", "string")],
    "tinyint": [Column("cast({} AS int)", "int"), Column("-cast({} AS int)", "int")],
    "int": [Column("cast({} AS bigint) + 1", "bigint"), Column("{} % 7", "int")],
    "bigint": [Column("try_cast({} AS int)", "int"), Column("coalesce({}, -1L)", "bigint")],
    "float": [Column("cast({} AS double)", "double")],
    "double": [Column("nanvl({}, 7D)", "double"), Column("{} + 1", "double")],
    "decimal": [Column("coalesce({}, cast(0 AS decimal(20,4)))", "decimal")],
    "binary": [Column("hex({})", "string")],
    "boolean": [Column("NOT {}", "boolean")],
    "date": [Column("last_day({})", "date"), Column("year({})", "int")],
    "timestamp": [Column("cast({} AS date)", "date"), Column("{} + INTERVAL 1 HOUR", "timestamp")],
    "timestamp_ntz": [Column("cast({} AS date)", "date")],
    "array": [Column("size({})", "int")],
    "map": [Column("map_contains_key({}, 'a')", "boolean"), Column("{}['a']", "bigint")],
}  # fmt: skip


@st.composite
def expression(draw: st.DrawFn, columns: Sequence[Column]) -> Column:
    """A column, a field or an expression of one, and its type."""
    term = draw(st.sampled_from(terms(columns)))
    known = _EXPRESSIONS.get(term.type)
    if known is None or draw(st.integers(0, 2)):
        return term
    made = draw(st.sampled_from(known))
    return Column(made.name.format(term.name), made.type)
