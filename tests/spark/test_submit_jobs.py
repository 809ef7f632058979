"""The jobs of examples/etl, run in the session of the tests."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from connector import SchemaError, WriteOptions, open_store, read_all

JOBS = Path(__file__).parents[2] / "examples" / "etl"


def job(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, JOBS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(spark: SparkSession, name: str, monkeypatch: pytest.MonkeyPatch, *given: object) -> Any:
    """Run a job with these arguments, as its command line takes them."""
    module = job(name)
    monkeypatch.setattr(sys, "argv", [name, *map(str, given)])
    arguments: argparse.Namespace = module.arguments()
    return module.run(spark, arguments)


def test_rows_are_enriched_by_looked_up_ones(
    spark: SparkSession, url: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = pa.table({"id": range(500), "name": [f"name {i}" for i in range(500)]})
    with open_store(url) as store:
        store.write(table, people.to_batches(), WriteOptions(key=("id",)))
    orders = pa.table({"order": range(6), "customer": [3, 3, None, 499, 500, 7]})
    pq.write_table(orders, tmp_path / "orders.parquet")
    output = tmp_path / "enriched"
    given = ("--input", tmp_path / "orders.parquet", "--on", "customer=id", "--url", url)
    given = (*given, "--table", table, "--columns", "name", "--output", output)
    assert run(spark, "enrich", monkeypatch, *given) == (6, 4)
    found = pq.read_table(output).sort_by("order")
    assert found.column_names == ["order", "customer", "name"]
    assert found["name"].to_pylist() == ["name 3", "name 3", None, "name 499", None, "name 7"]
    with pytest.raises(AnalysisException, match="PATH_ALREADY_EXISTS"):
        run(spark, "enrich", monkeypatch, *given)
    assert run(spark, "enrich", monkeypatch, *given, "--replace") == (6, 4)


def test_csv_is_loaded_by_a_schema_and_a_key_of_two_columns(
    spark: SparkSession, url: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("city,day,mm\nOslo,1,0.5\nOslo,2,\n")
    (tmp_path / "b.csv").write_text("city,day,mm\nRome,1,2\n")
    given = ("--input", tmp_path, "--format", "csv", "--schema", "city string, day int, mm double")
    given = (*given, "--url", url, "--table", table, "--key", "city", "day")
    assert run(spark, "load_files", monkeypatch, *given) == 3
    with open_store(url) as store:
        found = read_all(store.source(table)).sort_by([("city", "ascending"), ("day", "ascending")])
    assert found.select(["city", "day", "mm"]).to_pylist() == [
        {"city": "Oslo", "day": 1, "mm": 0.5},
        {"city": "Oslo", "day": 2, "mm": None},
        {"city": "Rome", "day": 1, "mm": 2.0},
    ]
    (tmp_path / "c.csv").write_text("city,day,mm\nRome,1,3\n")
    with pytest.raises(SchemaError, match="'Rome', 1"):
        run(spark, "load_files", monkeypatch, *given, "--check-keys")
