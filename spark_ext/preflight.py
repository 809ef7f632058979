"""Whether the Python that Spark starts its workers with can run kvlake.

PySpark takes that Python from the variable PYSPARK_PYTHON, and where that is not set, whatever
``python3`` is on the PATH: often not the one that runs the driver. Then the data source is "not
found", or a worker lacks pyarrow, and nothing says why.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys

from pyspark.sql import SparkSession

from connector.errors import MissingDependencyError, OptionError

_PROBE = """
import importlib.util, sys
missing = [name for name in ("pyspark", "pyarrow", "connector", "spark_ext")
           if importlib.util.find_spec(name) is None]
print(*sys.version_info[:2], sep=".")
print(*missing)
"""
_MEND = "set PYSPARK_PYTHON, or begin the session with spark_ext.configure(SparkSession.builder)"


def check_python(spark: SparkSession) -> None:
    """Check the Python of Spark's workers, as far as the driver's machine can tell.

    Executors elsewhere may differ still; PySpark itself refuses another minor version there. A Spark
    Connect session runs its workers where nothing of this machine counts.

    Raises:
        OptionError: there is no such Python, or it has another version than the driver's.
        MissingDependencyError: it lacks kvlake, or what that needs.
    """
    context = getattr(spark, "sparkContext", None)
    if context is not None:
        check_executable(context.pythonExec)


@functools.cache
def check_executable(python: str) -> None:
    """Check one Python, given as a path or as a name on the PATH; see ``check_python``."""
    if " " in python:
        raise OptionError(
            f"Spark's workers are to run {python!r}, and Spark finds no data source by a path with a space "
            f"in it; put its directory first in PATH, and set PYSPARK_PYTHON to the name alone"
        )
    found = shutil.which(python)
    if found == sys.executable:
        return
    if found is None:
        raise OptionError(f"Spark's workers are to run {python!r}, which is not there; {_MEND}")
    probe = subprocess.run([found, "-c", _PROBE], capture_output=True, text=True, check=False)
    if probe.returncode:
        raise OptionError(
            f"Spark's workers are to run {found}, which fails: {probe.stderr.strip()}; {_MEND}"
        )
    version, missing = probe.stdout.split("\n")[:2]
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version != ours:
        raise OptionError(
            f"Spark's workers are to run {found}, which is Python {version}; the driver is {ours}. {_MEND}"
        )
    if missing:
        raise MissingDependencyError(
            f"Spark's workers are to run {found}, which lacks {', '.join(missing.split())}; "
            f"the driver runs {sys.executable}. {_MEND}"
        )
