"""The archive that scripts/package makes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "scripts" / "package"


def package(*given: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PACKAGE, *given], capture_output=True, text=True, check=False
    )


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    made = [tmp_path / "a.tar.gz", tmp_path / "b.tgz"]
    for path in made:
        assert package(path).returncode == 0
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in made}) == 1


def test_the_archive_holds_all_of_kvlake_and_nothing_else(tmp_path: Path) -> None:
    ran = package(tmp_path / "kvlake.tar.gz")
    assert ran.returncode == 0, ran.stderr
    with tarfile.open(tmp_path / "kvlake.tar.gz") as archive:
        names = set(archive.getnames())
    assert {name.partition("/")[0] for name in names} == {
        "connector",
        "kvlake_startup",
        "loaders",
        "pyspark_aerospike",
        "pyspark_redis",
        "spark_ext",
    }
    assert {"connector/redis/store.py", "spark_ext/pushdown/kvlake-pushdown.jar"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".java"))]


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    ran = package(tmp_path / "kvlake.tar.gz", "--with", "no-such-package")
    assert ran.returncode == 1
    assert ran.stderr.startswith("no-such-package is to go into the archive, and ")
    assert not [*tmp_path.iterdir()]


def test_a_name_by_which_spark_would_not_unpack_is_refused(tmp_path: Path) -> None:
    ran = package(tmp_path / "kvlake.gz")
    assert ran.returncode == 2
    assert "must end in .tar.gz or .tgz" in ran.stderr
