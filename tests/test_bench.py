"""Every benchmark case runs, on few rows: figures of so few mean nothing, but the case cannot rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from aerospikes import Aerospike

SCRIPTS = Path(__file__).parent.parent / "scripts"
PEERS = os.environ.get("TEST_PEERS")
"""What scripts/peers made, where it was run."""
SPARK_REDIS = PEERS is not None and (Path(PEERS) / "venv").exists()
LOADERS = PEERS is not None and (Path(PEERS) / "loaders").exists()
"""Which parts of it."""
WITH_PEERS = ("--peers", PEERS) if PEERS else ()


def python(script: str, *arguments: object, directory: Path) -> None:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    assert done.returncode == 0, done.stderr[-3000:]


def run(case: str, directory: Path, *rows: int, more: tuple[object, ...] = ()) -> dict[str, Any]:
    out = directory / f"{case}.json"
    arguments = ("--rows", *rows, "--repeats", 1, "--out", out, *more)
    python("bench.py", case, *arguments, directory=directory)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.slow
def test_redis(tmp_path: Path) -> None:
    found = run("redis", tmp_path, 5000, more=WITH_PEERS)
    expected = {"read", "write", "scan_limit", "write_redis_py", "spark_read", "spark_write"}
    expected |= {"write_replace", "write_overwrite", "write_row_ttl"}
    assert expected <= set(found["figures"])
    assert found["read_worker"]["rows"] == 5000
    assert 0 < found["server_cpu"]["read"]["busy_share"] <= 1.1
    assert ("spark_read / read_spark_redis" in found["ratios"]) == SPARK_REDIS
    assert ("spark-redis" in found["absent"]) != SPARK_REDIS


@pytest.mark.slow
def test_cluster(tmp_path: Path) -> None:
    found = run("cluster", tmp_path, 5000)
    servers = ("alone", "cluster_of_one", "cluster")
    assert set(found["figures"]) == {f"{w}_{s}" for w in ("write", "read") for s in servers}
    assert found["server_cpu"]["read_cluster"]["rows_per_server_cpu_second"] > 0


@pytest.mark.slow
def test_arrow(tmp_path: Path) -> None:
    found = run("arrow", tmp_path, 20_000)
    assert found["ratios"]["read_lz4 / read_hash"] > 1
    assert found["bytes_per_row"]["lz4"] < found["bytes_per_row"]["none"]


@pytest.mark.slow
def test_decode_agrees_with_hiredis(tmp_path: Path) -> None:
    found = run("decode", tmp_path, 5000)
    assert set(found["ratios"]) == {
        "ours / hiredis",
        "ours_without_gc / hiredis_without_gc",
        "ours_with_nulls / hiredis_with_nulls",
        "ours_with_nulls_without_gc / hiredis_with_nulls_without_gc",
    }


@pytest.mark.slow
def test_wide(tmp_path: Path) -> None:
    ratios = run("wide", tmp_path, 500)["ratios"]
    assert ratios["two_of_wide / all_of_wide"] > 1


@pytest.mark.slow
def test_lookup(tmp_path: Path) -> None:
    shapes = run("lookup", tmp_path, 2000)["shapes"]
    assert set(shapes) == {"100x50", "1x5", "10000x5"}
    for found in shapes.values():
        assert found["calls"] >= 20
        assert set(found["figures"]) == {
            "ours",
            "redis_py_decoded",
            "redis_py_raw",
            "ours_cached",
            "server_alone",
        }


@pytest.mark.slow
def test_growth_and_its_plot(tmp_path: Path) -> None:
    sizes = run("growth", tmp_path, 1000, 5000)["sizes"]
    assert [size["rows"] for size in sizes] == [1000, 5000]
    python("benchmarks/plot.py", "growth.json", "growth.svg", directory=tmp_path)
    picture = ET.parse(tmp_path / "growth.svg")
    marks = picture.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(marks) == 2 * 2 * len(sizes)


@pytest.mark.slow
def test_pushdown(tmp_path: Path) -> None:
    found = run("pushdown", tmp_path, 3000)
    assert len(found["figures"]) == 8
    assert set(found["milliseconds of a small query"]) == {"auto", "off"}


@pytest.mark.slow
def test_aerospike(tmp_path: Path, aerospike_server: Aerospike) -> None:
    more = ("--url", aerospike_server.url, *WITH_PEERS)
    found = run("aerospike", tmp_path, 2000, more=more)
    assert found["server"].startswith("Aerospike ")
    expected = {f"{what}_{n}" for n in (1, 2) for what in ("read", "read_bare", "write_bare")}
    expected |= {"write_1", "read_2_bins", "read_blocks_1", "filter_pushed", "filter_by_index"}
    expected |= {"spark_read", "spark_write"}
    assert expected <= set(found["figures"])
    assert found["planning_seconds"] > 0
    assert found["lookup"]["keys"] == 1000
    assert ("read_2 / java_scan" in found["ratios"]) != ("java client" in found["absent"])


def test_aerospike_asks_for_a_server(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "bench.py"), "aerospike"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert "give --url aerospike://HOST:PORT/NAMESPACE" in done.stderr


@pytest.mark.slow
def test_loaders(tmp_path: Path) -> None:
    found = run("loaders", tmp_path, 20_000, more=WITH_PEERS)
    assert {"epoch / epoch_raw_arrow", "epoch / epoch_raw_parquet"} <= set(found["ratios"])
    for peer in ("mosaic", "litdata", "datasets"):
        assert (peer in found["absent"]) != LOADERS
        for ratio in (f"epoch / epoch_{peer}", f"sealing / writing_{peer}"):
            assert (ratio in found["ratios"]) == LOADERS


@pytest.mark.slow
def test_images(tmp_path: Path) -> None:
    found = run("images", tmp_path, 600, more=WITH_PEERS)
    assert {"epoch", "epoch_sealed_pixels", "sealing", "sealing_pixels"} <= set(found["figures"])
    assert 10_000 < found["bytes_of_a_jpeg"] < 40_000
    for peer in ("mosaic", "litdata"):
        assert (peer in found["absent"]) != LOADERS
        assert (f"epoch / epoch_{peer}" in found["ratios"]) == LOADERS


@pytest.mark.slow
def test_live(tmp_path: Path) -> None:
    found = run("live", tmp_path, 5000)
    assert set(found["ratios"]) == {
        "read / live",
        "read / live_shuffled",
        "read_2 / live_2",
        "read_2 / live_2_shuffled",
    }


@pytest.mark.slow
def test_spark(tmp_path: Path) -> None:
    found = run("spark", tmp_path, 4000)
    assert set(found["figures"]) >= {"read", "spark_read", "lookup_join", "scan_join"}
    assert found["milliseconds of planning a read"]["median"] > 0


@pytest.mark.slow
def test_streaming(tmp_path: Path) -> None:
    found = run("streaming", tmp_path, 2000)
    assert {"upsert", "append"} <= set(found["figures"])


@pytest.mark.slow
def test_epochs(tmp_path: Path) -> None:
    found = run("epochs", tmp_path, 200_000)
    assert found["rows"] == 200_000
    assert found["share_of_hits"]["scan"] > 0.35 > found["share_of_hits"]["lru"]
    assert set(found["first_batch_seconds"]) == {"start", "resume"}
    assert len(found["resident_mebibytes_after_epochs"]) == 5
