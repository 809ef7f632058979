"""The jobs of examples/etl, submitted to clusters whose Python has nothing installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aerospikes import Aerospike
from servers import Server
from standalone import HOSTS, own_home, standalone, submit

from connector import WriteOptions, open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "examples" / "etl"
ROWS = pa.table({"id": range(3000), "name": [f"name {i}" for i in range(3000)], "n": range(3000)})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What scripts/package makes, with all that both stores need."""
    made = tmp_path_factory.mktemp("package") / "kvlake.tar.gz"
    command = [sys.executable, ROOT / "scripts" / "package", made, "--with", "redis,aerospike"]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of our version that can import none of what the jobs need."""
    directory = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    python = directory / "bin" / "python3"
    code = """if True:
        from importlib.util import find_spec
        names = "connector", "spark_ext", "pyspark_redis", "pyspark", "pyarrow", "numpy", "redis", "aerospike"
        print([name for name in names if find_spec(name) is not None])
    """
    found = subprocess.run([python, "-Ic", code], check=True, capture_output=True, text=True)
    assert json.loads(found.stdout) == []
    return python


@pytest.fixture(scope="module")
def driver(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where jobs are submitted, with the driver's copy of the archive."""
    directory = tmp_path_factory.mktemp("driver")
    (directory / "kvlake").mkdir()
    subprocess.run(["tar", "-xzf", archive, "-C", directory / "kvlake"], check=True)
    return directory


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cluster's workers keep the files of their executors."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(workers: Path) -> Iterator[str]:
    with standalone(workers) as url:
        yield url


class Submit:
    """Submits jobs as the documentation says."""

    def __init__(self, archive: Path, bare: Path, driver: Path) -> None:
        self._archive, self._bare, self._driver = archive, bare, driver

    def __call__(
        self, master: str, job: str, *given: str | Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return submit(
            master,
            *(JOBS / job, *given),
            options=("--archives", f"{self._archive}#kvlake"),
            confs={"spark.executorEnv.PYTHONPATH": "./kvlake"},
            directory=self._driver,
            variables={
                "PYTHONPATH": "./kvlake",
                "PYSPARK_PYTHON": str(self._bare),
                **variables,
            },
        )


@pytest.fixture(scope="module")
def run(archive: Path, bare: Path, driver: Path) -> Submit:
    return Submit(archive, bare, driver)


def test_files_are_loaded_by_workers_that_have_nothing_installed(
    run: Submit, cluster: str, workers: Path, redis_server: Server, table: str, tmp_path: Path
) -> None:
    for start in range(0, 3000, 1000):
        pq.write_table(ROWS.slice(start, 1000), tmp_path / f"{start}.parquet")
    target = ("--url", redis_server.url, "--table", table, "--key", "id", "--mode", "overwrite")
    ran = run(cluster, "load_files.py", "--input", tmp_path, *target)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-6000:]
    assert f"load_files: loaded 3000 rows into table '{table}'" in ran.stdout
    assert f"INFO spark_ext.writer: wrote 3000 rows to table '{table}': " in ran.stderr
    assert sum(1 for _ in redis_server.raw.scan_iter(f"{table}:*", count=5000)) == 3000
    assert redis_server.raw.hget(f"{table}:2999", "name") == b"name 2999"
    for host in HOSTS:
        assert [*workers.glob(f"worker-{host}/*/*/kvlake/connector/__init__.py")], host


def test_a_table_is_copied_from_redis_to_aerospike(
    run: Submit, cluster: str, redis_server: Server, aerospike_server: Aerospike, table: str
) -> None:
    with open_store(redis_server.url) as store:
        store.write(table, ROWS.to_batches(), WriteOptions(key=("id",)))
    source = ("--from", redis_server.url, "--table", table, "--filter", "n < 2000")
    target = ("--to", aerospike_server.url, "--to-table", f"{table}_copy", "--key", "id")
    ran = run(cluster, "copy_table.py", *source, *target)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-6000:]
    assert f"copied 2000 rows of table '{table}'" in ran.stdout
    found = aerospike_server.raw.query(aerospike_server.namespace, f"{table}_copy").results()
    assert {(bins["name"], bins["n"]) for _, _, bins in found} == {
        (f"name {i}", i) for i in range(2000)
    }


def test_a_job_that_fails_says_so_by_its_code_and_leaves_the_table(
    run: Submit, cluster: str, redis_server: Server, table: str, tmp_path: Path
) -> None:
    twice = pa.concat_tables([ROWS.slice(0, 100), ROWS.slice(50, 100)])
    pq.write_table(twice, tmp_path / "twice.parquet")
    target = ("--url", redis_server.url, "--table", table, "--key", "id", "--check-keys")
    ran = run(cluster, "load_files.py", "--input", tmp_path, *target)
    assert ran.returncode == 1, ran.stdout[-3000:]
    assert "keys (id) stand more than once in the DataFrame, such as" in ran.stdout
    assert not redis_server.raw.keys(f"{table}:*")


def test_a_table_is_exported_by_a_local_cluster(
    run: Submit, driver: Path, redis_server: Server, table: str, tmp_path: Path
) -> None:
    with open_store(redis_server.url) as store:
        store.write(table, ROWS.to_batches(), WriteOptions(key=("id",)))
    wanted = ("--filter", "n >= 2990", "--columns", "id", "name", "--output", "exported")
    ran = run(
        "local-cluster[2,1,1024]",
        "export_table.py",
        *("--url", redis_server.url, "--table", table, *wanted),
        **own_home(tmp_path / "spark"),
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-6000:]
    assert f"exported 10 rows of table '{table}' to exported" in ran.stdout
    assert [*tmp_path.glob("spark/work/*/*/kvlake/connector/__init__.py")]
    found = pq.read_table(driver / "exported").sort_by("id")
    assert found.equals(ROWS.slice(2990).select(["id", "name"]).cast(found.schema))
