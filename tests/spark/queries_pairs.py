"""What is done to two DataFrames, or to one of them twice: random unions, joins and subqueries."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from queries_conditions import comparison, condition
from queries_data import FEW, POOLS, Column
from queries_steps import Query, distinct_names, renamed, texts, where

MOST_ROWS = 3000  # about; what may have more is not joined with a table again
_UNIQUE = 30  # about as many values as a column worth joining by has
_JOINED_BY = ("string", "int", "bigint", "double", "decimal", "date", "timestamp", "timestamp_ntz")
_HINTS = [*["broadcast"] * 3, "", "", "merge", "shuffle_hash"]
_HOW = ["inner", "inner", "left", "right", "full", "left_semi", "left_anti"]


@st.composite
def twice(draw: st.DrawFn, of: Query) -> Query:
    """One DataFrame used two times in a query."""
    one, two = (draw(condition(of.columns)) for _ in range(2))
    ways = [
        f"df.where({one!r}).union(df.where({two!r}))",
        f"df.where({one!r}).union(df)",
        f"df.union(df.where({two!r}))",
        f"(df.where({one!r}).count(), df)[1]",
    ]
    if of.columns == tuple(of.orderable()):
        ways += [
            f"df.where({one!r}).{name}(df.where({two!r}))" for name in ("intersect", "subtract")
        ]
    return Query(f"(lambda df: {draw(st.sampled_from(ways))})({of.text})", of.columns, 2 * of.rows)


@st.composite
def union(draw: st.DrawFn, of: Query, other: Query) -> Query:
    """Rows of two DataFrames, in columns of the same types."""
    left = draw(st.lists(st.sampled_from(of.columns), min_size=1, max_size=4, unique=True))
    pairs = [
        (mine, draw(st.sampled_from(theirs)))
        for mine in left
        if mine.type != "map"
        and (theirs := [each for each in other.columns if each.type == mine.type])
    ]
    if not pairs:
        return of
    mine, theirs = (texts([column.name for column in side]) for side in zip(*pairs))
    call = f"select({mine}).union({other.text}.select({theirs}))"
    return of.then(call, [pair[0] for pair in pairs], of.rows + other.rows)


@st.composite
def join(draw: st.DrawFn, of: Query, other: Query) -> Query:
    """A join by a column of each side, at times with more conditions, a filter or a hint."""
    both = [(mine, its) for mine in of.columns for its in other.columns if mine.type == its.type]
    both = [pair for pair in both if pair[0].type in _JOINED_BY]
    mine, its = _sides(of, other)
    if both:
        by_key = [(mine, its) for mine, its in both if (mine.name, its.name) == ("k", "key")]
        left, right = draw(st.sampled_from(by_key * len(both) + both))
        sign = draw(st.sampled_from(["=", "=", "=", "<=>"]))
        tests = [f"l.{left.name} {sign} r.{right.name}"]
    elif of.rows * other.rows > MOST_ROWS:
        return of
    else:
        tests = []
    if not tests or draw(st.integers(0, 3)) == 3:
        tests.append(draw(comparison([*mine, *its]).filter(_no_self_join)))
    rows = of.rows * max(1, other.rows // (_UNIQUE if both else 1))
    kind = _Join(
        " AND ".join(tests), draw(st.sampled_from(_HOW)), draw(st.sampled_from(_HINTS)), rows
    )
    return _joined(draw, of, other, kind)


@st.composite
def keys_join(draw: st.DrawFn, of: Query) -> Query:
    """A join by the key with some rows of the small DataFrame: what Spark may filter at run time."""
    if Column("k", "string") not in of.columns:
        return of
    other = draw(where(Query("few", FEW, 7)))
    how = draw(st.sampled_from(["inner", "left_semi"]))
    return _joined(draw, of, other, _Join("l.k = r.key", how, "broadcast", of.rows))


def _no_self_join(test: str) -> bool:
    """Spark takes `l.g = l.g` in a join for a slip, and looks for the second g on the other side."""
    left, sign, right = test.partition(" <=> " if " <=> " in test else " = ")
    return not sign or left != right


@dataclass(frozen=True)
class _Join:
    on: str
    how: str
    hint: str
    rows: int


def _joined(draw: st.DrawFn, of: Query, other: Query, kind: _Join) -> Query:
    """The join, and some columns of its sides by names of their own."""
    mine, its = _sides(of, other)
    right = f"{other.text}.hint({kind.hint!r})" if kind.hint else other.text
    joined = f'alias("l").join({right}.alias("r"), expr({kind.on!r}), {kind.how!r})'
    sides = mine if "_" in kind.how else [*mine, *its]
    kept = draw(st.lists(st.sampled_from(sides), min_size=1, max_size=5, unique=True))
    if all(column.type == "map" for column in kept):
        return of
    names = distinct_names(draw, kept, of.columns)
    rows = of.rows if "_" in kind.how else kind.rows
    return of.then(f"{joined}.selectExpr({texts(renamed(kept, names))})", names, rows)


def _sides(of: Query, other: Query) -> tuple[list[Column], list[Column]]:
    """The columns of both sides of a join, by the names that they have in it."""
    mine, its = ([Column(f"{side}.{column.name}", column.type) for column in query.columns]
                 for side, query in (("l", of), ("r", other)))  # fmt: skip
    return mine, its


@st.composite
def few(draw: st.DrawFn) -> Query:
    """The small DataFrame, at times with a filter that makes it worth asking at run time."""
    found = Query("few", FEW, 7)
    return draw(where(found)) if draw(st.booleans()) else found


@st.composite
def subquery(draw: st.DrawFn, of: Query) -> Query:
    """SQL over a view of the DataFrame, which it names more than once."""
    one, two = (draw(condition(of.columns)) for _ in range(2))
    counted = "(SELECT count(*) FROM {t} WHERE " + one + ")"
    flat = [column for column in of.columns if column.type in POOLS]
    ways = [
        f"WITH v AS (SELECT * FROM {{t}} WHERE {one}) SELECT * FROM v WHERE {two} UNION ALL SELECT * FROM v",
        f"SELECT * FROM {{t}} WHERE {counted} > 20 OR {two}",
    ]
    if flat:
        name = draw(st.sampled_from(flat)).name
        sign = draw(st.sampled_from(["=", "<", ">", "<=", ">="]))
        found = draw(st.sampled_from(["min", "max"]))
        ways += [
            f"SELECT * FROM {{t}} WHERE {name} {sign} (SELECT {found}({name}) FROM {{t}} WHERE {one})",
            f"SELECT * FROM {{t}} WHERE {name} IN (SELECT {name} FROM {{t}} WHERE {one})",
            f"SELECT * FROM {{t}} WHERE {name} NOT IN (SELECT {name} FROM {{t}} WHERE {one})",
            f"SELECT * FROM {{t}} AS o WHERE EXISTS "
            f"(SELECT 1 FROM (SELECT * FROM {{t}} WHERE {one}) AS i WHERE i.{name} = o.{name})",
        ]
    return Query(f"sql({draw(st.sampled_from(ways))!r}, t={of.text})", of.columns, 2 * of.rows)
