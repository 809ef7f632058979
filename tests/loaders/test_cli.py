"""The command ``kvlake``: what it prints, how it ends, and that it tells no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import Server

from connector import WriteOptions, open_store, read_all
from connector.lake import LakeSource
from loaders.cli import main

ROWS = pa.table(
    {
        "id": pa.array(range(500), pa.int64()),
        "x": [i / 2 for i in range(500)],
        "name": [f"[red]n{i}" for i in range(500)],
    }
)


@pytest.fixture
def url(redis_server: Server, table: str) -> str:
    with open_store(redis_server.url) as store:
        store.write(table, ROWS.to_batches(), WriteOptions(key=("id",)))
    return redis_server.url


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_inspect(url: str, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "inspect", url, table, "--rows", 3)
    assert found["key"] == ["id"] and found["rows"] >= 500
    assert {"name": "x", "type": "double"} in found["columns"]
    assert len(found["sample"]) == 3
    filtered = told(capsys, "inspect", url, table, "--filter", "id = 7", "--columns", "name,x")
    assert filtered["sample"] == [{"name": "[red]n7", "x": 3.5}]
    assert main(["inspect", url, table]) == 0
    assert "[red]n" in capsys.readouterr().out


def test_plan_and_bench(url: str, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = told(capsys, "plan", url, table, "--parts", 3)
    assert plan["count"] == len(plan["partitions"]) >= 1
    bench = told(capsys, "bench", url, table, "--seconds", 0.2)
    assert bench["rows"] >= 500 and bench["rows a second"] > 0


def test_seal_and_the_cache(
    url: str, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seal = ["seal", url, table, "--cache", tmp_path, "--version", "1", "--parts", 3]
    seal += ["--splits", "train=0.8,test=0.2", "--transform", "loaders_sealing:doubled"]
    first, again = told(capsys, *seal), told(capsys, *seal)
    assert first["rows"] == again["rows"] == sum(split["rows"] for split in first["splits"]) == 500
    assert (first["shards written"], again["shards written"]) == (first["shards"], 0)
    (listed,) = told(capsys, "cache", "ls", tmp_path)["seals"]
    assert (listed["rows"], listed["complete"], listed["has a home"]) == (500, True, False)
    assert listed["bytes"] == listed["bytes here"] == first["bytes"]
    assert listed["splits"] == ["train", "test"]
    assert told(capsys, "cache", "stats", tmp_path)["seals"][0]["quarantined"] == 0
    assert told(capsys, "cache", "verify", tmp_path) == {"shards": first["shards"], "damaged": []}
    damaged, missing = sorted(tmp_path.rglob("*.arrow"))[:2]
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    missing.unlink()
    assert main(["cache", "verify", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["damaged"]
    assert {each["shard"]: each["why"] for each in found} == {
        damaged.name: "other bytes",
        missing.name: "it is missing",
    }
    evicted = told(capsys, "cache", "evict", tmp_path, "--seal", listed["seal"][:6])
    assert evicted["bytes now"] == 0 < evicted["bytes before"]
    assert told(capsys, "cache", "ls", tmp_path) == {"seals": []}


def test_shards_with_a_home_are_evicted(
    url: str, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    seal = ["seal", url, table, "--cache", cache, "--version", "1"]
    sealed = told(capsys, *seal, "--home", f"file://{tmp_path}/home")
    evicted = told(capsys, "cache", "evict", cache, "--limit-bytes", 0)
    assert evicted == {"bytes before": sealed["bytes"], "bytes now": 0}
    assert told(capsys, "cache", "verify", cache) == {"shards": 0, "damaged": []}


def test_copy(url: str, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = told(capsys, "copy", url, table, url, f"{table}b", "--filter", "id < 100")
    assert copied == {"table": f"{table}b", "read": 100, "written": 100}
    pq.write_table(ROWS.slice(0, 50), tmp_path / "rows.parquet")
    files = ["copy", tmp_path / "rows.parquet", url, f"{table}b", "--key", "id", "--overwrite"]
    assert told(capsys, *files)["written"] == 50
    with open_store(url) as store:
        found = read_all(store.source(f"{table}b")).sort_by("id")
    assert found["x"].to_pylist() == read_all(LakeSource(str(tmp_path)))["x"].to_pylist()
    assert told(capsys, "inspect", tmp_path / "rows.parquet")["key"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "redis://user:letmein@127.0.0.1:1/0", "t"], "127.0.0.1:1"),
        (["inspect", "redis://user:letmein@127.0.0.1:1/0"], "name the table of redis://user:***@"),
        (["inspect", "env:NO_SUCH_VARIABLE", "t"], "NO_SUCH_VARIABLE"),
        (["inspect", "/no/such/place"], "no data files"),
        (["inspect", "/no/such/place", "t"], "no store, and has no table"),
        (["inspect", "redis://127.0.0.1:1", "t", "-o", "letmein"], "NAME=VALUE"),
        (
            ["inspect", "redis://127.0.0.1:1", "t", "-o", "colour=letmein"],
            "unknown option 'colour'",
        ),
        (["copy", "redis://127.0.0.1:1", "t", "/files"], "no store to copy to"),
        (["cache", "ls", "/no/such/place"], "no cache directory"),
        (["cache", "evict", "."], "either --limit-bytes or --seal"),
        (["cache", "evict", ".", "--seal", "none"], "0 seals begin with 'none'"),
    ],
)
def test_mistakes_are_told_and_secrets_are_not(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert said in err and "letmein" not in err + out and "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--transform", "no.such:function"], "no.such"),
        (["--transform", "json:none"], "none"),
        (["--splits", "train"], "expected names and shares"),
        (["--splits", "train=0.5"], "must be 1"),
    ],
)
def test_wrong_options_of_seal(
    url: str, table: str, options: list[str], said: str, tmp_path: Path, capsys: Any
) -> None:
    seal = ["seal", url, table, "--cache", str(tmp_path), "--version", "1"]
    assert main([*seal, *options]) == 1
    assert said in capsys.readouterr().err


def test_the_urls_of_the_environment(
    url: str, table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STORE", url)
    assert told(capsys, "inspect", "env:STORE", table)["key"] == ["id"]


def test_it_runs_as_a_command() -> None:
    code = "import sys; from loaders.cli import main; sys.exit(main())"
    usage = subprocess.run(
        [sys.executable, "-c", code, "nonsense"], capture_output=True, text=True, check=False
    )
    assert usage.returncode == 2 and "invalid choice" in usage.stderr
    told_help = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False
    )
    assert told_help.returncode == 0 and "examples:" in told_help.stdout
