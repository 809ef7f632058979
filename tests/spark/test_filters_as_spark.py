"""Filters keep the rows that Spark's own WHERE keeps.

But for one: Spark's optimizer takes ``n < 99999999999999999999`` for true, even where n is null.
"""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pyarrow as pa
from pyspark.sql import SparkSession

from connector.filters import bind, keep, parse_filter

COLUMNS = """
    id int, i8 tinyint, n bigint, f float, x double, d decimal(20,4), s string, raw binary, b boolean,
    day date, at timestamp, local timestamp_ntz, tags array<string>,
    nums array<int>, reals array<double>, days array<date>, counts map<string, int>, marks map<double, int>,
    st struct<a: int, name: string, `x.y`: double, deep: struct<d: decimal(10,2), day: date, `in`: boolean>>
"""
UTC = dt.UTC
ROWS = [
    (0, 127, 2**63 - 1, 0.1, math.nan, Decimal("0.1"), "a", b"a", True, dt.date(2013, 1, 31),
     dt.datetime(2013, 1, 31, tzinfo=UTC), dt.datetime(2013, 1, 31), ["x"],
     [1, None], [0.5, math.nan], [dt.date(2013, 1, 31)], {"a": 1, "b": None}, {math.nan: 1},
     (1, "ann", math.nan, (Decimal("0.10"), dt.date(2013, 1, 31), True))),
    (1, -128, -(2**63), -0.0, -0.0, Decimal("0.1001"), "", b"", False, dt.date(1, 1, 1),
     dt.datetime(2013, 1, 31, 12, 0, 0, 1, UTC), dt.datetime(1, 1, 1), [],
     [], [-0.0, 1.0], [], {}, {0.0: 1},
     (None, None, None, (None, None, None))),
    (2, 1, 2**53 + 1, math.nan, 0.0, Decimal("-1.5"), "a%b\nc", b"\x00\xff", True,
     dt.date(9999, 12, 31), dt.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
     dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None,
     [2**31 - 1, 1, 1], [0.0, None], [None, dt.date(1, 1, 1)], {"": 1}, {0.5: 1},
     (2, "", -0.0, None)),
    (3, 2, 2**53, math.inf, 1e300, Decimal("1234567890123456.7891"), "\uffff", b"\xc3\xa9", False,
     dt.date(1970, 1, 1), dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(2013, 1, 31, 10), [None],
     None, [math.inf], None, None, None,
     None),
    (4, 0, 1, -math.inf, 1.5, Decimal("1"), "\U0001f600é", b"ab", True, dt.date(2013, 2, 1),
     dt.datetime(2013, 1, 31, 11, tzinfo=UTC), dt.datetime(2013, 1, 31, 12), ["a"],
     [0], None, [dt.date(1970, 1, 1)], {"é": 1}, {},
     (-3, "a.b", 1.5, (Decimal("7"), None, False))),
    (5, *[None] * 18),
]  # fmt: skip
FILTERS = """
    n = 1.5
    n < 1.5
    n >= 0.5
    n = 9007199254740993
    n > 9007199254740992
    n < 99999999999999999999 AND n IS NOT NULL
    n > 99999999999999999999
    n <> 99999999999999999999
    NOT n = -99999999999999999999
    i8 < 128
    i8 IN (1, 2.0, 300)
    i8 NOT IN (1, 300)
    i8 BETWEEN -0.5 AND 1.5
    i8 NOT BETWEEN 0 AND 1
    f = 0.1
    f > 1
    f = 0
    f < 1.5
    x = double('NaN')
    x > 1e300
    x <= double('NaN')
    x < double('NaN')
    x <> 0
    x = 0
    x IN (0, double('nan'))
    x NOT IN (0.0, 1.5)
    d = 0.1
    d > 0.1
    d >= 0.10005
    d = 1234567890123456.7891
    d IN (1, -1.5, 7.77777)
    s > 'a'
    s >= ''
    s < '😀'
    s > '\uffff'
    s LIKE 'a%c'
    s NOT LIKE '_'
    s LIKE '_é'
    startswith(s, 'a')
    endswith(s, 'é') OR contains(s, '%')
    raw = 'a'
    raw > X'61'
    raw < X'C3A9'
    b = TRUE
    b < TRUE
    NOT b = TRUE
    day = '2013-01-31'
    day <= DATE '2013-01-31'
    day < TIMESTAMP '2013-01-31 10:00:00'
    day IN (DATE '1970-01-01', DATE '2013-02-01')
    at = '2013-01-31'
    at > '2013-01-31 11:00:00'
    at >= TIMESTAMP '2013-01-31 12:00:00+01:00'
    at < TIMESTAMP '1970-01-01 00:00:00'
    at <= DATE '2013-01-31'
    local = '2013-01-31 10:00:00'
    local > TIMESTAMP '2013-01-31 11:00:00+01:00'
    local >= DATE '2013-01-31'
    tags IS NULL
    tags IS NOT NULL AND n > 0
    n > 0 OR x IS NULL
    NOT (n > 0 AND x > 1)
    NOT (n > 0 OR s = 'a')
    18 <= n AND NOT s = 'a'
    st IS NULL
    st IS NOT NULL
    st.a IS NULL
    st.a IS NOT NULL
    st.deep IS NULL
    st.deep.d IS NULL
    st.deep.d IS NOT NULL AND st.a > 0
    st.a = 1
    st.a <> 1
    NOT st.a = 1
    st.a < 1.5
    st.a <= 99999999999
    st.a IN (1, 2, 2.5)
    st.a NOT IN (1, 2)
    st.a BETWEEN -3 AND 1
    2 > st.a
    st.name = 'a.b'
    st.name < 'b' OR st IS NULL
    `st`.`name` LIKE 'a%'
    st.name NOT LIKE '%n'
    startswith(st.name, 'a')
    NOT contains(st.name, '.')
    st.`x.y` >= 1.5
    st.`x.y` = 0
    st . `x.y` <> double('NaN')
    st.deep.d = 0.1
    st.deep.d > 0.105
    st.deep.d IN (7, 0.1)
    st.deep.day = '2013-01-31'
    st.deep.day < DATE '2013-02-01' OR st.deep.d > 1
    st.deep.`in` = TRUE
    NOT (st.deep.`in` = TRUE AND st.a = 1)
    rlike(s, '^a')
    s RLIKE 'b.c' OR s RLIKE '(?s)b.c'
    s NOT RLIKE '[a-z]+$'
    s RLIKE ''
    NOT rlike(st.name, '^a[.n]')
    array_contains(tags, 'a')
    NOT array_contains(tags, 'a')
    array_contains(tags, 'x') OR n > 0
    array_contains(nums, 1)
    NOT array_contains(nums, 1)
    NOT array_contains(nums, 0.5)
    NOT array_contains(nums, 99999999999)
    array_contains(nums, 0e0)
    array_contains(reals, 0)
    array_contains(reals, double('NaN'))
    NOT array_contains(reals, 0.5)
    array_contains(days, DATE '2013-01-31')
    NOT array_contains(days, DATE '0001-01-01')
    NOT array_contains(days, TIMESTAMP '1970-01-01 10:00:00')
    map_contains_key(counts, 'b')
    NOT map_contains_key(counts, 'a')
    map_contains_key(counts, '') OR map_contains_key(counts, 'é')
    map_contains_key(marks, double('NaN'))
    map_contains_key(marks, -0e0)
    NOT map_contains_key(marks, 0.5)
"""


def test_the_same_rows_as_spark(spark: SparkSession) -> None:
    texts = [line.strip() for line in FILTERS.strip().splitlines()]
    frame = spark.createDataFrame(ROWS, COLUMNS).coalesce(1)
    (batch,) = frame.toArrow().combine_chunks().to_batches()
    asked = frame.selectExpr("id", *(f"({text}) AS c{at}" for at, text in enumerate(texts)))
    theirs = asked.collect()
    wrong = {}
    for at, text in enumerate(texts):
        expected = [row["id"] for row in theirs if row[f"c{at}"]]
        found = keep(bind(parse_filter(text), batch.schema, "t"), batch)["id"].to_pylist()
        if found != expected:
            wrong[text] = (found, expected)
    assert not wrong, "filter: (ours, Spark's)"
    assert batch.schema.field("at").type == pa.timestamp("us", "UTC")
