"""Redis Streams as a streaming source: offsets are IDs of entries, partitions are ranges of IDs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.types import StructType

from connector.redis.streams.log import StreamLog
from connector.redis.streams.state import Position, StreamState
from connector.scan import Scan
from spark_ext.messages import concise
from spark_ext.reader import part_of
from spark_ext.streaming.versions import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)
from spark_ext.types import arrow_schema, fit


class StreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Reads streams micro-batch by micro-batch.

    An offset tells, for every stream, up to which ID it has been read, and where the batch that ends
    there begins: so a batch that is read again after a crash is the same entries.

    Args:
        log: the streams.
        scan: the columns and rows wanted.
        schema: those as Spark has them.
        parts: about how many partitions a batch is cut into.
        limit: most entries in a batch.
        group: the consumer group that follows.
    """

    def __init__(
        self,
        log: StreamLog,
        scan: Scan,
        schema: StructType,
        *,
        parts: int,
        limit: int | None,
        group: str | None,
    ) -> None:
        self._log = log
        self._scan = scan
        self._schema = arrow_schema(schema)
        self._parts = parts
        self._limit = limit
        self._group = group
        self._beginning: dict[str, Position] | None = None
        self._at: dict[str, Position] | None = None  # for Spark before 4.2, which does not say
        self._upto: dict[str, StreamState] | None = None
        self._acknowledged: dict[str, Position] | None = None

    @concise
    def initialOffset(self) -> dict[str, Any]:
        """Where a new query begins, found out once."""
        return _to_json(self._begun())

    @concise
    def latestOffset(
        self, start: dict[str, Any] | None = None, limit: ReadLimit | None = None
    ) -> dict[str, Any]:
        """Where the next batch ends; Spark before 4.2 passes neither argument."""
        at = (self._at or self._begun()) if start is None else _from_json(start)
        self._acknowledge(at)  # Spark asks when all up to here is done, and commits when it goes on
        most = limit.max_rows if isinstance(limit, ReadMaxRows) else None
        end = self._log.advance(at, most, self._upto)
        return start if start is not None and end == at else _to_json(end)

    def getDefaultReadLimit(self) -> ReadLimit:
        """What Spark passes to ``latestOffset``, but for triggers that want everything."""
        return ReadAllAvailable() if self._limit is None else ReadMaxRows(self._limit)

    @concise
    def prepareForTriggerAvailableNow(self) -> None:
        """Read no further than what is there now."""
        self._upto = self._log.states()

    @concise
    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        """Cut a batch; from one restart to the next in the same way."""
        self._at = _from_json(end)
        if start == end:
            return []
        return [InputPartition(part) for part in self._log.partitions(self._at, self._parts)]

    def read(self, partition: InputPartition | None) -> Iterator[pa.RecordBatch]:
        """Read one partition, in a task."""
        part = part_of(partition)
        if part is None:
            return
        for batch in self._log.read(self._scan, part):
            yield fit(batch, self._schema)

    @concise
    def commit(self, end: dict[str, Any]) -> None:
        """Move the consumer group: the batch that ends here is done."""
        self._acknowledge(_from_json(end))

    def _acknowledge(self, end: dict[str, Position]) -> None:
        if self._group is not None and end != self._acknowledged:
            self._log.acknowledge(self._group, end)
            self._acknowledged = end

    def _begun(self) -> dict[str, Position]:
        if self._beginning is None:
            self._beginning = self._log.begin()
        return self._beginning


def _from_json(offset: Mapping[str, Any]) -> dict[str, Position]:
    return {key: Position.from_json(found) for key, found in offset.items()}


def _to_json(positions: Mapping[str, Position]) -> dict[str, Any]:
    return {key: at.to_json() for key, at in positions.items()}
