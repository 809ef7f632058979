"""Queries in which what is pushed for one scan must not be taken for another, and their answers.

The table has the rows ``k0`` to ``k59``: ``v`` counts them, ``g`` is ``v`` modulo 3, ``n`` is ``v``
or null where 4 divides it, ``x`` is half of ``v`` but NaN for 7, ``words`` goes by ``v`` modulo 5,
and ``st`` has ``v`` in its fields.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

ROWS = 60


def k(at: int) -> str:
    return f"k = 'k{at}'"


def keys(df: DataFrame) -> list[str]:
    return sorted(row["k"] for row in df.select("k").collect())


POISONED: dict[str, tuple[Callable[[DataFrame], object], object]] = {
    "all rows after some": (
        lambda df: [df.where(k(1)).count(), df.count(), df.where(k(2)).count(), df.count()],
        [1, ROWS, 1, ROWS],
    ),
    "all columns after some": (
        lambda df: [len(df.select("k").first()), len(df.first()), len(df.select("v", "k").first())],
        [1, 8, 2],
    ),
    "a union of two filters": (lambda df: keys(df.where(k(1)).union(df.where(k(2)))), ["k1", "k2"]),
    "a union with all rows": (lambda df: df.where(k(1)).union(df).count(), ROWS + 1),
    "a union of all rows with some": (lambda df: df.union(df.where(k(1))).count(), ROWS + 1),
    "a union of different columns": (
        lambda df: sorted(
            row[0] for row in df.where(k(1)).select("k").union(df.where(k(2)).select("words")).collect()
        ),
        ["k1", "w2"],
    ),
    # Spark makes of it a NOT of a COALESCE of an AND, of which it fails to make a predicate.
    "a difference of two filters": (
        lambda df: keys(df.where("v < 5").subtract(df.where("v BETWEEN 1 AND 3"))),
        ["k0", "k4"],
    ),
    "a filter on an array": (
        lambda df: keys(df.selectExpr("k", "array(words) AS w").where("w = array('w1')")),
        sorted(f"k{at}" for at in range(1, ROWS, 5)),
    ),
    "a self join": (
        lambda df: df.where(k(1)).alias("a").join(df.alias("b"), "k").count(),
        1,
    ),
    "a self join of different columns": (
        lambda df: [
            tuple(row)
            for row in df.where("v = 3").select("k", "v").join(df.select("k", "words"), "k").collect()
        ],
        [("k3", 3, "w3")],
    ),
    "a self join by another column": (
        lambda df: df.where("v < 3").alias("a").join(df.alias("b"), sf.expr("a.v = b.g")).count(),
        ROWS,
    ),
    "a full join": (
        lambda df: (
            df.where("v < 5").select("k").join(df.where("v >= 55").select("k", "v"), "k", "full").count()
        ),
        10,
    ),
    "an anti join": (lambda df: df.join(df.where("v > 1"), "k", "left_anti").count(), 2),
    "one aggregate twice": (
        lambda df: df.groupBy("g").count().union(df.groupBy("g").count()).count(),
        6,
    ),
    "an aggregate of all rows and of some": (
        lambda df: sorted(
            tuple(row)
            for row in df.groupBy("g")
            .agg(sf.count("*").alias("all"))
            .join(df.where("v < 4").groupBy("g").agg(sf.count("*").alias("some")), "g")
            .collect()
        ),
        [(0, 20, 2), (1, 20, 1), (2, 20, 1)],
    ),
    "two counts": (
        lambda df: sorted(
            row[0]
            for row in df.agg(sf.count("*")).union(df.where("v < 9").agg(sf.count("*"))).collect()
        ),
        [9, ROWS],
    ),
    "the best of each group": (
        lambda df: (
            df.selectExpr("v", "row_number() OVER (PARTITION BY g ORDER BY v DESC) AS at")
            .where("at = 1 AND v > 57")
            .count()
        ),
        2,
    ),
    "repeated actions": (
        lambda df: (lambda some: [some.count(), len(some.collect()), some.count()])(df.where("v > 7")),
        [52, 52, 52],
    ),
    "renamed columns": (
        lambda df: [
            tuple(row) for row in df.selectExpr("k AS v", "v AS k").where("k = 3").collect()
        ],
        [("k3", 3)],
    ),
    "columns in another letter case": (
        lambda df: [row.asDict() for row in df.select("K", "V").where("K = 'k1' AND v < 5").collect()],
        [{"K": "k1", "V": 1}],
    ),
    "fields of a struct": (
        lambda df: [row[0] for row in df.where("st.a >= 58 AND st.b <> 'b59'").select("st.b").collect()],
        ["b58"],
    ),
    "NaN is greater than all": (lambda df: df.where("x > 28.5").count(), 3),
    "a null in a list": (lambda df: df.where("v IN (1, 2, NULL)").count(), 2),
    "not in a list with a null": (lambda df: df.where("v NOT IN (1, 2, NULL)").count(), 0),
    "equal to null": (lambda df: df.where("n <=> NULL").count(), 15),
    "not equal, with nulls": (lambda df: df.where("NOT (n <=> 1)").count(), 59),
    "a long list": (lambda df: df.where(sf.col("v").isin(list(range(9, 20_009)))).count(), 51),
    "a filter that differs each time": (lambda df: df.where("rand() >= 0 AND k = 'k1'").count(), 1),
    "a function of Python": (
        lambda df: df.where(sf.udf(lambda text: text == "k1", "boolean")("k")).where("v < 9").count(),
        1,
    ),
    "a sample": (lambda df: 0 < df.where("v >= 0").sample(0.9, 1).count() <= ROWS, True),
    "an RDD": (lambda df: df.where(k(1)).rdd.count(), 1),
    "pandas": (lambda df: list(df.where(k(1)).select("v").toPandas()["v"]), [1]),
    "a collation": (lambda df: df.where("collate(k, 'UTF8_LCASE') = 'K1'").count(), 1),
    "a limit": (lambda df: len(set(df.limit(7).collect())), 7),
    "a limit of more than there is": (lambda df: len(set(keys(df.limit(1000)))), ROWS),
    "no rows": (lambda df: [df.limit(0).count(), df.where("v < 0").count()], [0, 0]),
    "a limit behind a filter": (lambda df: len(keys(df.where("g = 1").limit(7))), 7),
    "a filter behind a limit": (lambda df: df.limit(ROWS).where("v = 59").count(), 1),
    "a limit behind a filter that is not pushed": (
        lambda df: keys(df.where("v % 30 = 29").limit(2)),
        ["k29", "k59"],
    ),
    "a count of a limit": (lambda df: [df.limit(7).count(), df.limit(1000).count()], [7, ROWS]),
    "a limit of one side": (lambda df: df.limit(3).union(df).count(), ROWS + 3),
    "the first by an order": (
        lambda df: [row[0] for row in df.orderBy(sf.desc("v")).limit(2).select("v").collect()],
        [59, 58],
    ),
    "an offset": (lambda df: df.offset(50).count(), 10),
}  # fmt: skip


SQL = {
    "SELECT count(*) FROM {t} a, {t} b WHERE a.k = 'k1' AND b.k = 'k2'": [(1,)],
    "SELECT (SELECT count(*) FROM {t} WHERE k = 'k1'), (SELECT count(*) FROM {t})": [(1, ROWS)],
    "SELECT (SELECT max(v) FROM {t} WHERE v < 5), (SELECT max(v) FROM {t} WHERE v < 9)": [(4, 8)],
    "SELECT (SELECT max(v) FROM {t} WHERE v < 5), (SELECT max(x) FROM {t} WHERE v < 5)": [(4, 2.0)],
    "WITH c AS (SELECT k, v, g FROM {t} WHERE v < 9) "
    "SELECT count(*) FROM c a JOIN c b ON a.v = b.v WHERE a.g = 0 AND b.v > 3": [(1,)],
    "WITH c AS (SELECT * FROM {t}) SELECT v FROM c WHERE k = 'k1' UNION ALL SELECT g FROM c WHERE v = 8": [
        (1,),
        (2,),
    ],
    "SELECT count(*) FROM {t} a WHERE EXISTS (SELECT 1 FROM {t} b WHERE b.v = a.v AND b.g = 1)": [(20,)],
    "SELECT v FROM {t} WHERE k IN (SELECT k FROM {t} WHERE v = 13)": [(13,)],
    "SELECT count(*) FROM {t} WHERE v NOT IN (SELECT n FROM {t} WHERE n IS NOT NULL)": [(15,)],
    "SELECT count(*) FROM {t} WHERE v NOT IN (SELECT n FROM {t})": [(0,)],
    "SELECT count(*), sum(v) FILTER (WHERE g = 1) FROM {t} WHERE v < 6": [(6, 5)],
    "SELECT k FROM {t} WHERE v = (SELECT max(v) FROM {t} WHERE g = 0)": [("k57",)],
}  # fmt: skip
