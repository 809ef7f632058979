"""Sessions that have Delta: its jars, and the two settings by which Spark knows it."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from connector.errors import MissingDependencyError, OptionError
from spark_ext.versions import SPARK_VERSION

VERSION = "4.4.0"
"""Of Delta: the one that kvlake is tested with."""

EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"

_SPARKS = ("4.0", "4.1", "4.2")  # that this Delta is made for


def with_delta(
    builder: SparkSession.Builder, jars: str | Path | None = None
) -> SparkSession.Builder:
    """Have a session know Delta. It takes effect where the session's JVM is started.

    Args:
        builder: of the session; jars, packages and extensions that it was given already are kept.
        jars: the directory where Delta's jars are; without it Spark fetches them from Maven Central.

    Raises:
        OptionError: there is no jar in the directory.
        MissingDependencyError: there is no such Delta for this version of Spark.
    """
    if jars is not None:
        found = sorted(str(path.resolve()) for path in Path(jars).glob("*.jar"))
        if not found:
            raise OptionError(f"there is no jar of Delta in {str(jars)!r}")
        _append(builder, "spark.jars", *found)
    elif SPARK_VERSION in _SPARKS:
        _append(builder, "spark.jars.packages", package(SPARK_VERSION))
    else:
        raise MissingDependencyError(
            f"there is no Delta {VERSION} for Spark {SPARK_VERSION}, but for {', '.join(_SPARKS)}; "
            f"name a directory with the jars of another"
        )
    _append(builder, "spark.sql.extensions", EXTENSION)
    return builder.config("spark.sql.catalog.spark_catalog", CATALOG)


def package(spark: str) -> str:
    """Delta for a minor version of Spark, as Maven names it."""
    return f"io.delta:delta-spark_{spark}_2.13:{VERSION}"


def check_delta(spark: SparkSession) -> None:
    """Raise MissingDependencyError in a session that does not know Delta."""
    if EXTENSION not in str(spark.conf.get("spark.sql.extensions", "")):
        raise MissingDependencyError(
            "this session does not know Delta: begin it with "
            "spark_ext.configure(SparkSession.builder, delta=True), before any other session of this "
            f"process, or set spark.sql.extensions to {EXTENSION} and bring the jars"
        )


def _append(builder: SparkSession.Builder, name: str, *more: str) -> None:
    """Add to a setting that is a list."""
    given = str(builder._options.get(name, "")).split(",")
    builder.config(name, ",".join(dict.fromkeys([*filter(None, given), *more])))
