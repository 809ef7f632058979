"""The stream reader asked in the orders in which versions of Spark ask, without Spark."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pyspark.sql.types import LongType, StructField, StructType
from servers import Server
from streaming_queries import put

from connector.redis.options import ModelName, RedisOptions
from spark_ext.options import TableOptions
from spark_ext.streaming.options import StreamOptions
from spark_ext.streaming.reader import StreamReader
from spark_ext.streaming.source import stream_log, stream_scan
from spark_ext.streaming.versions import HAS_LIMITS, ReadMaxRows

limited = pytest.mark.skipif(not HAS_LIMITS, reason="Spark before 4.2 asks for no limits")

SCHEMA = StructType([StructField("id", LongType())])


def opened(url: str, table: str, start: str = "earliest") -> StreamReader:
    options, store = TableOptions(table=table), RedisOptions(url=url, model=ModelName.STREAM)
    log = stream_log(options, StreamOptions(start=((None, start),)), store)
    scan = stream_scan(log, options, SCHEMA)
    return StreamReader(log, scan, SCHEMA, parts=2, limit=None, group="g")


def rows(reader: StreamReader, start: dict[str, Any], end: dict[str, Any]) -> list[int]:
    parts = reader.partitions(start, end)
    task: StreamReader = pickle.loads(pickle.dumps(reader))
    return [n for part in parts for batch in task.read(part) for n in batch["id"].to_pylist()]


def test_spark_before_4_2_asks_for_the_end_first(redis_server: Server, table: str) -> None:
    url, raw = redis_server.url, redis_server.raw
    put(raw, table, range(50))
    reader = opened(url, table)
    one = reader.latestOffset()
    assert rows(reader, reader.initialOffset(), one) == list(range(50))
    assert reader.latestOffset() == one
    put(raw, table, range(50, 60))
    two = reader.latestOffset()
    reader.commit(one)
    assert rows(reader, one, two) == list(range(50, 60))


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_the_first_batch_again_in_spark_before_4_2(
    redis_server: Server, table: str, start: str
) -> None:
    url, raw = redis_server.url, redis_server.raw
    reader = opened(url, table, start)
    begin = reader.initialOffset()
    put(raw, table, range(50))
    end = reader.latestOffset()
    assert rows(reader, begin, end) == list(range(50))
    put(raw, table, range(50, 60))
    again = opened(url, table, start)
    assert again.partitions(end, end) == []  # what Spark tells it of the checkpoint
    assert rows(again, again.initialOffset(), end) == list(range(50))
    assert rows(again, end, again.latestOffset()) == list(range(50, 60))


@limited
def test_later_ones_tell_where_a_batch_begins(redis_server: Server, table: str) -> None:
    url, raw = redis_server.url, redis_server.raw
    put(raw, table, range(50))
    reader = opened(url, table)
    begin = reader.initialOffset()
    end = reader.latestOffset(begin, ReadMaxRows(20))
    assert rows(reader, begin, end) == list(range(20))
    assert not raw.xinfo_groups(table)[0]["entries-read"]
    rest = reader.latestOffset(end, ReadMaxRows(50))
    assert raw.xinfo_groups(table)[0]["entries-read"] == 20
    assert rows(reader, end, rest) == list(range(20, 50))
    assert reader.latestOffset(rest, ReadMaxRows(50)) is rest


@limited
def test_what_was_there_when_a_query_began_is_its_end(redis_server: Server, table: str) -> None:
    url, raw = redis_server.url, redis_server.raw
    put(raw, table, range(50))
    reader = opened(url, table)
    begin = reader.initialOffset()
    reader.prepareForTriggerAvailableNow()
    put(raw, table, range(50, 60))
    end = reader.latestOffset(begin, ReadMaxRows(1000))
    assert rows(reader, begin, end) == list(range(50))
    assert reader.latestOffset(end, ReadMaxRows(1000)) is end
