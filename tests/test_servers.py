"""The suite's own promises: a skip cannot hide, and other people's servers keep their data."""

from __future__ import annotations

import subprocess
import sys

import pytest
import redis
import servers
from servers import Server, running, unavailable

import connector


def test_a_store_that_was_promised_does_not_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "REQUIRED", frozenset({"redis"}))
    with pytest.raises(pytest.fail.Exception, match="redis is in REQUIRE_STORES but it is gone"):
        unavailable("redis", "it is gone")
    with pytest.raises(pytest.skip.Exception, match="it is gone"):
        unavailable("valkey", "it is gone")


def test_a_missing_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "REQUIRED", frozenset({"redis"}))
    monkeypatch.delenv("TEST_REDIS_URL", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(pytest.fail.Exception, match="redis-server"), running("redis"):
        pass


def test_a_given_server_keeps_what_is_not_ours(
    valkey_server: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS_URL", valkey_server.url)
    raw: redis.Redis = valkey_server.raw
    raw.mset({"foreign": 1, f"{table}:1": 1, f"kvlake:{table}:schema": 1})
    with running("redis") as given:
        assert given.url == valkey_server.url
        assert not given.private
        given.clear(table)
    assert raw.keys() == [b"foreign"]


def test_what_the_suite_starts_sees_the_package_that_the_suite_sees() -> None:
    script = "import connector; print(connector.__file__)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == (
        connector.__file__
    )
