"""What is done to one DataFrame: random calls of its methods, as Python text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from queries_conditions import comparison, condition, expression
from queries_data import COLUMNS, ROWS, Column

_INTEGERS = ("tinyint", "int")


@dataclass(frozen=True)
class Query:
    """Text that makes a DataFrame, the columns it has, and about how many rows at most."""

    text: str
    columns: tuple[Column, ...]
    rows: int = ROWS

    def then(
        self, call: str, columns: Sequence[Column] | None = None, rows: int | None = None
    ) -> Query:
        """This DataFrame, and a call of one of its methods."""
        text = f"{self.text}.{call}"
        return Query(text, tuple(columns or self.columns), rows or self.rows)

    def orderable(self) -> list[Column]:
        return [column for column in self.columns if column.type != "map"]


def texts(values: Sequence[str]) -> str:
    return ", ".join(map(repr, values))


def distinct_names(
    draw: st.DrawFn, columns: Sequence[Column], among: Sequence[Column]
) -> list[Column]:
    """The columns under names of their own, which are at times those of other columns."""
    named: list[Column] = []
    for at, column in enumerate(columns):
        plain = column.name if column.name.isidentifier() else f"c{at}"
        other = draw(st.sampled_from(among)).name if draw(st.integers(0, 4)) == 4 else plain
        taken = {each.name for each in named}
        free = (name for name in (other, plain, *(f"c{n}" for n in range(99))) if name not in taken)
        named.append(Column(next(free), column.type))
    return named


def renamed(columns: Sequence[Column], names: Sequence[Column]) -> list[str]:
    return [
        column.name if column.name == name.name else f"{column.name} AS {name.name}"
        for column, name in zip(columns, names, strict=True)
    ]


@st.composite
def read(draw: st.DrawFn) -> Query:
    """The one DataFrame, or the table loaded again, at times with options of the reader."""
    way = draw(st.sampled_from(["base"] * 5 + ["load", "columns", "filter"]))
    if way == "base":
        return Query("base", COLUMNS)
    if way == "load":
        return Query("load()", COLUMNS)
    if way == "filter":
        return Query(f"load(filter={draw(st.sampled_from(READ_FILTERS))!r})", COLUMNS)
    some = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=6, unique=True))
    if not any(column.type != "map" for column in some):
        some.append(COLUMNS[0])
    names = ",".join(column.name for column in some)
    return Query(f"load(columns={names!r})", tuple(some))


READ_FILTERS = (
    "k = 'k1'",
    "k IN ('k1', 'k2', 'nobody')",
    "i > 3 AND i < 100",
    "n >= 5 OR s LIKE 'a%'",
    "NOT (g = 1)",
    "st IS NOT NULL",
    "b = TRUE AND x > 0",
)


@st.composite
def where(draw: st.DrawFn, of: Query) -> Query:
    return of.then(f"where({draw(condition(of.columns))!r})")


@st.composite
def select(draw: st.DrawFn, of: Query) -> Query:
    """Some columns and expressions, reordered and renamed."""
    some = draw(st.lists(expression(of.columns), min_size=1, max_size=6))
    if all(column.type == "map" for column in some):
        some.append(of.orderable()[0])
    names = distinct_names(draw, some, of.columns)
    return of.then(f"selectExpr({texts(renamed(some, names))})", names)


@st.composite
def without(draw: st.DrawFn, of: Query) -> Query:
    """All but some columns."""
    gone = set(draw(st.lists(st.sampled_from(of.columns), max_size=4)))
    left = [column for column in of.columns if column not in gone]
    if all(column.type == "map" for column in left):
        return of
    return of.then(f"drop({texts(sorted(column.name for column in gone))})", left)


@st.composite
def with_column(draw: st.DrawFn, of: Query) -> Query:
    """One column more, or one replaced."""
    made = draw(expression(of.columns))
    name = draw(st.sampled_from([*(column.name for column in of.columns), "more"]))
    left = [column for column in of.columns if column.name.lower() != name.lower()]
    if not left and made.type == "map":
        return of
    return of.then(f"withColumn({name!r}, expr({made.name!r}))", [*left, Column(name, made.type)])


@st.composite
def group(draw: st.DrawFn, of: Query) -> Query:
    """Aggregates of all rows, or by one or two columns."""
    by = draw(st.lists(st.sampled_from(of.orderable()), max_size=2, unique=True))
    made = draw(st.lists(_aggregate(of), min_size=1, max_size=3))
    names = [Column(f"a{at}", each.type) for at, each in enumerate(made)]
    aggregates = ", ".join(f"expr({text!r})" for text in renamed(made, names))
    keys = texts([column.name for column in by])
    kept = [column for column in by if column.name not in {name.name for name in names}]
    if len(kept) < len(by):
        return of
    return of.then(f"groupBy({keys}).agg({aggregates})", [*by, *names], of.rows if by else 1)


@st.composite
def _aggregate(draw: st.DrawFn, of: Query) -> Column:
    column = draw(st.sampled_from(of.orderable()))
    ways = [
        Column("count(*)", "bigint"),
        Column(f"count({column.name})", "bigint"),
        Column(f"count(DISTINCT {column.name})", "bigint"),
    ]
    if column.type not in ("struct", "array"):
        ways += [Column(f"{name}({column.name})", column.type) for name in ("min", "max")]
    if column.type in _INTEGERS:
        ways += [Column(f"sum({column.name})", "bigint"), Column(f"avg({column.name})", "double")]
        test = draw(comparison(of.columns))
        ways += [Column(f"count(*) FILTER (WHERE {test})", "bigint")]
    if column.type == "string":
        ways += [Column(f"sort_array(collect_set({column.name}))", "array")]
    return draw(st.sampled_from(ways))


@st.composite
def distinct(draw: st.DrawFn, of: Query) -> Query:
    some = draw(st.lists(st.sampled_from(of.orderable()), min_size=1, max_size=3, unique=True))
    names = texts([column.name for column in some])
    return of.then(f"select({names}).distinct()", some)


@st.composite
def top(draw: st.DrawFn, of: Query) -> Query:
    """The first rows by all columns."""
    some = draw(st.lists(st.sampled_from(of.orderable()), min_size=1, max_size=5, unique=True))
    names = [column.name for column in some]
    first = draw(st.sampled_from(["asc", "desc", "asc_nulls_last", "desc_nulls_first"]))
    order = ", ".join([f"col({names[0]!r}).{first}()", *map(repr, names[1:])])
    most = draw(st.sampled_from([1, 3, 10, 50]))
    return of.then(f"select({texts(names)}).orderBy({order}).limit({most})", some, most)


@st.composite
def window(draw: st.DrawFn, of: Query) -> Query:
    """A function over a window that ties cannot change, and at times the best rows by it."""
    by, order = (draw(st.sampled_from(of.orderable())) for _ in range(2))
    added = draw(_aggregate(of)) if draw(st.booleans()) else None
    if added is None or "DISTINCT" in added.name or "FILTER" in added.name:
        added = Column(draw(st.sampled_from(["rank()", "dense_rank()"])), "int")
    over = draw(st.sampled_from([f"ORDER BY {order.name}", f"ORDER BY {order.name} DESC"]))
    kept = [column for column in (by, order) if column.name != "over"]
    kept = list(dict.fromkeys(kept)) or [by]
    text = f"{added.name} OVER (PARTITION BY {by.name} {over}) AS over"
    columns = [*kept, Column("over", added.type)]
    if "over" in (by.name, order.name):
        return of
    found = of.then(f"selectExpr({texts([column.name for column in kept])}, {text!r})", columns)
    return (
        found.then("where('over <= 2')") if added.type == "int" and draw(st.booleans()) else found
    )


@st.composite
def noted(draw: st.DrawFn, of: Query) -> Query:
    """The same rows, after something that plans or runs this DataFrame early."""
    name = draw(st.sampled_from(["cached", "explained", "counted"]))
    return replace(of, text=f"{name}({of.text})")
