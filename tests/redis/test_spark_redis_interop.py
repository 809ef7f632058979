"""Tables that spark-redis wrote, and its option names: both are taken as they are.

What its hash model stores was read in its source (HashRedisPersistence: ``String.valueOf`` of the
Java value) and seen in a server that spark-redis 3.0.0 wrote to; with TEST_PEERS naming what
``scripts/peers`` made, it writes the table once more.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import subprocess
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
import redis
from servers import Server

from connector import OptionError, SchemaError, Store, open_store, read_all
from connector.redis import RedisOptions, RedisStore

STORED = {
    1: {
        "b": "true", "i8": "1", "i16": "2", "i32": "3", "i64": "4", "f32": "1.5", "f64": "1.0E10",
        "dec": "1.000E-7", "s": 'a "b" é', "bin": "[B@17fc421a", "day": "2013-01-01",
        "at": "2013-01-01 05:00:00.0", "ntz": "2013-01-01T05:00", "arr": "WrappedArray(1, 2)",
        "m": "Map(a -> 1)", "st": "[1,z]",
    },
    2: {
        "b": "false", "i8": "-1", "i16": "-2", "i32": "-3", "i64": "-4", "f32": "NaN",
        "f64": "-Infinity", "dec": "1.5000000000", "s": "", "bin": "[B@7970bb07",
        "day": "0001-01-01", "at": "2013-07-01 05:00:00.123456", "ntz": "2013-01-01T05:00:01.500",
        "arr": "WrappedArray()", "m": "Map()",
    },
    3: {"f64": "0.1"},
}  # fmt: skip
"""Rows by their key; the field of a null is not there."""

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("b", pa.bool_()),
        ("i8", pa.int8()),
        ("i16", pa.int16()),
        ("i32", pa.int32()),
        ("i64", pa.int64()),
        ("f32", pa.float32()),
        ("f64", pa.float64()),
        ("dec", pa.decimal128(20, 10)),
        ("s", pa.string()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("ntz", pa.timestamp("us")),
        ("arr", pa.string()),
        ("m", pa.string()),
        ("st", pa.string()),
    ]
)
UTC = dt.UTC
READ = [
    (
        1, True, 1, 2, 3, 4, 1.5, 1e10, Decimal("1.000E-7"), 'a "b" é', dt.date(2013, 1, 1),
        dt.datetime(2013, 1, 1, 5, tzinfo=UTC), dt.datetime(2013, 1, 1, 5), "WrappedArray(1, 2)",
        "Map(a -> 1)", "[1,z]",
    ),
    (
        2, False, -1, -2, -3, -4, math.nan, -math.inf, Decimal("1.5"), "", dt.date(1, 1, 1),
        dt.datetime(2013, 7, 1, 5, 0, 0, 123456, UTC), dt.datetime(2013, 1, 1, 5, 0, 1, 500_000),
        "WrappedArray()", "Map()", None,
    ),
    (3, *[None] * 6, 0.1, *[None] * 8),
]  # fmt: skip
COLUMNS = dict(zip(SCHEMA.names, map(list, zip(*READ, strict=True)), strict=True))
EXPECTED = [tuple(row.values()) for row in pa.table(COLUMNS, SCHEMA).to_pylist()]

SOURCE = """
import sys
from pathlib import Path
from pyspark.sql import SparkSession
settings = {
    "spark.jars": ",".join(map(str, sorted(Path(sys.argv[1]).glob("*.jar")))),
    "spark.redis.host": "127.0.0.1", "spark.redis.port": sys.argv[2], "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
}
builder = SparkSession.builder.master("local[1]")
for name, value in settings.items():
    builder = builder.config(name, value)
rows = builder.getOrCreate().sql('''select * from values
    (1L, true, 1Y, 2S, 3, 4L, float(1.5), 1.0E10D, cast(0.0000001 as decimal(20,10)), 'a "b" é',
     X'00FF', date'2013-01-01', timestamp'2013-01-01 05:00:00 UTC',
     timestamp_ntz'2013-01-01 05:00:00', array(1, 2), map('a', 1), named_struct('x', 1, 'y', 'z')),
    (2L, false, -1Y, -2S, -3, -4L, float('NaN'), double('-Infinity'), cast(1.5 as decimal(20,10)), '',
     X'', date'0001-01-01', timestamp'2013-07-01 05:00:00.123456 UTC',
     timestamp_ntz'2013-01-01 05:00:01.5', array(), map(), null),
    (3L, null, null, null, null, null, null, 0.1D, null, null, null, null, null, null, null, null, null)
    as t(id, b, i8, i16, i32, i64, f32, f64, dec, s, bin, day, at, ntz, arr, m, st)''')
options = {"table": sys.argv[3], "key.column": "id"}
rows.write.format("org.apache.spark.sql.redis").options(**options).mode("append").save()
"""


@pytest.fixture
def spark_redis_table(server: Server, table: str) -> str:
    """A table as spark-redis leaves it."""
    for key, row in STORED.items():
        server.raw.hset(f"{table}:{key}", mapping=row)
    server.raw.set(f"_spark:{table}:schema", b"\xac\xed\x00\x05sr\x00%org.apache.spark.sql.types")
    return table


def rows(store: Store, table: str, **asked: object) -> list[tuple[object, ...]]:
    found = read_all(store.source(table, **asked)).sort_by("id")  # type: ignore[arg-type]
    return [tuple(row.values()) for row in found.to_pylist()]


def store_of(server: Server, **given: object) -> RedisStore:
    """A store by the names of spark-redis's options, all values text."""
    place = urlsplit(server.url)
    named = {"host": place.hostname, "port": place.port, **given}
    return RedisStore(RedisOptions.parse({name: str(value) for name, value in named.items()}))


def test_every_type_is_read_with_a_given_schema(server: Server, spark_redis_table: str) -> None:
    with open_store(server.url) as store:
        found = rows(store, spark_redis_table, schema=SCHEMA, key=["id"])
    assert repr(found) == repr(EXPECTED)  # as NaN is not equal to itself


def test_every_type_is_inferred(server: Server, spark_redis_table: str) -> None:
    server.raw.delete(
        f"{spark_redis_table}:2"
    )  # its NaN, empty string and bare hours fit all types
    with open_store(server.url) as store:
        found = store.schema(spark_redis_table, ["id"])
        assert found.field("id").type == pa.string()
        kinds = {name: found.field(name).type for name in found.names}
        assert [kinds[name] for name in ("b", "i64", "f64", "dec", "s", "day", "at", "arr")] == [
            pa.bool_(), pa.int64(), pa.float64(), pa.float64(), pa.string(), pa.date32(),
            pa.timestamp("us"), pa.string(),
        ]  # fmt: skip
        read = read_all(store.source(spark_redis_table, key=["id"])).sort_by("id").to_pylist()
    assert [row["id"] for row in read] == ["1", "3"]
    assert read[0]["at"] == dt.datetime(2013, 1, 1, 5)
    assert (read[0]["f64"], read[1]["f64"]) == (1e10, 0.1)
    assert read[1]["day"] is None


def test_rows_without_a_key_column_have_generated_keys(server: Server, table: str) -> None:
    for i in range(3):
        server.raw.hset(f"{table}:{i:032x}", mapping={"id": i, "b": "true"})
    with open_store(server.url) as store:
        found = read_all(store.source(table)).sort_by("id").to_pylist()
    assert found[1] == {"_id": f"{1:032x}", "b": True, "id": 1}


def test_arrays_are_not_taken_for_ours(server: Server, spark_redis_table: str) -> None:
    schema = pa.schema([("id", pa.int64()), ("arr", pa.list_(pa.string()))])
    with open_store(server.url) as store, pytest.raises(SchemaError, match="'arr'"):
        rows(store, spark_redis_table, schema=schema, key=["id"])


def test_a_text_without_a_zone_is_utc(server: Server, table: str) -> None:
    texts = {
        1: ("2013-01-01 05:00:00", dt.datetime(2013, 1, 1, 5, tzinfo=UTC)),
        2: ("2013-01-01T05:00:00.5", dt.datetime(2013, 1, 1, 5, 0, 0, 500_000, UTC)),
        3: ("2013-01-01 05:00:00Z", dt.datetime(2013, 1, 1, 5, tzinfo=UTC)),
        4: ("2013-01-01 05:00:00+02:00", dt.datetime(2013, 1, 1, 3, tzinfo=UTC)),
        5: ("2013-01-01T05:00", dt.datetime(2013, 1, 1, 5, tzinfo=UTC)),
    }
    for key, (text, _) in texts.items():
        server.raw.hset(f"{table}:{key}", mapping={"at": text})
    server.raw.hset(f"{table}:6", mapping={"other": 1})
    schema = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "Asia/Tokyo"))])
    with open_store(server.url) as store:
        found = rows(store, table, schema=schema, key=["id"])
        assert found == [(key, when) for key, (_, when) in texts.items()] + [(6, None)]
        server.raw.hset(f"{table}:7", mapping={"at": "2013-01-01 soon"})
        with pytest.raises(SchemaError, match="2013-01-01 soon"):
            rows(store, table, schema=schema, key=["id"])


def test_option_names_of_spark_redis(server: Server, spark_redis_table: str) -> None:
    given = {
        "dbNum": 0,
        "timeout": 1500,
        "model": "hash",
        "scan.count": 77,
        "max.pipeline.size": 50,
        "filter.keys.by.type": True,
        "infer.schema": False,
        "ssl": False,
    }
    server.raw.set(f"{spark_redis_table}:text", "no hash")
    with store_of(server, **given) as store:
        assert [row[0] for row in rows(store, spark_redis_table, schema=SCHEMA, key=["id"])] == [
            1,
            2,
            3,
        ]
    parsed = RedisOptions.parse({name: str(value) for name, value in given.items()})
    assert (parsed.timeout_seconds, parsed.scan_count, parsed.max_pipeline_size) == (1.5, 77, 50)


def test_a_database_and_a_login_by_the_names_of_spark_redis(server: Server, table: str) -> None:
    place = f"{server.url.rpartition('/')[0]}/5"
    server.raw.execute_command("ACL SETUSER", "alice", "on", ">pw", "+@all", "~*")
    try:
        with redis.Redis.from_url(place) as raw:
            raw.hset(f"{table}:1", mapping={"n": 1})
            with store_of(server, dbNum=5, user="alice", auth="pw") as store:
                assert rows(store, table, key=["id"]) == [("1", 1)]
            raw.flushdb()
    finally:
        server.raw.acl_deluser("alice")


def test_a_keys_pattern(server: Server, spark_redis_table: str) -> None:
    with store_of(server, **{"keys.pattern": f"{spark_redis_table}:*"}) as store:
        found = rows(
            store, "any name", schema=SCHEMA.empty_table().select(["id", "i64"]).schema, key=["id"]
        )
        assert found == [(1, 4), (2, -4), (3, None)]


def test_the_binary_model_is_refused_and_why() -> None:
    with pytest.raises(OptionError, match="'binary' is not valid.*serialised Java objects.*'hash'"):
        RedisOptions.parse({"model": "binary"})
    with pytest.raises(OptionError, match="expected one of hash, json"):
        RedisOptions.parse({"model": "hsah"})


def test_a_grouping_is_taken_and_said_to_be_without_effect(server: Server) -> None:
    with pytest.warns(UserWarning, match="'iterator.grouping.size' has no effect"):
        open_store(server.url, **{"iterator.grouping.size": "1000"})
    with pytest.raises(OptionError, match="'iterator.grouping.size': '0'"):
        open_store(server.url, iterator_grouping_size=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_store(server.url)


def test_a_grouping_is_warned_about_once_in_a_process(server: Server) -> None:
    code = (
        "import connector, sys\n"
        "for _ in range(3):\n"
        "    connector.open_store(sys.argv[1], iterator_grouping_size=7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, server.url], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("has no effect") == 1


@pytest.mark.skipif("TEST_PEERS" not in os.environ, reason="TEST_PEERS names no spark-redis")
def test_what_spark_redis_writes_is_what_the_tests_above_take_it_for(
    redis_server: Server, table: str, tmp_path: Path
) -> None:
    peers = Path(os.environ["TEST_PEERS"])
    script = tmp_path / "write.py"
    script.write_text(SOURCE)
    port = urlsplit(redis_server.url).port
    # Without our variables: they name another Spark's Python, and our modules.
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ}
    subprocess.run(
        [peers / "venv/bin/python", "-P", script, peers / "jars", str(port), table],
        check=True,
        env=bare,
        timeout=300,
    )
    for key, row in STORED.items():
        found = redis_server.raw.hgetall(f"{table}:{key}")
        stored = {name.decode(): value.decode() for name, value in found.items()}
        assert json.dumps(unaddressed(stored), sort_keys=True) == json.dumps(
            unaddressed(row), sort_keys=True
        )
    with open_store(redis_server.url) as store:
        assert repr(rows(store, table, schema=SCHEMA, key=["id"])) == repr(EXPECTED)


def unaddressed(row: dict[str, str]) -> dict[str, str]:
    """The row without the address that Java shows for an array of bytes."""
    return {name: value.partition("@")[0] for name, value in row.items()}
