"""Running a random query on the table and on plain Spark, and comparing what they return."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from queries import SETTINGS, Case

PUSHDOWN = "spark.kvlake.pushdown"
_PUSHED = {
    "columns": r"PushedColumns: \[",
    "filter": r"PushedFilter: \[[^\]]",
    "limit": "PushedLimit",
    "count": "PushedCount",
    "keys": r"RuntimeFilters: \[dynamicpruning",
}
Rows = Counter[tuple[object, ...]]


@dataclass(frozen=True)
class Tables:
    """Where the rows of a query come from."""

    base: DataFrame
    load: Callable[..., DataFrame]
    few: DataFrame


@dataclass(frozen=True)
class Answer:
    """What a query returned, and the plan it was returned by; or by which condition Spark refused it."""

    rows: Rows
    plan: str
    refused: str | None = None


@contextmanager
def configured(spark: SparkSession, settings: dict[str, str]) -> Iterator[None]:
    """The session with these settings, for a while."""
    before = {name: spark.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            spark.conf.unset(name) if old is None else spark.conf.set(name, old)


def answer(case: Case, tables: Tables, *, pushdown: str) -> Answer:
    """Run a query on these tables."""
    spark = tables.base.sparkSession
    settings = dict(zip(SETTINGS, case.settings, strict=True))
    with configured(spark, {PUSHDOWN: pushdown, **settings}), _caching() as cached:
        try:
            found = eval(case.text, _names(spark, tables, cached))
            # The base itself would keep the plan that it was given under the settings before.
            frame = found.select("*") if case.limit is None else found.limit(case.limit)
            plan(frame)
        except AnalysisException as error:  # the generator does not know all of Spark's rules
            return Answer(Counter(), "", error.getCondition())
        except Py4JJavaError as error:
            return Answer(Counter(), "", _defect(error))
        rows = Counter(_comparable(tuple(row)) for row in frame.collect())
        return Answer(rows, plan(frame))


def _names(
    spark: SparkSession, tables: Tables, cached: Callable[[DataFrame], DataFrame]
) -> dict[str, object]:
    """What the text of a query may speak of."""
    return {
        "base": tables.base,
        "load": tables.load,
        "few": tables.few,
        "cached": cached,
        "explained": explained,
        "counted": counted,
        "sql": spark.sql,
        "expr": sf.expr,
        "col": sf.col,
    }


def _defect(error: Py4JJavaError) -> str:
    """Where Spark's optimizer itself fails on a query; any other error is raised again.

    ``ReplaceExceptWithFilter`` does on a condition that names a column in lower and in upper case.
    """
    frames = error.java_exception.getStackTrace()
    rule = next(
        (each.getClassName() for each in frames if ".optimizer." in each.getClassName()), None
    )
    if rule is None:
        raise error
    return f"{error.java_exception.getClass().getName()} in {rule.rpartition('.')[2]}"


@contextmanager
def _caching() -> Iterator[Callable[[DataFrame], DataFrame]]:
    """A function that caches a DataFrame until all is done."""
    frames: list[DataFrame] = []

    def cached(df: DataFrame) -> DataFrame:
        frames.append(df.persist())
        return df

    try:
        yield cached
    finally:
        for frame in frames:
            frame.unpersist()


def plan(df: DataFrame) -> str:
    """The plan of a DataFrame, as it was carried out where it was."""
    return df._jdf.queryExecution().executedPlan().toString()


def pushed(plan: str) -> set[str]:
    """What a plan says was pushed into any of its scans: columns, and more or less of the rest."""
    return {kind for kind, text in _PUSHED.items() if re.search(text, plan)}


def explained(df: DataFrame) -> DataFrame:
    """The DataFrame, after ``explain`` has planned it."""
    plan(df)
    return df


def counted(df: DataFrame) -> DataFrame:
    """The DataFrame, after an action on it."""
    df.count()
    return df


def _comparable(value: object) -> object:
    """A value that equals what Spark calls the same: NaN is itself, and -0.0 is 0.0."""
    match value:
        case float():
            return "NaN" if value != value else value + 0.0
        case tuple() | list():
            return tuple(map(_comparable, value))
        case dict():
            return tuple(sorted((key, _comparable(each)) for key, each in value.items()))
        case bytearray():
            return bytes(value)
    return value


def difference(found: Rows, expected: Rows, limit: int | None) -> str:
    """What is wrong with the rows found; nothing where they are right."""
    wrong = found - expected
    if limit is not None:
        short = min(limit, expected.total()) - found.total()
        return f"{short} rows too few; not of the query: {_some(wrong)}" if wrong or short else ""
    missing = expected - found
    if not wrong and not missing:
        return ""
    return (
        f"{found.total()} rows in place of {expected.total()}; "
        f"missing: {_some(missing)}; not expected: {_some(wrong)}"
    )


def _some(rows: Rows) -> str:
    return ", ".join(map(repr, list(rows)[:3])) + (" ..." if len(rows) > 3 else "")
