"""The rows that random queries are asked of, and values to compare their columns with.

Rows and literals are drawn from one pool of values a type, so that comparisons often hit.
"""

from __future__ import annotations

import datetime as dt
import math
import random
from dataclasses import dataclass
from decimal import Decimal

from pyspark.sql import DataFrame, SparkSession

ROWS = 240
UTC = dt.UTC


@dataclass(frozen=True)
class Column:
    """A column, or a term such as ``st.a``, and the simple name of its Spark type."""

    name: str
    type: str


COLUMNS = (
    Column("k", "string"),
    Column("g", "tinyint"),
    Column("i", "int"),
    Column("n", "bigint"),
    Column("f", "float"),
    Column("x", "double"),
    Column("d", "decimal"),
    Column("s", "string"),
    Column("w", "string"),
    Column("raw", "binary"),
    Column("b", "boolean"),
    Column("day", "date"),
    Column("at", "timestamp"),
    Column("local", "timestamp_ntz"),
    Column("st", "struct"),
    Column("tags", "array"),
    Column("m", "map"),
)
FIELDS = (Column("a", "int"), Column("b", "string"), Column("c.y", "double"))
SCHEMA = """
    k string, g tinyint, i int, n bigint, f float, x double, d decimal(20,4), s string, w string,
    raw binary, b boolean, day date, at timestamp, local timestamp_ntz,
    st struct<a:int,b:string,c:struct<y:double>>, tags array<string>, m map<string,bigint>
"""

_MIDNIGHT = dt.datetime(2013, 1, 31)
_WORDS = [
    "a",
    "ab",
    "abc",
    "b",
    "B",
    "é",
    "ü€",
    "z",
    "a%b",
    "a_b",
    "%",
    "",
    " ",
    "a ",
    "it's",
    "\\",
]
_WORDS += ['say "x"', "😀", "k1"]
_KEYS = [f"k{at}" for at in range(ROWS - 8)] + ["K1", "a:b", "k 1", "é", "it's", "1", "k%", "\\"]
_DOUBLES = [math.nan, -0.0, 0.0, math.inf, -math.inf, 1e300, -1e300, 5e-324, 0.1, -1.5]
POOLS: dict[str, list[object]] = {
    "string": [*_WORDS],
    "tinyint": [-128, 127, 0, 1, 2],
    "int": [*range(-3, 33), 2**31 - 1, -(2**31)],
    "bigint": [*range(-3, 33), 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)],
    "float": [math.nan, -0.0, 0.0, math.inf, -math.inf, *(at / 4 for at in range(-9, 24))],
    "double": [*_DOUBLES, *(at / 4 for at in range(-9, 24))],
    "decimal": [
        *(Decimal(at) / 4 for at in range(-5, 28)),
        Decimal("0.0001"),
        Decimal("1234567890123456.7891"),
        Decimal("-9999999999999999.9999"),
    ],
    "binary": [*(word.encode() for word in _WORDS), b"\x00", b"\x00\xff", b"\xff"],
    "boolean": [True, False],
    "date": [
        *(dt.date(2013, 1, 15) + dt.timedelta(at) for at in range(28)),
        dt.date(1, 1, 1),
        dt.date(1582, 10, 4),
        dt.date(1582, 10, 15),
        dt.date(1899, 12, 31),
        dt.date(1969, 12, 31),
        dt.date(9999, 12, 31),
    ],
    "timestamp": [
        *(_MIDNIGHT.replace(tzinfo=UTC) + dt.timedelta(hours=at) for at in range(-14, 16)),
        dt.datetime(2013, 1, 31, 12, 0, 0, 1, UTC),
        dt.datetime(1582, 10, 14, 23, 59, 59, 999999, UTC),
        dt.datetime(1883, 11, 18, 17, tzinfo=UTC),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        dt.datetime(2013, 3, 10, 7, 30, tzinfo=UTC),
        dt.datetime(2013, 11, 3, 5, 30, tzinfo=UTC),
    ],
    "timestamp_ntz": [
        *(_MIDNIGHT + dt.timedelta(hours=at) for at in range(-14, 16)),
        dt.datetime(1, 1, 1, 0, 0, 0, 1),
        dt.datetime(1582, 10, 14, 23, 59, 59, 999999),
        dt.datetime(2013, 3, 10, 2, 30),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    ],
}


def rows() -> list[tuple[object, ...]]:
    """The same rows every time: one of nothing but nulls, the others with some."""
    chance = random.Random(7)

    def value(kind: str) -> object:
        return None if chance.random() < 0.12 else chance.choice(POOLS[kind])

    def nested(name: str) -> object:
        if chance.random() < 0.12:
            return None
        if name == "st":
            inner = None if chance.random() < 0.1 else (value("double"),)
            return (value("int"), value("string"), inner)
        few = chance.sample(["a", "b", "x", "é", ""], chance.randrange(4))
        return few if name == "tags" else {word: value("bigint") for word in few}

    def row(key: str) -> tuple[object, ...]:
        flat = [
            chance.choice([*_KEYS[:60], "nobody", None])
            if column.name == "w"
            else value(column.type)
            for column in COLUMNS[1:-3]
        ]
        return (key, *flat, *map(nested, ("st", "tags", "m")))

    return [*map(row, _KEYS[:-1]), (_KEYS[-1], *[None] * (len(COLUMNS) - 1))]


FEW = (
    Column("key", "string"),
    Column("num", "int"),
    Column("amount", "decimal"),
    Column("on", "date"),
)


def few(spark: SparkSession) -> DataFrame:
    """A small DataFrame whose columns are worth joining with."""
    day, amount = dt.date(2013, 1, 31), Decimal("0.25")
    return spark.createDataFrame(
        [
            ("k1", 1, amount, day),
            ("k1", 2, amount, None),
            ("k7", 7, Decimal("1.5"), dt.date(1, 1, 1)),
            ("it's", -3, Decimal("0.0001"), day + dt.timedelta(1)),
            ("nobody", 99, Decimal("77"), dt.date(2050, 1, 1)),
            ("a:b", None, None, None),
            (None, 2**31 - 1, Decimal("-1.25"), dt.date(9999, 12, 31)),
        ],
        "key string, num int, amount decimal(20,4), on date",
    )


def literal(value: object) -> str:
    """A value as Spark SQL spells it."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case int():
            return str(value)
        case float():
            return f"double('{value}')" if not math.isfinite(value) else f"{value!r}D"
        case Decimal():
            return f"{value}BD"
        case bytes():
            return f"X'{value.hex()}'"
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case dt.datetime():
            kind = "TIMESTAMP_NTZ" if value.tzinfo is None else "TIMESTAMP_LTZ"
            return f"{kind}'{value.isoformat(' ').replace('+00:00', 'Z')}'"
        case dt.date():
            return f"DATE'{value.isoformat()}'"
    raise TypeError(f"no literal for {value!r}")
