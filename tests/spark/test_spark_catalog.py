"""Tables of Spark's catalog that stand for tables of a store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession
from queries_running import PUSHDOWN, configured, plan
from spark_tables import format_of, load, people, save


@pytest.fixture
def catalog(spark: SparkSession) -> Iterator[SparkSession]:
    """A session whose tables are dropped."""
    yield spark
    for each in spark.catalog.listTables():
        if not each.isTemporary:
            spark.sql(f"DROP TABLE {each.name}")


def create(spark: SparkSession, url: str, table: str, columns: str = "", more: str = "") -> None:
    spark.sql(
        f"CREATE TABLE catalogued {columns} USING {format_of(url)} "
        f"OPTIONS (url '{url}', `table` '{table}', `key.column` 'id') {more}"
    )


@pytest.mark.parametrize("columns", ["", "(id bigint, name string, n int, x double)"])
def test_a_created_table_is_read_and_written(
    catalog: SparkSession, url: str, table: str, columns: str
) -> None:
    save(people(catalog, 9), url, table)
    create(catalog, url, table, columns)
    found = catalog.sql("SELECT name FROM catalogued WHERE id = 7")
    assert found.collect() == [("name 7",)]
    assert "PushedColumns: [id, name]" in plan(found)
    catalog.sql("INSERT INTO catalogued VALUES (100, 'hundred', 1, 0.5)")
    catalog.range(101, 103).selectExpr("id", "'more' AS name", "1 AS n", "0.5D AS x").writeTo(
        "catalogued"
    ).option("write.mode", "insert").append()
    assert load(catalog, url, table).where("id >= 100").count() == 3
    catalog.sql(
        "INSERT OVERWRITE catalogued SELECT id + 1, name, n, x FROM catalogued WHERE id >= 100"
    )
    assert sorted(row.id for row in load(catalog, url, table).collect()) == [101, 102, 103]


def test_without_pushdown_too(catalog: SparkSession, url: str, table: str) -> None:
    save(people(catalog, 9), url, table)
    create(catalog, url, table)
    with configured(catalog, {PUSHDOWN: "off"}):
        assert catalog.table("catalogued").where("n = 1").count() == 2
        assert "Pushed" not in plan(catalog.table("catalogued").where("n = 1"))


def test_options_of_a_query_come_before_those_of_the_table(
    catalog: SparkSession, url: str, table: str
) -> None:
    save(people(catalog, 9), url, table)
    create(catalog, url, table)
    assert catalog.sql("SELECT * FROM catalogued WITH (`limit` = 4)").count() == 4
    assert (
        catalog.sql(
            f"SELECT * FROM catalogued WITH (`table` = '{table}', `filter` = 'id < 2')"
        ).count()
        == 2
    )


def test_a_table_made_by_a_query(catalog: SparkSession, url: str, table: str) -> None:
    people(catalog, 9).createOrReplaceTempView("people")
    create(catalog, url, table, more="AS SELECT * FROM people WHERE n < 3")
    assert catalog.table("catalogued").count() == load(catalog, url, table).count() == 5
    people(catalog, 3, first=50).write.insertInto("catalogued")
    assert load(catalog, url, table).count() == 8


def test_a_table_that_names_no_table_of_the_store(catalog: SparkSession, url: str) -> None:
    with pytest.raises(Exception, match="option 'table' is missing"):
        catalog.sql(f"CREATE TABLE catalogued USING {format_of(url)} OPTIONS (url '{url}')")
