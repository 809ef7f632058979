"""Redis as a Spark data source: tables, and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSourceStreamReader, DataSourceStreamWriter
from pyspark.sql.types import StructType

from connector.errors import TableNotFoundError
from spark_ext.datasource import PARTS, StoreDataSource, nullable
from spark_ext.messages import concise
from spark_ext.types import spark_schema

if TYPE_CHECKING:  # redis may not be there
    from connector.redis.options import RedisOptions
    from connector.redis.streams.log import StreamLog
    from connector.scan import Scan


class RedisDataSource(StoreDataSource):
    """``spark.read.format("redis")`` and ``df.write.format("redis")``.

    The options are those of connector.redis.RedisOptions and spark_ext.options.TableOptions.
    """

    scheme = "redis"
    texts = True

    @concise
    def schema(self) -> StructType:
        """The columns of the table; of streams that are named, or whose table is none, theirs."""
        if self._streams.streams is None:
            try:
                return super().schema()
            except TableNotFoundError:
                if not self._may_be_stream():
                    raise
        return spark_schema(self._stream(None)[1].output)

    @concise
    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        from spark_ext.streaming.reader import StreamReader  # needs redis, which may not be there

        log, scan = self._stream(schema)
        return StreamReader(
            log,
            scan,
            schema,
            parts=self._table.partitions_number or PARTS,
            limit=self._streams.max_entries_per_trigger,
            group=self._streams.group,
        )

    @concise
    def streamWriter(self, schema: StructType, overwrite: bool) -> DataSourceStreamWriter:
        from connector.redis.models.streams import ENTRY
        from spark_ext.streaming.appender import AppendStreamWriter, destination

        if ENTRY in schema.names or not self._may_be_stream():
            return super().streamWriter(schema, overwrite)
        how = self._write_options(overwrite)
        to = destination(self._table, self._streams, self._redis, nullable(schema), how)
        return AppendStreamWriter(self._redis, to, self._streams.replay_seconds)

    @property
    def _redis(self) -> RedisOptions:
        from connector.redis.options import RedisOptions

        assert isinstance(self._store, RedisOptions)
        return self._store

    def _may_be_stream(self) -> bool:
        """Whether the options ask for streams."""
        model = self._redis.model
        named = self._streams.streams is not None
        return named or (model is not None and model.value == "stream")

    def _stream(self, wanted: StructType | None) -> tuple[StreamLog, Scan]:
        from spark_ext.streaming.source import stream_log, stream_scan

        log = stream_log(self._table, self._streams, self._redis)
        return log, stream_scan(log, self._table, wanted)
