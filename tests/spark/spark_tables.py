"""Small tables, written and read as users do."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession


def people(spark: SparkSession, rows: int, first: int = 0) -> DataFrame:
    return spark.range(first, first + rows).selectExpr(
        "id", "concat('name ', id) name", "cast(id % 7 as int) n", "id / 4 as x"
    )


def format_of(url: str) -> str:
    """The format that reads what is at a URL."""
    return "aerospike" if url.startswith("aerospike:") else "redis"


def load(spark: SparkSession, url: str, table: str, **options: object) -> DataFrame:
    given = {name.replace("_", "."): str(value) for name, value in options.items()}
    return spark.read.format(format_of(url)).options(url=url, table=table, **given).load()


def save(df: DataFrame, url: str, table: str, mode: str = "append", **options: object) -> None:
    given = {"key.column": "id"} | {
        name.replace("_", "."): str(value) for name, value in options.items()
    }
    writer = df.write.format(format_of(url)).options(url=url, table=table, **given)
    writer.mode(mode).save()
