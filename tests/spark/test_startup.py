"""What Python's start does for sessions that nobody prepares; with Spark: test_pushdown_session.py."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import kvlake_startup
import pytest
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession
from pyspark.sql.readwriter import DataFrameReader

import spark_ext.pushdown


class Reader:
    """As much of a session and its reader as is looked at."""

    _spark = "session"

    def load(self, source: str) -> object:
        return DataFrameReader.format(self, source)

    @property
    def _jreader(self) -> Any:
        return self

    @_jreader.setter
    def _jreader(self, reader: object) -> None:
        pass

    def format(self, source: str) -> str:
        return source


@pytest.fixture
def activated(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The sessions that pushdown was brought into."""
    found: list[object] = []
    monkeypatch.setattr(spark_ext.pushdown, "activate", found.append)
    return found


def test_a_start_costs_no_import_but_its_own() -> None:
    code = (
        "import sys; print(*(name in sys.modules for name in sys.argv[1:])); import pyspark.sql; "
        "print('spark_ext' in sys.modules)"
    )
    names = ["kvlake_startup", "typing", "functools", "importlib.machinery", "pyspark", "spark_ext"]
    command = [sys.executable, "-c", code, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert before.split() == ["True"] + ["False"] * 5
    assert after == "False"


def test_watching_twice_is_watching_once() -> None:
    kvlake_startup.watch()
    assert [each.__module__ for each in sys.meta_path].count("kvlake_startup") == 1


@pytest.mark.parametrize(("source", "ours"), [("redis", True), ("aerospike", True), ("csv", False)])
def test_formats(activated: list[object], source: str, *, ours: bool) -> None:
    Reader().load(source)
    assert activated == ["session"] * ours


@pytest.mark.parametrize(
    ("statement", "ours"),
    [
        ("CREATE TABLE t USING `Redis` OPTIONS (table 'x')", True),
        ("CREATE TEMPORARY VIEW v USING aerospike", True),
        ("SELECT 1", False),
    ],
)
def test_statements(
    activated: list[object], monkeypatch: pytest.MonkeyPatch, statement: str, *, ours: bool
) -> None:
    class Session:
        def sql(self, sqlQuery: str, args: object = None) -> tuple[str, object]:
            return sqlQuery, args

    class Module:
        SparkSession = Session

    kvlake_startup._change_session(Module)
    session = Session()
    assert session.sql(statement, args=[1]) == (statement, [1])
    assert session.sql(sqlQuery=statement) == (statement, None)
    assert activated == [session] * 2 * ours


def test_where_it_cannot_be_brought_in_reads_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(session: SparkSession) -> None:
        raise Py4JError("no such method")

    monkeypatch.setattr(spark_ext.pushdown, "activate", refuse)
    with pytest.warns(UserWarning, match="could not bring pushdown .* no such method"):
        Reader().load("redis")
