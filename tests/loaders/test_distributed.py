"""Ranks of torch.distributed: an epoch divided among processes, stopped, and gone on with by others."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RANK = Path(__file__).with_name("rank.py")
ROWS = 230
SECONDS = 240


def run(place: Path, rows: list[int], stop: int = 100, token: str = "") -> list[Any]:
    """A job of as many ranks as are given numbers of rows: what each rank printed, or its error."""
    place.mkdir()
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    jobs = []
    for rank, count in enumerate(rows):
        given = [f"{place}/meet", rank, len(rows), f"{place}/{count}", count, stop, token]
        command = [sys.executable, str(RANK), *map(str, given)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        jobs.append(subprocess.Popen(command, text=True, env=env, **pipes))
    try:
        said = [job.communicate(timeout=SECONDS) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    return [
        json.loads(out.splitlines()[-1]) if not job.returncode else error
        for job, (out, error) in zip(jobs, said, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
def test_ranks_stop_and_others_go_on(tmp_path: Path) -> None:
    first = run(tmp_path / "3", [ROWS] * 3, stop=2)
    assert [rank["steps"] for rank in first] == [2, 2, 2]
    assert len({json.dumps(rank["token"]) for rank in first}) == 1
    rest = run(tmp_path / "2", [ROWS] * 2, token=json.dumps(first[0]["token"]))
    assert [rank["steps"] for rank in rest] == [5, 5]
    found = list(itertools.chain.from_iterable(rank["ids"] for rank in [*first, *rest]))
    assert sorted(found) == list(range(ROWS))
    assert rest[1]["token"]["position"] == ROWS


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_ranks_with_other_shards_are_refused(tmp_path: Path) -> None:
    for error in run(tmp_path / "odd", [ROWS, ROWS + 1]):
        assert "CacheError" in error and "seal with the same source" in error
