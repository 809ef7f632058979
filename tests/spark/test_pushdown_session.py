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

from spark_ext.pushdown import EXTENSION, JAR, activate

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_jar"
QUERY = """
import json, sys
way, url, table = sys.argv[2:]
if "unwatched" in way:
    sys.meta_path[:] = [each for each in sys.meta_path if each.__module__ != "kvlake_startup"]
from pyspark.sql import SparkSession
conf = json.loads(sys.argv[1])
builder = SparkSession.builder
builder = builder.remote("local[1]") if conf.pop("remote", None) else builder.master("local[1]")
for name, value in conf.items():
    builder = builder.config(name, value)
kind = url.partition(":")[0]
spark = builder.config("spark.ui.enabled", "false").getOrCreate()
if way.endswith("view"):
    spark.sql(f"CREATE TEMPORARY VIEW v USING {kind} OPTIONS (url '{url}', `table` '{table}')")
    df = spark.table("v")
elif way.endswith("ours"):
    import spark_ext
    df = spark_ext.read(spark, url, table)
    keys = spark.range(5, 12)
    joined = spark_ext.lookup_join(keys, url, table, on="id", columns=["x"], how="inner")
    spark_ext.write(joined, url, table + "-joined", key="id")
    assert spark_ext.read(spark, url, table + "-joined").count() == joined.count() == 4
    assert spark_ext.delete(keys, url, table + "-joined") == 4
else:
    df = spark.read.load(format=kind, url=url, table=table)
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


def elsewhere(
    conf: dict[str, Any], url: str, table: str, way: str = "unwatched"
) -> tuple[list[str], str]:
    """Run the query in a Spark of its own, which we do not configure; its output and its log.

    Args:
        conf: the session's.
        url: of the store.
        table: that of ``people``, with 9 rows.
        way: how the table is come by: ``plain``, ``view`` or ``ours``; behind ``unwatched`` as if our
            part in Python's start were not there.
    """
    command = [sys.executable, "-c", QUERY, json.dumps(conf), way, url, table]
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
    request: pytest.FixtureRequest,
    spark: SparkSession,
    url: str,
    table: str,
    conf: dict[str, Any],
) -> None:
    if "remote" in conf:
        request.getfixturevalue("connect_port")
    save(people(spark, 9), url, table)
    way = "ours" if "remote" in conf else "plain"
    lines, _ = elsewhere(conf | {"spark.jars": JAR}, url, table, way)
    assert any("PushedColumns: [id, name, n]" in line and "`id` >= 7" in line for line in lines)
    assert list(map(json.loads, lines[-2:])) == [FOUND, 9]


@pytest.mark.parametrize(
    ("url", "way", "pushed"),
    [
        ("redis", "plain", True),
        ("redis", "view", True),
        ("redis", "unwatched plain", False),
        ("redis", "unwatched ours", True),
        ("aerospike", "plain", True),
    ],
    indirect=["url"],
)
def test_a_session_that_nobody_prepared(
    spark: SparkSession, url: str, table: str, way: str, pushed: bool
) -> None:
    save(people(spark, 9), url, table)
    lines, _ = elsewhere({}, url, table, way)
    assert list(map(json.loads, lines[-2:])) == [FOUND, 9]
    assert any("PushedColumns: [id, name, n]" in line for line in lines) is pushed


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
