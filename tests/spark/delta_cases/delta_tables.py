"""Delta tables of people, and what the servers hold of them as their own clients see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aerospikes import Aerospike
from pyspark.sql import DataFrame, SparkSession
from servers import Server

FED = "TBLPROPERTIES (delta.enableChangeDataFeed = true)"


@dataclass(frozen=True)
class Delta:
    """A Delta table at a path."""

    spark: SparkSession
    path: str

    @property
    def name(self) -> str:
        return f"delta.`{self.path}`"

    def run(self, statement: str) -> None:
        """Run SQL that calls the table people."""
        self.spark.sql(statement.replace("people", self.name))

    def create(self, rows: int, properties: str = FED) -> None:
        """Make it of so many people, with versions 0 and 1."""
        self.spark.sql(
            f"CREATE TABLE {self.name} (id BIGINT, name STRING, n INT) USING delta {properties}"
        )
        self.insert(0, rows)

    def insert(self, first: int, stop: int) -> None:
        people(self.spark, first, stop).write.format("delta").mode("append").save(self.path)

    def rows(self, version: int | None = None) -> dict[int, dict[str, str]]:
        """By key the columns that have a value, as text."""
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        found = [row.asDict() for row in reader.load(self.path).collect()]
        return {
            row.pop("id"): {name: str(value) for name, value in row.items() if value is not None}
            for row in found
        }


def people(spark: SparkSession, first: int, stop: int) -> DataFrame:
    return spark.range(first, stop, 1, 2).selectExpr(
        "id", "concat('name ', id) name", "cast(id % 7 as int) n"
    )


def witnessed(server: Server | Aerospike, table: str) -> dict[int, dict[str, str]]:
    """By key what the server's own client finds in a table, as text."""
    if isinstance(server, Server):
        keys = [*server.raw.scan_iter(f"{table}:*", count=1000)]
        with server.raw.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            rows = pipeline.execute()
        return {
            int(key.rpartition(b":")[2]): {
                field.decode(): value.decode() for field, value in row.items() if field
            }
            for key, row in zip(keys, rows, strict=True)
        }
    found: dict[int, dict[str, str]] = {}

    def take(record: tuple[Any, Any, dict[str, Any]]) -> None:
        (_, _, key, _), _, bins = record
        found[key] = {name: str(value) for name, value in bins.items()}

    server.raw.query(server.namespace, table).foreach(take)
    return found
