"""Random DataFrame queries, as the Python text that makes them: a failing one can be run again.

Text such as ``base.where("n > 3").select("k")`` is evaluated with the names that ``queries_running``
gives: ``base`` is one DataFrame, made once; ``load(columns=..., filter=...)`` reads the table
afresh; ``few`` is a small local DataFrame; ``cached``, ``explained`` and ``counted`` do something to
a DataFrame and hand it back. What a query returns is determined but for the order of its rows: there
are no sums of floats, no errors by overflow, and a limit inside stands behind a total order.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from queries_pairs import MOST_ROWS, few, join, keys_join, subquery, twice, union
from queries_steps import (
    Query,
    distinct,
    group,
    noted,
    read,
    select,
    top,
    where,
    window,
    with_column,
    without,
)

_ALONE = (
    [where] * 6 + [select] * 4 + [without, with_column, group, group, distinct, top, window, noted]
)
_TWICE = [twice, twice, subquery, subquery]
_ENDS = ["rows", "rows", "rows", "count", "limit", "bare count", "bare limit"]
SETTINGS = {
    "spark.sql.adaptive.enabled": ["true", "false"],
    "spark.sql.autoBroadcastJoinThreshold": ["10485760", "-1"],
    "spark.sql.optimizer.nestedSchemaPruning.enabled": ["true", "true", "false"],
    "spark.sql.session.timeZone": ["UTC", "UTC", "America/New_York", "Asia/Kolkata"],
    "spark.sql.ansi.enabled": ["true", "true", "false"],
    # Compiling takes longest.
    "spark.sql.codegen.wholeStage": ["false", "false", "false", "true"],
    "spark.sql.codegen.factoryMode": ["NO_CODEGEN", "NO_CODEGEN", "NO_CODEGEN", "FALLBACK"],
}


@dataclass(frozen=True)
class Case:
    """A query and how it is run.

    Attributes:
        text: the query.
        limit: where given, the query's rows are any so many of it.
        settings: of the session, in the order of ``SETTINGS``.
    """

    text: str
    limit: int | None
    settings: tuple[str, ...]


@st.composite
def _short(draw: st.DrawFn) -> Query:
    """The other side of a union or a join."""
    found = draw(read())
    for step in draw(st.lists(st.sampled_from([where, where, select, distinct, top]), max_size=2)):
        found = draw(step(found))
    return found


@st.composite
def _step(draw: st.DrawFn, of: Query) -> Query:
    kind = draw(st.integers(0, 9))
    if kind < 6 or of.rows > MOST_ROWS:
        return draw(draw(st.sampled_from(_ALONE))(of))
    if kind < 8:
        return draw(draw(st.sampled_from(_TWICE))(of))
    if kind == 8 and draw(st.booleans()):
        return draw(union(of, draw(_short())))
    return draw(join(of, draw(st.one_of(few(), _short()))))


@st.composite
def query(draw: st.DrawFn) -> Query:
    """A read, mostly of some rows and at times of some keys, and up to four steps more."""
    found = draw(read())
    if draw(st.integers(0, 3)):
        found = draw(where(found))
    match draw(st.integers(0, 7)):
        case 5 | 6:  # often enough for few queries to have some
            found = draw(keys_join(found))
        case 7:
            found = draw(join(found, draw(few())))
    for _ in range(draw(st.integers(0, 4))):
        found = draw(_step(found))
    return found if found.rows <= MOST_ROWS else draw(group(found))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A query whose rows, their number or any few of them are asked for."""
    end = draw(st.sampled_from(_ENDS))
    bare = end.startswith("bare")  # what alone is pushed to a source
    found = draw(select(draw(read()))) if bare else draw(query())
    settings = tuple(draw(st.sampled_from(values)) for values in SETTINGS.values())
    if end.endswith("count"):
        return Case(f"{found.text}.groupBy().count()", None, settings)
    return Case(
        found.text,
        draw(st.sampled_from([0, 1, 5, 300])) if end.endswith("limit") else None,
        settings,
    )
