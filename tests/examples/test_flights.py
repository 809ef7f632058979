"""The example of flights, run small as its users run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Server

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FLIGHTS / "main.py", "--sample", "20000", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def figure(name: str, shown: str) -> float:
    found = re.search(rf"{name} +(0\.\d+)", shown)
    assert found, shown
    return float(found[1])


@pytest.mark.slow
def test_the_job_runs_and_a_second_run_reuses_the_shards(
    redis_server: Server, table: str, tmp_path: Path
) -> None:
    given = ("--url", redis_server.url, "--table", table, "--cache", tmp_path)
    first = run(*given)
    assert first.returncode == 0, first.stderr[-3000:]
    assert "rows, every column equal" in first.stdout
    assert re.search(r"cache, training months +0 hits of 0 bytes, [1-9]\d* misses", first.stdout), (
        first.stdout
    )
    assert figure("AUC, model", first.stdout) > figure(
        "AUC, mean rate by carrier and hour", first.stdout
    )
    assert "\x1b" not in first.stdout, "no colours and bars where the output is no terminal"
    rows = redis_server.raw.scan_iter(f"{table}:2013-*", count=10_000)
    assert sum(1 for _ in rows) > 15_000

    second = run(*given)
    assert second.returncode == 0, second.stderr[-3000:]
    assert re.search(r"cache, training months +[1-9]\d* hits .* 0 misses of 0 bytes", second.stdout)
    assert re.search(r"cache, held-out months +[1-9]\d* hits .* 0 misses of 0 bytes", second.stdout)
    assert figure("AUC, model", second.stdout) == figure("AUC, model", first.stdout)


@pytest.mark.slow
def test_a_run_with_a_private_server(tmp_path: Path) -> None:
    ran = run("--embedded", "--epochs", "1", "--cache", tmp_path)
    assert "AUC, constant" in ran.stdout, ran.stderr[-3000:]


@pytest.mark.slow
def test_spark_submit_runs_the_etl_alone(redis_server: Server, table: str) -> None:
    submit = Path(sys.executable).with_name("spark-submit")
    given = ("--url", redis_server.url, "--table", table, "--sample", "20000")
    ran = subprocess.run(
        [submit, "--master", "local[2]", FLIGHTS / "etl.py", *given],
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert f"flights to table '{table}', and read them back exactly" in ran.stdout
