"""The Java client's scan, of which nothing is kept: the peer of the Aerospike case."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aerospike_place import Place
from benchmarks.asking import line_of
from benchmarks.timing import Contender

VERSION = "9.2.0"
_SOURCE = Path(__file__).with_name("AerospikeScan.java")
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>peers</groupId>
  <artifactId>aerospike</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.aerospike</groupId>
      <artifactId>aerospike-client-jdk8</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


@dataclass(frozen=True)
class JavaScan:
    """A running ``AerospikeScan.java``.

    Attributes:
        process: it.
        rows: how many rows the table has.
    """

    process: subprocess.Popen[str]
    rows: int

    def contender(self, threads: int) -> Contender:
        """Scans the table in so many threads; the seconds are those that it counted itself."""

        def run() -> float:
            assert self.process.stdin is not None
            self.process.stdin.write(f"{threads}\n")
            self.process.stdin.flush()
            records, seconds = line_of(self.process, "the Java client's scan").split()
            assert int(records) == self.rows, "the Java client reads other rows"
            return self.rows / float(seconds)

        return run


@contextmanager
def java_scan(peers: Path, place: Place, table: str, rows: int) -> Iterator[JavaScan]:
    """The scan on the classes in ``peers``, connected."""
    path = f"{peers / 'aerospike'}:{peers / 'aerospike' / 'jars'}/*"
    given = [place.host, str(place.port), place.namespace, table]
    with subprocess.Popen(
        ["java", "-cp", path, "AerospikeScan", *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line_of(process, "the Java client's scan")
        yield JavaScan(process, rows)


def built(peers: Path | None) -> bool:
    """Whether the scan is in ``peers``, or can be built there: that takes Java and a registry of Maven's."""
    if peers is None or not all(map(shutil.which, ("java", "javac", "mvn"))):
        return False
    directory = peers.resolve() / "aerospike"
    jars = directory / "jars"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pom.xml").write_text(_POM)
    fetch = [
        "mvn",
        "--batch-mode",
        "--quiet",
        f"{_PLUGIN}:copy-dependencies",
        f"-DoutputDirectory={jars}",
    ]
    compile = ["javac", "--release", "17", "-cp", f"{jars}/*", "-d", str(directory), str(_SOURCE)]
    there = (jars / f"aerospike-client-jdk8-{VERSION}.jar").exists()
    return all(
        subprocess.run(command, cwd=directory, check=False).returncode == 0
        for command in ([compile] if there else [fetch, compile])
    )
