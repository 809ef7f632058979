"""One Delta table: its versions, its rows at one of them, and what changed between two.

It goes by SQL and readers' options alone, so that it is the same in classic sessions and over Spark
Connect, and needs no Python package beside PySpark.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from connector.errors import OptionError, StoreError, TableNotFoundError
from spark_ext.delta_session import check_delta
from spark_ext.keys import column

Version: TypeAlias = "int | str | datetime | None"

_NO_TABLE = (
    "DELTA_MISSING_DELTA_TABLE",
    "DELTA_TABLE_NOT_FOUND",
    "DELTA_TABLE_ONLY_OPERATION",
    "TABLE_OR_VIEW_NOT_FOUND",
)
_LOST = (  # what is said of change data that is not there, or does not fit the table of today
    "DELTA_MISSING_CHANGE_DATA",
    "DELTA_CHANGE_DATA_FEED_INCOMPATIBLE",
    "DELTA_CHANGE_DATA_FILE_NOT_FOUND",
    "DELTA_FILE_NOT_FOUND",
    "DELTA_LOG_FILE_NOT_FOUND",
    "DELTA_TRUNCATED_TRANSACTION_LOG",
    "DELTA_VERSION_NOT_FOUND",
    "FAILED_READ_FILE.FILE_NOT_EXIST",
    "Did not get the last delta file version",  # without a class, where the log was cut
)
_SILENT = ("spark.sql.files.ignoreMissingFiles", "spark.sql.files.ignoreCorruptFiles")


@dataclass(frozen=True)
class DeltaTable:
    """A Delta table of a session.

    Attributes:
        spark: the session.
        name: a path, which has a slash in it, or else the name of a table in the catalog.
    """

    spark: SparkSession
    name: str

    @property
    def is_path(self) -> bool:
        return "/" in self.name

    @property
    def identifier(self) -> str:
        """The table, as SQL names it."""
        return f"delta.{column(self.name)}" if self.is_path else self.name

    @functools.cached_property
    def id(self) -> str:
        """The table's own, which another table that takes its place does not have."""
        with self._found():
            return str(self.spark.sql(f"DESCRIBE DETAIL {self.identifier}").collect()[0]["id"])

    def history(self, commits: int | None = None) -> DataFrame:
        """The table's commits, the latest first; only so many of them, where a number is given."""
        check_delta(self.spark)
        most = "" if commits is None else f" LIMIT {commits}"
        with self._found():
            return self.spark.sql(f"DESCRIBE HISTORY {self.identifier}{most}")

    def latest(self) -> int:
        """The number of the latest version."""
        return int(self.history(1).collect()[0]["version"])

    def resolve(self, version: Version) -> int:
        """The number of a version: given as such, as a time, or by None as the latest.

        Raises:
            OptionError: the table does not have it.
            TableNotFoundError: there is no such table.
        """
        if isinstance(version, int) or version is None:
            latest = self.latest()
            if version is not None and not 0 <= version <= latest:
                raise OptionError(
                    f"Delta table {self.name!r} has no version {version}; its latest is {latest}"
                )
            return latest if version is None else version
        before = self.history().where(sf.col("timestamp") <= sf.lit(version).try_cast("timestamp"))
        found = before.agg(sf.max("version")).collect()[0][0]
        if found is None:
            raise OptionError(
                f"Delta table {self.name!r} has no version of {str(version)!r} or before that its log "
                f"still tells; give a number, or a time such as '2026-01-31 12:00:00'"
            )
        return int(found)

    def at(self, version: int) -> DataFrame:
        """The rows of a version.

        Raises:
            OptionError: its files or its log may be gone.
        """
        self._check_files()
        reader = self.spark.read.format("delta").option("versionAsOf", version)
        try:
            df = reader.table(self.identifier)
            df.schema  # noqa: B018 - a session of Spark Connect asks for nothing before
        except AnalysisException as error:
            raise OptionError(
                f"version {version} of Delta table {self.name!r} cannot be read: {_first_line(error)}"
            ) from error
        return df

    def changes(self, first: int, last: int) -> DataFrame:
        """What the versions from ``first`` to ``last`` changed, in the columns of ``last``.

        Rows are as Delta's change data feed has them. What is not there is found out no later than
        when the rows are read: do so in ``recorded``.
        """
        self._check_files()
        reader = self.spark.read.format("delta").option("readChangeFeed", "true")
        reader = reader.option("startingVersion", first).option("endingVersion", last)
        found = reader.table(self.identifier)
        names = [*self.at(last).columns, "_change_type", "_commit_version"]
        return found.select(*map(column, names))

    @contextmanager
    def recorded(self, first: int, last: int) -> Iterator[None]:
        """Say what to do where the changes of these versions are not to be had."""
        try:
            yield
        except (PySparkException, Py4JJavaError) as error:
            if not any(sign in str(error) for sign in _LOST):
                raise
            raise StoreError(
                f"the changes of versions {first} to {last} of Delta table {self.name!r} are not to be "
                f"had: they were made without delta.enableChangeDataFeed, were cleaned up meanwhile, or "
                f"columns were renamed or dropped since; publish the whole table anew: {_first_line(error)}"
            ) from error

    def _check_files(self) -> None:
        """Spark can be set to pass over files that are gone, and their rows with them."""
        for name in _SILENT:
            if self.spark.conf.get(name, "false") == "true":
                raise OptionError(
                    f"{name} is on in this session, so rows of Delta table {self.name!r} could be "
                    f"missing without a word; switch it off"
                )

    @contextmanager
    def _found(self) -> Iterator[None]:
        try:
            yield
        except AnalysisException as error:
            if not str(error.getCondition()).startswith(_NO_TABLE):
                raise
            raise TableNotFoundError(
                f"there is no Delta table {self.name!r}: {_first_line(error)}"
            ) from error


def _first_line(error: Exception) -> str:
    """What an error says, without the plans and the stack below it."""
    lines = [line for line in str(error).splitlines() if "[" in line] or str(error).splitlines()
    return lines[0].rpartition("Exception: ")[2].strip()
