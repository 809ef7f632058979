"""Spark's view of a Source: its partitions are Spark's input partitions, its batches Spark's rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from connector.source import Source
from spark_ext.types import arrow_schema, fit


class SourceReader(DataSourceReader):
    """Reads any Source.

    It does not define ``pushFilters``: while Spark's option for that is off, a reader that defines
    it fails every query; while it is on, Spark 4.2 returns wrong rows where two scans share a
    DataFrame.
    """

    def __init__(self, source: Source, schema: StructType) -> None:
        self._source = source
        self._schema = arrow_schema(schema)

    def partitions(self) -> list[InputPartition]:
        """Plan once, on the driver."""
        return [InputPartition(part) for part in self._source.partitions()]

    def read(self, partition: InputPartition | None) -> Iterator[pa.RecordBatch]:
        """Read one partition, in a task."""
        part = part_of(partition)
        if part is None:
            return
        for batch in self._source.read(part):
            yield fit(batch, self._schema)


def part_of(partition: InputPartition | None) -> Any:
    """What a task is to read; None where the plan has no partitions.

    Spark has a stand-in for those: Spark 4.0 None, later ones a partition of None.
    """
    return None if partition is None else partition.value
