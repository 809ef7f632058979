"""The example of features from a stream, run small as its users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from servers import Server

MAIN = Path(__file__).parents[2] / "examples" / "streaming_features" / "stream_features.py"


@pytest.mark.slow
def test_features_are_what_the_events_add_up_to(redis_server: Server, table: str) -> None:
    given = ("--url", redis_server.url, "--stream", f"{table}:s", "--table", f"{table}f")
    small = ("--events", "2000", "--users", "100")
    command = [sys.executable, MAIN, *given, *small]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "every feature exact" in done.stdout
    assert redis_server.raw.xlen(f"{table}:s") == 2000
    users = sum(1 for _ in redis_server.raw.scan_iter(f"{table}f:*", count=1000))
    assert f"trained on: {users} rows" in done.stdout
    spent = [
        int(redis_server.raw.hget(key, "cents"))
        for key in redis_server.raw.scan_iter(f"{table}f:*")
    ]
    bought = [
        int(fields[b"cents"])
        for _, fields in redis_server.raw.xrange(f"{table}:s")
        if fields[b"kind"] == b"buy"
    ]
    assert sum(spent) == sum(bought) > 0
