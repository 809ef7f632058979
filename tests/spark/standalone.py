"""A standalone Spark cluster of processes on this machine, and what is submitted to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pyspark

T = TypeVar("T")

HOME = Path(pyspark.__file__).parent
# Spark runs a second copy of a task only on another host than the first: two names make two hosts.
HOSTS = ("127.0.0.1", "localhost")
_INHERITED = ("PATH", "HOME", "LANG", "JAVA_HOME", "TMPDIR")
_PATIENCE = 120  # seconds; a process of Spark starts in three, on an idle machine


def environment(**more: str) -> dict[str, str]:
    """Variables for Spark's processes, with nothing by which they could find what is installed here."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | {"SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": "127.0.0.1"} | more


@contextmanager
def standalone(directory: Path) -> Iterator[str]:
    """A master and a worker of one core on each of HOSTS; gives the master's URL."""
    with ExitStack() as stack:
        at = ("--host", HOSTS[0], "--port", "0", "--webui-port", "0")
        log = stack.enter_context(_running(directory / "master", "master.Master", *at))
        url = _awaited(lambda: re.search(r"Starting Spark master at (spark://\S+)", log()), log)[1]
        for host in HOSTS:
            at = ("--host", host, "--webui-port", "0", "--cores", "1", "--memory", "1g")
            work = directory / f"worker-{host}"
            stack.enter_context(_running(work, "worker.Worker", *at, "--work-dir", str(work), url))
        _awaited(lambda: log().count("Registering worker") == len(HOSTS), log)
        yield url


@contextmanager
def _running(directory: Path, daemon: str, *arguments: str) -> Iterator[Callable[[], str]]:
    """One of Spark's daemons, ended by its process id; gives what reads its log."""
    directory.mkdir()
    path = directory / "log"
    command = [HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{daemon}", *arguments]
    given = environment(SPARK_DAEMON_MEMORY="256m")
    with (
        path.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, env=given) as process,
    ):
        try:
            yield lambda: path.read_text(errors="replace")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _awaited(found: Callable[[], T], log: Callable[[], str]) -> T:
    deadline = time.monotonic() + _PATIENCE
    while not (result := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Spark's cluster did not start in {_PATIENCE} s: {log()[-3000:]}")
        time.sleep(0.1)
    return result


def submit(
    master: str,
    *job: str | Path,
    confs: dict[str, object] | None = None,
    directory: Path,
    variables: dict[str, str] | None = None,
    options: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run spark-submit in a directory, with no variables but these; gives what it printed.

    Args:
        master: the cluster's URL.
        job: the job's file and its arguments.
        confs: further configuration of Spark.
        directory: the working directory of the driver.
        variables: beside those of ``environment``.
        options: further options of spark-submit.
    """
    settings: dict[str, object] = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.executor.memory": "512m",
        "spark.sql.shuffle.partitions": 2,
        **(confs or {}),
    }
    command: list[str | Path] = [HOME / "bin" / "spark-submit", "--master", master]
    command += [f"--conf={name}={value}" for name, value in settings.items()]
    command += [*options, *job]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment(**(variables or {})),
        timeout=540,
        check=False,
    )


def own_home(directory: Path) -> dict[str, str]:
    """Variables by which Spark takes a directory for its home; ``local-cluster`` keeps files there."""
    directory.mkdir()
    for part in HOME.iterdir():
        (directory / part.name).symlink_to(part)
    return {"SPARK_HOME": str(directory)}


def same_python() -> dict[str, str]:
    """Variables by which drivers and workers run the Python of the tests, with all that it has."""
    found = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    return found | {"PYSPARK_PYTHON": sys.executable}
