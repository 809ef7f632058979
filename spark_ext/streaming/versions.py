"""What PySpark's streaming API has beyond that of 4.0: found out here, nowhere else in this package."""

from __future__ import annotations

from typing import Any

from pyspark.sql import datasource

try:  # since 4.2
    from pyspark.sql.streaming.datasource import (
        ReadAllAvailable,
        ReadLimit,
        ReadMaxRows,
        SupportsTriggerAvailableNow,
    )

    HAS_LIMITS = True
except ImportError:
    HAS_LIMITS = False

    class ReadLimit:  # type: ignore[no-redef]
        """Stands in for what no Spark of this version passes on."""

    class ReadAllAvailable(ReadLimit):  # type: ignore[no-redef]
        """Stands in for what no Spark of this version passes on."""

    class ReadMaxRows(ReadLimit):  # type: ignore[no-redef]
        """Stands in for what no Spark of this version passes on."""

        max_rows: int

    class SupportsTriggerAvailableNow:  # type: ignore[no-redef]
        """Stands in for what no Spark of this version asks for."""


class _ArrowWriterOfOldSpark(  # type: ignore[misc]
    datasource.DataSourceStreamWriter, datasource.DataSourceArrowWriter
):
    """4.0 hands record batches to any writer of this kind, in streaming queries too."""


ArrowStreamWriter: Any = getattr(datasource, "DataSourceStreamArrowWriter", _ArrowWriterOfOldSpark)
"""The base of writers that take record batches: since 4.1 there is one."""

__all__ = [
    "HAS_LIMITS",
    "ArrowStreamWriter",
    "ReadAllAvailable",
    "ReadLimit",
    "ReadMaxRows",
    "SupportsTriggerAvailableNow",
]
