"""Every benchmark case runs, on few rows: figures of so few mean nothing, but the case cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "scripts" / "bench.py"


def run(case: str, rows: int, directory: Path) -> dict[str, object]:
    out = directory / "out.json"
    command = [sys.executable, str(BENCH), case, "--rows", str(rows), "--repeats", "1"]
    done = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, check=False, cwd=directory
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(out.read_text())
    return found


@pytest.mark.slow
def test_redis(tmp_path: Path) -> None:
    found = run("redis", 5000, tmp_path)
    figures = found["figures"]
    assert isinstance(figures, dict)
    assert {"read", "write", "scan_limit", "write_redis_py", "spark_read", "spark_write"} <= set(
        figures
    )
    worker = found["read_worker"]
    assert isinstance(worker, dict)
    assert worker["rows"] == 5000


@pytest.mark.slow
def test_loaders(tmp_path: Path) -> None:
    assert run("loaders", 20_000, tmp_path)["ratios"]
