"""The JVM part of pushdown: that it is what its sources say, and how it comes into sessions."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pyspark
import pytest
from pyspark.sql import SparkSession
from queries_running import PUSHDOWN, configured, plan
from servers import Server, unavailable
from spark_tables import load, people, save

import spark_ext
from spark_ext.pushdown import EXTENSION, JAR, activate

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_jar"
QUERY = """
import json, sys
from pyspark.sql import SparkSession
conf = json.loads(sys.argv[1])
builder = SparkSession.builder
builder = builder.remote("local[1]") if conf.pop("remote", None) else builder.master("local[1]")
for name, value in conf.items():
    builder = builder.config(name, value)
spark = builder.config("spark.ui.enabled", "false").getOrCreate()
df = spark.read.format(sys.argv[2].partition(":")[0]).options(url=sys.argv[2], table=sys.argv[3]).load()
found = df.select("name").where("id >= 7 AND n = 1")
found.explain()
print(json.dumps(sorted(row.name for row in found.collect())))
print(json.dumps(df.count()))
"""
FOUND = ["name 8"]


def build_jar() -> ModuleType:
    loader = SourceFileLoader("build_jar", str(SCRIPT))
    spec = importlib.util.spec_from_loader("build_jar", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def java_version() -> str:
    return subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True).stdout


def elsewhere(conf: dict[str, Any], url: str, table: str) -> tuple[list[str], str]:
    """Run the query in a Spark of its own, which we do not configure; its output and its log."""
    command = [sys.executable, "-c", QUERY, json.dumps(conf), url, table]
    own = os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines(), done.stderr


@pytest.mark.skipif(not pyspark.__version__.startswith("4.2."), reason="it is compiled against 4.2")
def test_the_jar_is_what_its_sources_make(tmp_path: Path) -> None:
    if shutil.which("javac") is None or " 17." not in java_version():
        unavailable("memory", "there is no javac 17")
    built = tmp_path / "built.jar"
    build_jar().build(built)
    assert built.read_bytes() == Path(JAR).read_bytes(), "run scripts/build_jar"


def test_a_session_of_ours_pushes_without_configuration(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    save(people(spark, 9), redis_server.url, table)
    found = load(spark, redis_server.url, table).select("name").where("n = 1")
    assert sorted(row.name for row in found.collect()) == ["name 1", "name 8"]
    assert "PushedColumns: [name, n], PushedFilter: [(`n` IS NOT NULL) AND (`n` = 1)]" in plan(
        found
    )


@pytest.mark.parametrize(
    ("url", "conf"),
    [
        pytest.param("redis", {"spark.sql.extensions": EXTENSION}, id="classic"),
        pytest.param("redis", {"spark.sql.extensions": EXTENSION, "remote": True}, id="connect"),
        pytest.param("aerospike", {"spark.sql.extensions": EXTENSION}, id="aerospike"),
    ],
    indirect=["url"],
)
def test_sessions_by_two_confs(
    spark: SparkSession, url: str, table: str, conf: dict[str, Any]
) -> None:
    save(people(spark, 9), url, table)
    lines, _ = elsewhere(conf | {"spark.jars": JAR}, url, table)
    assert any("PushedColumns: [id, name, n]" in line and "`id` >= 7" in line for line in lines)
    assert list(map(json.loads, lines[-2:])) == [FOUND, 9]


@pytest.mark.parametrize("url", ["aerospike"], indirect=True)
def test_a_session_that_nobody_prepared_finds_the_format(
    spark: SparkSession, url: str, table: str
) -> None:
    save(people(spark, 9), url, table)
    lines, _ = elsewhere({}, url, table)
    assert list(map(json.loads, lines[-2:])) == [FOUND, 9]


def test_a_spark_with_other_internals_is_warned_of_once_and_answers(
    spark: SparkSession, redis_server: Server, table: str, tmp_path: Path
) -> None:
    save(people(spark, 9), redis_server.url, table)
    foreign = tmp_path / "foreign.jar"
    with zipfile.ZipFile(JAR) as ours, zipfile.ZipFile(foreign, "w") as theirs:
        for name in ours.namelist():
            called = ours.read(name).replace(b"setShortName", b"setOtherName")
            theirs.writestr(name, called)
    conf = {"spark.jars": str(foreign), "spark.sql.extensions": EXTENSION}
    lines, log = elsewhere(conf, redis_server.url, table)
    assert list(map(json.loads, lines[-2:])) == [FOUND, 9]
    assert not any("PushedFilter: [(" in line for line in lines)
    assert log.count("kvlake reads without pushdown") == 1
    assert "spark.kvlake.pushdown = off" in log


def test_off_by_option_and_by_session(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    save(people(spark, 9), redis_server.url, table)
    off = load(spark, redis_server.url, table, kvlake_pushdown="off").select("name").where("n = 1")
    assert "Pushed" not in plan(off)
    assert off.count() == 2
    with configured(spark, {PUSHDOWN: "off"}):
        quiet = load(spark, redis_server.url, table).select("name").where("n = 1")
        assert "Pushed" not in plan(quiet)
        assert quiet.count() == 2


def test_a_wrong_value_of_the_option(spark: SparkSession, redis_server: Server, table: str) -> None:
    save(people(spark, 9), redis_server.url, table)
    with pytest.raises(Exception, match=r"kvlake\.pushdown.*auto.*off"):
        load(spark, redis_server.url, table, kvlake_pushdown="maybe").collect()


def test_activated_once_for_all_sessions_of_a_context(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    save(people(spark, 9), redis_server.url, table)
    other = activate(activate(spark.newSession()))
    rules = other._jsparkSession.extensions().buildOptimizerRules(other._jsparkSession)
    assert [rules.apply(at).ruleName() for at in range(rules.size())].count(
        "kvlake.pushdown.OfferPushdown"
    ) == 1
    found = load(other, redis_server.url, table).where("n = 1")
    assert found.count() == 2
    assert "PushedFilter: [(" in plan(found)


def test_our_own_reading_activates(redis_server: Server, table: str, spark: SparkSession) -> None:
    save(people(spark, 9), redis_server.url, table)
    found = spark_ext.read(spark, redis_server.url, table, columns=["id", "name", "n"])
    assert "PushedColumns: [name, n]" in plan(found.select("name").where("n = 1"))
