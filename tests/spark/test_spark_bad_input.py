"""What Spark's users do wrong, and what they are told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.datasource import DataSourceReader
from servers import Server
from spark_tables import load, people, save

import spark_ext
from connector import (
    MissingDependencyError,
    OptionError,
    SchemaError,
    StoreUnavailableError,
    TableNotFoundError,
)
from connector.embedded import serve
from spark_ext.preflight import check_executable
from spark_ext.reader import SourceReader

DOWN = "redis://:letmein@127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"partition.number": 3},
            "unknown option 'partition.number'; did you mean 'partitions.number'?",
        ),
        ({"partitions.number": "many"}, "option 'partitions.number': 'many' is not valid"),
        (
            {"batch.rows": 0},
            "option 'batch.rows': '0' is not valid: expected a whole number at least 1",
        ),
        ({"ttl": -1}, "option 'ttl': '-1' is not valid"),
        ({"columns": "a,,b"}, "option 'columns': 'a,,b' is not valid: expected names"),
    ],
)
def test_a_bad_option_is_named(
    spark: SparkSession, redis_server: Server, table: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(AnalysisException) as reading:
        load(spark, redis_server.url, table, **options)
    assert f"connector.errors.OptionError: {said}" in str(reading.value)
    with pytest.raises(AnalysisException) as writing:
        save(people(spark, 1), redis_server.url, table, **options)
    assert said in str(writing.value)


def test_a_message_has_no_long_traceback(spark: SparkSession) -> None:
    with pytest.raises(AnalysisException) as caught:
        spark.read.format("redis").load()
    assert "OptionError: option 'table' is missing: name of the table" in str(caught.value)
    assert str(caught.value).count("File ") == 1


def test_a_new_table_needs_a_key(spark: SparkSession, redis_server: Server, table: str) -> None:
    writer = people(spark, 1).write.format("redis").options(url=redis_server.url, table=table)
    with pytest.raises(AnalysisException, match="key.column"):
        writer.mode("append").save()
    with pytest.raises(
        AnalysisException, match="key column 'ID' is not among the columns id, name"
    ):
        writer.option("key.column", "ID").mode("append").save()
    assert redis_server.raw.dbsize() == 0


def test_only_append_and_overwrite_exist(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    for mode in ("errorifexists", "ignore"):
        with pytest.raises(PySparkException, match='either the "Append" or "Overwrite" mode'):
            save(people(spark, 1), redis_server.url, table, mode)
    with pytest.raises(OptionError, match="it is 'append' or 'overwrite'"):
        spark_ext.write(people(spark, 1), redis_server.url, table, key="id", mode="ignore")


def test_a_null_key_is_refused(spark: SparkSession, redis_server: Server, table: str) -> None:
    rows = people(spark, 10).selectExpr("nullif(id, 7) id", "name")
    with pytest.raises(PySparkException, match=f"table '{table}': key column 'id' is null in 1 of"):
        save(rows, redis_server.url, table)


def test_one_key_twice_in_a_batch_is_refused(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    rows = people(spark, 10).selectExpr("id % 9 id", "name").coalesce(1)
    with pytest.raises(PySparkException, match="stand more than once in one batch"):
        save(rows, redis_server.url, table)


def test_one_key_in_two_tasks_is_found_by_check_keys(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    rows = people(spark, 10).union(people(spark, 1, first=4))
    with pytest.raises(SchemaError, match=r"keys \(id\) stand more than once .*, such as 4;"):
        spark_ext.write(rows, redis_server.url, table, key="id", check_keys=True)
    assert redis_server.raw.dbsize() == 0
    with pytest.raises(OptionError, match=r"must be named: option 'key\.column'"):
        spark_ext.write(rows, redis_server.url, table, check_keys=True)
    spark_ext.write(people(spark, 3), redis_server.url, table, key="id")
    with pytest.raises(SchemaError, match=r"keys \(id\) stand more than once .*, such as 4;"):
        spark_ext.write(rows, redis_server.url, table, check_keys=True)


def test_mistakes_in_a_short_write_are_errors_of_ours(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    rows = people(spark, 3)
    spark_ext.write(rows, redis_server.url, table, key="id")
    with pytest.raises(SchemaError, match="more"):
        spark_ext.write(rows.selectExpr("*", "1 AS more"), redis_server.url, table)
    with pytest.raises(SchemaError, match="key column 'ID' is not among the columns"):
        spark_ext.write(rows, redis_server.url, table + "x", key="ID")
    with pytest.raises(SchemaError, match="name"):
        spark_ext.write(rows.selectExpr("id", "array(1) AS name"), redis_server.url, table)


def test_an_append_must_fit_the_table(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    save(people(spark, 3), redis_server.url, table)
    with pytest.raises(
        AnalysisException, match="column 'n' of table .* is int32, and cannot be appended"
    ):
        save(people(spark, 3).selectExpr("id", "cast(n as string) n"), redis_server.url, table)
    with pytest.raises(AnalysisException, match="has no column 'more'"):
        save(people(spark, 3).selectExpr("id", "n as more"), redis_server.url, table)


def test_columns_are_not_for_writing(spark: SparkSession, redis_server: Server, table: str) -> None:
    with pytest.raises(AnalysisException, match="option 'columns' is for reading"):
        save(people(spark, 3), redis_server.url, table, columns="id,n")


def test_a_variant_is_refused(spark: SparkSession, redis_server: Server, table: str) -> None:
    rows = spark.sql("""select 1L id, parse_json('{"a": 1}') v""")
    with pytest.raises(AnalysisException, match="column 'v' of type variant cannot be stored"):
        save(rows, redis_server.url, table)


def test_a_table_that_is_not_there(spark: SparkSession, redis_server: Server, table: str) -> None:
    with pytest.raises(AnalysisException, match=f"TableNotFoundError: there is no table '{table}'"):
        load(spark, redis_server.url, table)
    with pytest.raises(TableNotFoundError):
        spark_ext.read(spark, redis_server.url, table)


def test_a_column_that_is_not_there(spark: SparkSession, redis_server: Server, table: str) -> None:
    save(people(spark, 3), redis_server.url, table)
    with pytest.raises(AnalysisException, match="has no column 'colour'; it has id, name, n, x"):
        load(spark, redis_server.url, table, columns="colour")
    reader = spark.read.format("redis").options(url=redis_server.url, table=table)
    with pytest.raises(AnalysisException, match="there is no column 'colour' to read"):
        reader.schema("colour string").load().collect()
    with pytest.raises(AnalysisException, match="the schema alone will do"):
        reader.option("columns", "id").schema("id long, n long").load().collect()


def test_a_value_that_does_not_parse(spark: SparkSession, redis_server: Server, table: str) -> None:
    save(people(spark, 3), redis_server.url, table)
    redis_server.raw.hset(f"{table}:1", "n", "many")
    with pytest.raises(PySparkException, match=f"field 'n' of key b'{table}:1' holds b'many'"):
        load(spark, redis_server.url, table).collect()
    assert load(spark, redis_server.url, table, on_bad_field="null").where("n is null").count() == 1


def test_a_server_that_is_down_is_said_so_at_once(spark: SparkSession, table: str) -> None:
    before = time.monotonic()
    with pytest.raises(AnalysisException, match="StoreUnavailableError") as caught:
        load(spark, DOWN, table)
    assert "letmein" not in str(caught.value)
    with pytest.raises(AnalysisException, match="StoreUnavailableError"):
        save(people(spark, 3), DOWN, table)
    with pytest.raises(StoreUnavailableError):
        spark_ext.read(spark, DOWN, table)
    assert time.monotonic() - before < 60


def test_a_server_that_goes_and_comes_back(spark: SparkSession, table: str) -> None:
    with serve() as server:
        save(people(spark, 3), server.url, table)
        found = load(spark, server.url, table)
        assert found.count() == 3
    with pytest.raises(PySparkException, match="StoreUnavailableError"):
        found.count()
    with serve(port=server.port) as again:
        save(people(spark, 5), again.url, table)
        assert load(spark, again.url, table).count() == 5


def test_the_password_is_not_shown(
    spark: SparkSession, table: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve(password="letmein") as server:
        save(people(spark, 3), server.url, table)
        found = load(spark, server.url, table)
        assert found.count() == 3
        for mode in ("simple", "extended", "formatted"):
            found.explain(mode=mode)
        with pytest.raises(AnalysisException) as caught:
            load(spark, server.url, table + "x")
        with pytest.raises(AnalysisException, match="AuthenticationError") as refused:
            load(spark, server.url.replace("letmein", "wrongpass"), table)
    shown = capfd.readouterr()
    texts = (shown.out, shown.err, str(caught.value), str(refused.value), repr(found))
    assert "BatchScan redis" in shown.out
    assert not any("letmein" in text or "wrongpass" in text for text in texts)


def test_no_filters_are_pushed() -> None:
    inherited = getattr(DataSourceReader, "pushFilters", None)  # since 4.1
    assert getattr(SourceReader, "pushFilters", None) is inherited


@pytest.mark.parametrize("url", ["memory://", "http://host", "localhost:6379"])
def test_a_url_that_spark_cannot_reach(spark: SparkSession, table: str, url: str) -> None:
    with pytest.raises(OptionError, match="Spark cannot reach"):
        spark_ext.read(spark, url, table)


def test_names_with_commas_cannot_be_options(spark: SparkSession, table: str) -> None:
    with pytest.raises(OptionError, match="names joined by commas"):
        spark_ext.read(spark, DOWN, table, columns=["a,b"])


def test_the_workers_python_must_be_there() -> None:
    with pytest.raises(
        OptionError, match="'/no/such/python', which is not there; set PYSPARK_PYTHON"
    ):
        check_executable("/no/such/python")
    with pytest.raises(OptionError, match="which fails"):
        check_executable("/bin/false")


def test_the_workers_python_must_have_a_path_that_spark_can_use(tmp_path: Path) -> None:
    spaced = tmp_path / "a directory"
    spaced.mkdir()
    (spaced / "python").symlink_to(sys.executable)
    with pytest.raises(OptionError, match="PATH"):
        check_executable(str(spaced / "python"))


def test_the_workers_python_must_have_kvlake(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(
        MissingDependencyError, match="which lacks pyspark, pyarrow, connector, spark_ext"
    ):
        check_executable(str(bare))


def test_the_workers_python_must_have_the_drivers_version(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nprintf '3.8\\n\\n'\n")
    old.chmod(0o755)
    with pytest.raises(OptionError, match=r"which is Python 3\.8; the driver is 3\."):
        check_executable(str(old))


def test_a_session_that_was_not_configured_is_told(tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    script = (
        "from pyspark.sql import SparkSession; import spark_ext\n"
        "spark = SparkSession.builder.master('local[1]').config('spark.ui.enabled', False).getOrCreate()\n"
        f"spark_ext.read(spark, {DOWN!r}, 't')\n"
    )
    given = {name: value for name, value in os.environ.items() if name != "PYSPARK_PYTHON"}
    given["PATH"] = f"{tmp_path}:{given['PATH']}"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "MissingDependencyError: Spark's workers are to run" in ran.stderr
