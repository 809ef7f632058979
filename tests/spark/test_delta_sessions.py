"""The cases of delta_cases, in a process each for classic sessions and for Spark Connect.

A JVM gets its jars where it starts, so that the suite's own session cannot have Delta.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import unavailable

from spark_ext.versions import SPARK_VERSION

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(__file__).with_name("delta_cases")
SECONDS = 1500  # of a machine that has much else to do


@pytest.fixture(scope="module")
def jars() -> str:
    """The directory with the jars of Delta, as ``scripts/delta_jars`` makes it."""
    given = os.environ.get("TEST_DELTA_JARS")
    if not given or not [*Path(given).glob("*.jar")]:
        unavailable(
            "delta", "TEST_DELTA_JARS names no directory that scripts/delta_jars has filled"
        )
    if not [*Path(given).glob(f"delta-spark_{SPARK_VERSION}_*.jar")]:
        unavailable("delta", f"the jars in {given} are not for Spark {SPARK_VERSION}")
    return given


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("session", ["classic", "connect"])
def test_delta(request: pytest.FixtureRequest, jars: str, tmp_path: Path, session: str) -> None:
    if session == "connect":
        request.getfixturevalue("connect_port")
    chosen = {"classic": [], "connect": ["--connect", "-k", "every_session"]}[session]
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "setup.cfg"), f"--rootdir={ROOT}"]
    command += ["-p", "no:cacheprovider", f"--basetemp={tmp_path}/cases", *chosen]
    command += map(str, sorted(CASES.glob("cases_*.py")))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    ) as cases:
        try:
            said, _ = cases.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            cases.kill()
            raise
    assert cases.returncode == 0, said[-20_000:]
    assert " passed" in said
    assert " skipped" not in said
