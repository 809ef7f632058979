"""What changed in Delta tables, into both stores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from aerospikes import Aerospike
from delta_tables import Delta, people, witnessed
from pyspark.sql import SparkSession
from servers import Server

from connector import open_store
from connector.errors import OptionError, SchemaError, StoreError
from spark_ext.delta import PublishedChanges, publish, publish_changes
from spark_ext.delta.changes import net_changes
from spark_ext.delta.records import Record, load

MERGE = """
MERGE INTO people AS t USING (SELECT id, 'merged' name, 1 n FROM range(8, 16)) AS s ON t.id = s.id
WHEN MATCHED AND t.id = 9 THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED THEN INSERT *
"""
LATEST = 7


@pytest.fixture(scope="module")
def history(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Delta:
    """A table of people with versions 0 to LATEST, which only tests that copy it change."""
    delta = Delta(spark, str(tmp_path_factory.mktemp("history") / "delta"))
    delta.create(12)
    delta.run("UPDATE people SET name = NULL, n = -1 WHERE id < 2")
    delta.run("DELETE FROM people WHERE id = 4")
    delta.run(MERGE)
    delta.run("UPDATE people SET id = 100 + id WHERE id = 6")
    delta.insert(4, 5)
    delta.run("OPTIMIZE people")
    return delta


@pytest.fixture
def copied(history: Delta, tmp_path: Path) -> Delta:
    """The same for one test alone."""
    shutil.copytree(history.path, tmp_path / "copy")
    return Delta(history.spark, str(tmp_path / "copy"))


def recorded(url: str, table: str) -> Record:
    with open_store(url) as store:
        found = load(store, table)
    assert found is not None
    return found


def test_changes_of_many_versions(
    spark: SparkSession, history: Delta, kept: Server | Aerospike, table: str
) -> None:
    path, url = history.path, kept.url
    publish(spark, path, url, table, key="id", version=1)
    assert publish_changes(spark, path, url, table, version=3) == PublishedChanges(1, 3, 2, 1)
    assert witnessed(kept, table) == history.rows(3)
    # 4 is there again, 6 has moved to 106, and of 8 to 15 one is gone.
    assert publish_changes(spark, path, url, table) == PublishedChanges(3, LATEST, 9, 2)
    assert witnessed(kept, table) == history.rows()
    assert recorded(url, table).version == LATEST
    assert publish_changes(spark, path, url, table) == PublishedChanges(LATEST, LATEST)


def test_an_overwrite_of_the_table(
    spark: SparkSession, copied: Delta, redis_server: Server, table: str
) -> None:
    publish(spark, copied.path, redis_server.url, table, key="id")
    people(spark, 3, 6).write.format("delta").mode("overwrite").save(copied.path)
    found = publish_changes(spark, copied.path, redis_server.url, table)
    assert (found.upserts, found.deletes) == (3, 12)
    assert witnessed(redis_server, table) == copied.rows()


def test_a_version_that_is_behind(
    spark: SparkSession, history: Delta, redis_server: Server, table: str
) -> None:
    publish(spark, history.path, redis_server.url, table, key="id", version=3)
    with pytest.raises(OptionError, match="rows of version 3 .* back to version 2"):
        publish_changes(spark, history.path, redis_server.url, table, version=2)
    with pytest.raises(OptionError, match="has no version 99"):
        publish_changes(spark, history.path, redis_server.url, table, version=99)


def test_nothing_to_go_on_from(
    spark: SparkSession, history: Delta, copied: Delta, redis_server: Server, table: str
) -> None:
    url = redis_server.url
    people(spark, 0, 3).write.format("redis").options(url=url, table=table).option(
        "key.column", "id"
    ).mode("append").save()
    with pytest.raises(StoreError, match="was never published from Delta; publish the whole"):
        publish_changes(spark, history.path, url, table)
    publish(spark, history.path, url, table, version=1)
    other = Delta(spark, copied.path + "-other")
    other.create(1)
    with pytest.raises(StoreError, match="from another Delta table than"):
        publish_changes(spark, other.path, url, table)
    assert witnessed(redis_server, table) == history.rows(1)


def test_columns_that_were_added(
    spark: SparkSession, copied: Delta, kept: Server | Aerospike, table: str
) -> None:
    publish(spark, copied.path, kept.url, table, key="id")
    copied.run("ALTER TABLE people ADD COLUMNS (city STRING)")
    copied.run("INSERT INTO people VALUES (500, 'new', 3, 'Bonn')")
    with pytest.raises(SchemaError, match="has no column 'city'.* schema.evolution"):
        publish_changes(spark, copied.path, kept.url, table)
    found = publish_changes(spark, copied.path, kept.url, table, schema_evolution="add")
    assert found == PublishedChanges(LATEST, LATEST + 2, 1, 0)
    assert witnessed(kept, table) == copied.rows()


def test_columns_that_were_dropped(
    spark: SparkSession, copied: Delta, redis_server: Server, table: str
) -> None:
    publish(spark, copied.path, redis_server.url, table, key="id")
    copied.run("ALTER TABLE people SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')")
    copied.run("ALTER TABLE people DROP COLUMN n")
    copied.run("INSERT INTO people VALUES (500, 'new')")
    with pytest.raises(StoreError, match="publish the whole table anew"):
        publish_changes(spark, copied.path, redis_server.url, table)
    publish(spark, copied.path, redis_server.url, table)
    assert witnessed(redis_server, table) == copied.rows()


def test_changes_that_are_gone(
    spark: SparkSession, copied: Delta, redis_server: Server, table: str
) -> None:
    publish(spark, copied.path, redis_server.url, table, key="id", version=1)
    before = witnessed(redis_server, table)
    shutil.rmtree(Path(copied.path) / "_change_data")  # as VACUUM does, after a week
    with pytest.raises(StoreError, match="changes of versions 2 to 7 .* publish the whole table"):
        publish_changes(spark, copied.path, redis_server.url, table)
    assert witnessed(redis_server, table) == before
    assert recorded(redis_server.url, table).version == 1


def test_a_log_that_was_cut(
    spark: SparkSession, copied: Delta, redis_server: Server, table: str
) -> None:
    publish(spark, copied.path, redis_server.url, table, key="id", version=1)
    for number in range(8, 11):  # the tenth makes a checkpoint
        copied.run(f"ALTER TABLE people SET TBLPROPERTIES ('number' = '{number}')")
    for number in range(3):  # as the log's retention does, after a month
        (Path(copied.path) / "_delta_log" / f"{number:020d}.json").unlink()
    with pytest.raises(StoreError, match="changes of versions 2 to 10 .* publish the whole table"):
        publish_changes(spark, copied.path, redis_server.url, table)


def test_changes_that_were_not_kept(
    spark: SparkSession, delta: Delta, redis_server: Server, table: str
) -> None:
    delta.create(3, properties="")
    publish(spark, delta.path, redis_server.url, table, key="id")
    delta.insert(3, 5)
    with pytest.raises(StoreError, match="delta.enableChangeDataFeed.* publish the whole table"):
        publish_changes(spark, delta.path, redis_server.url, table)
    delta.run("ALTER TABLE people SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
    publish(spark, delta.path, redis_server.url, table)
    delta.insert(5, 6)
    assert publish_changes(spark, delta.path, redis_server.url, table) == PublishedChanges(3, 4, 1)


def test_a_key_that_a_commit_wrote_twice(
    spark: SparkSession, copied: Delta, redis_server: Server, table: str
) -> None:
    publish(spark, copied.path, redis_server.url, table, key="id")
    before = witnessed(redis_server, table)
    copied.run("INSERT INTO people VALUES (700, 'one', 1), (700, 'other', 2), (701, 'x', 3)")
    with pytest.raises(SchemaError, match=r"1 keys \(id\) stand more than once.* such as 700;"):
        publish_changes(spark, copied.path, redis_server.url, table)
    assert witnessed(redis_server, table) == before


def test_the_last_change_counts(spark: SparkSession) -> None:
    rows = [
        (1, "a", "insert", 1),
        (1, "a", "delete", 2),
        (2, "old", "delete", 1),  # an overwrite, its rows in any order
        (2, "new", "insert", 1),
        (3, "b", "insert", 1),
        (3, "b", "update_preimage", 2),
        (3, "c", "update_postimage", 2),
        (4, "d", "update_preimage", 3),  # its row moved to key 5
        (5, "d", "update_postimage", 3),
        (6, "e", "delete", 1),
        (6, "e", "delete", 1),
        (7, "f", "insert", 1),
        (7, "g", "insert", 1),
        (7, "h", "insert", 2),
    ]
    columns = "key int, value string, _change_type string, _commit_version long"
    found = net_changes(spark.createDataFrame(rows, columns), ["key"]).collect()
    assert sorted(map(tuple, found)) == [
        (1, "a", False, False),
        (2, "new", True, False),
        (3, "c", True, False),
        (4, "d", False, False),
        (5, "d", True, False),
        (6, "e", False, False),
        (7, "h", True, False),
    ]
    (twice,) = net_changes(
        spark.createDataFrame([row for row in rows if row[3] == 1 and row[0] == 7], columns),
        ["key"],
    ).collect()
    assert twice[-1] is True
