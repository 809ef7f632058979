"""Tables as others write and read them: a raw client on one side, ours on the other."""

from __future__ import annotations

import datetime as dt
import logging
import subprocess
import sys
from collections.abc import Iterator

import pyarrow as pa
import pytest
from servers import Server

from connector import (
    DecodeError,
    OptionError,
    SchemaError,
    Store,
    WriteMode,
    WriteOptions,
    open_store,
    read_all,
)

BY_ID = WriteOptions(key=("id",))


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    with open_store(server.url) as opened:
        yield opened


def test_a_row_is_one_hash_of_text_fields(server: Server, store: Store, table: str) -> None:
    day = dt.date(2013, 1, 31)
    noon = dt.datetime(2013, 1, 31, 12, 0, 0, 5)
    batch = pa.record_batch(
        {
            "id": [7],
            "text": ["naïve\r\n"],
            "real": [0.1],
            "yes": [True],
            "day": [day],
            "at": pa.array([noon], pa.timestamp("us", "UTC")),
            "local": pa.array([noon], pa.timestamp("us")),
            "vector": pa.array([[1.0, 2.0]], pa.list_(pa.float32())),
            "words": [["a", None]],
            "nothing": pa.array([None], pa.string()),
        }
    )
    store.write(table, [batch], BY_ID)
    assert server.raw.hgetall(f"{table}:7") == {
        b"text": "naïve\r\n".encode(),
        b"real": b"0.1",
        b"yes": b"true",
        b"day": b"2013-01-31",
        b"at": b"2013-01-31 12:00:00.000005Z",
        b"local": b"2013-01-31 12:00:00.000005",
        b"vector": b"\x00\x00\x80?\x00\x00\x00@",
        b"words": b'["a",null]',
    }


def test_bookkeeping_lies_outside_the_table(server: Server, store: Store, table: str) -> None:
    store.write(table, [pa.record_batch({"id": [1], "n": [2]})], BY_ID)
    assert set(server.raw.scan_iter(match=f"*{table}*")) == {
        f"{table}:1".encode(),
        f"_kvlake:schema:{table}".encode(),
    }
    with pytest.raises(SchemaError, match="_kvlake"):
        store.schema("_kvlake:schema")


def test_a_foreign_table_is_inferred_from_a_sample(
    server: Server, store: Store, table: str
) -> None:
    for i in range(30):
        fields = {
            "n": i,
            "real": f"{i}.5",
            "flag": "true",
            "day": f"2013-01-{i + 1:02}",
            "at": f"2013-01-01 00:00:{i:02}",
            "zoned": f"2013-01-01T00:00:{i:02}Z",
            "zip": f"00{i:03}",
            "word": "x",
            "raw": b"\xff\x00",
            "big": 10**20 + i,
        }
        server.raw.hset(f"{table}:k{i}", mapping=fields | ({"rare": "1"} if i == 7 else {}))
    assert store.schema(table).remove_metadata() == pa.schema(
        [
            pa.field("_id", pa.string(), nullable=False),
            ("at", pa.timestamp("us")),
            ("big", pa.string()),
            ("day", pa.date32()),
            ("flag", pa.bool_()),
            ("n", pa.int64()),
            ("rare", pa.int64()),
            ("raw", pa.binary()),
            ("real", pa.float64()),
            ("word", pa.string()),
            ("zip", pa.string()),
            ("zoned", pa.timestamp("us", "UTC")),
        ]
    )
    rows = read_all(store.source(table)).sort_by("n").to_pylist()
    assert [row["_id"] for row in rows] == [f"k{i}" for i in range(30)]
    assert [row["zip"] for row in rows] == [f"00{i:03}" for i in range(30)]
    assert [row["rare"] for row in rows] == [1 if i == 7 else None for i in range(30)]


def test_a_table_of_spark_redis_is_read_with_a_given_schema(
    server: Server, store: Store, table: str
) -> None:
    server.raw.hset(f"{table}:John", mapping={"age": "30", "married": "true", "salary": "60.5"})
    server.raw.hset(f"{table}:Peter", mapping={"age": "45", "married": "false", "salary": "1.0E10"})
    schema = pa.schema(
        [
            ("name", pa.string()),
            ("age", pa.int32()),
            ("married", pa.bool_()),
            ("salary", pa.float64()),
        ]
    )
    source = store.source(table, schema=schema, key=["name"])
    assert read_all(source).sort_by("name").to_pylist() == [
        {"name": "John", "age": 30, "married": True, "salary": 60.5},
        {"name": "Peter", "age": 45, "married": False, "salary": 1e10},
    ]


def test_a_null_deletes_its_field_and_other_fields_stay(
    server: Server, store: Store, table: str
) -> None:
    store.write(table, [pa.record_batch({"id": [1, 2], "a": ["x", "y"], "b": [1, 2]})], BY_ID)
    server.raw.hset(f"{table}:1", "foreign", "kept")
    store.write(table, [pa.record_batch({"id": [3], "a": ["other"]})], BY_ID)
    nulls = pa.array([None, "z"], pa.string())
    store.write(table, [pa.record_batch({"id": [1, 2], "b": [5, 2], "a": nulls})], BY_ID)
    assert server.raw.hgetall(f"{table}:1") == {b"b": b"5", b"foreign": b"kept"}
    assert server.raw.hgetall(f"{table}:2") == {b"a": b"z", b"b": b"2"}


def test_a_row_of_nulls_is_there(server: Server, store: Store, table: str) -> None:
    empty = pa.record_batch({"id": [1, 2], "a": pa.array([None, "x"], pa.string())})
    store.write(table, [empty], BY_ID)
    assert server.raw.exists(f"{table}:1")
    assert read_all(store.source(table)).num_rows == 2
    assert read_all(store.source(table, columns=["a"])).num_rows == 2
    assert read_all(store.source(table, columns=["id"])).num_rows == 2


def test_an_overwrite_leaves_no_foreign_field(server: Server, store: Store, table: str) -> None:
    server.raw.hset(f"{table}:1", mapping={"a": "old", "foreign": "x"})
    server.raw.hset(f"{table}:2", mapping={"a": "old"})
    options = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
    store.write(table, [pa.record_batch({"id": [1], "b": [5]})], options)
    assert server.raw.hgetall(f"{table}:1") == {b"b": b"5"}
    assert not server.raw.exists(f"{table}:2")
    assert store.schema(table).names == ["id", "b"]


def test_rows_expire(server: Server, store: Store, table: str) -> None:
    batch = pa.record_batch({"id": [1, 2, 3], "a": pa.array(["x", None, "y"], pa.string())})
    for mode in WriteMode:
        options = WriteOptions(key=("id",), mode=mode, ttl_seconds=100)
        assert store.write(table, [batch], options).rows == 3
        assert all(90 < server.raw.ttl(f"{table}:{i}") <= 100 for i in (1, 2, 3))
    assert server.raw.ttl(f"_kvlake:schema:{table}") == -1


def test_keys_are_text_or_bytes_of_any_kind(server: Server, store: Store, table: str) -> None:
    keys = [b"\xff\x00", b"a\r\nb", b"", b"$3", b":", b"%"]
    store.write(table, [pa.record_batch({"id": keys, "n": range(6)})], BY_ID)
    assert set(server.raw.scan_iter(match=f"{table}:*")) == {f"{table}:".encode() + k for k in keys}
    found = read_all(store.source(table)).sort_by("n")
    assert found.column("id").to_pylist() == keys


def test_a_composite_key_is_one_name(server: Server, store: Store, table: str) -> None:
    batch = pa.record_batch({"a": ["x:y", "100%"], "b": [1, 2], "n": [5, 6]})
    store.write(table, [batch], WriteOptions(key=("a", "b")))
    assert server.raw.exists(f"{table}:x%3Ay:1") and server.raw.exists(f"{table}:100%25:2")
    assert read_all(store.source(table)).sort_by("n").to_pylist() == batch.to_pylist()
    with pytest.raises(DecodeError, match="2 parts"):
        server.raw.hset(f"{table}:alone", "n", 1)
        read_all(store.source(table))


@pytest.mark.parametrize(("size", "limit"), [(1, 1024), (3, 1024), (1000, 1 << 20)])
def test_requests_of_any_size_give_the_same_rows(
    server: Server, table: str, size: int, limit: int
) -> None:
    batch = pa.record_batch({"id": range(500), "text": ["x" * (i % 300) for i in range(500)]})
    options = {"max_pipeline_size": size, "max_pipeline_bytes": limit, "scan_count": size}
    with open_store(server.url, **options) as store:
        assert store.write(table, [batch], BY_ID).rows == 500
        assert read_all(store.source(table)).sort_by("id").to_batches()[0] == batch


def test_large_values_do_not_make_large_requests(server: Server, table: str) -> None:
    """2000 rows of 100 kB: no more than a few of them are in memory at a time."""
    batch = pa.record_batch({"id": range(50), "blob": [bytes(100_000)] * 50})
    with open_store(server.url) as store:
        for i in range(40):
            ids = pa.array(range(i * 50, i * 50 + 50))
            store.write(table, [batch.set_column(0, "id", ids)], BY_ID)
        before = pa.total_allocated_bytes()
        most = rows = 0
        source = store.source(table, parts=1, batch_bytes=4 << 20)
        for part in source.partitions():
            for read in source.read(part):
                rows += read.num_rows
                assert read.nbytes <= 4 << 20
                most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 2000
    assert most < 32 << 20, f"{most >> 20} MB for batches of 4 MB"


def test_a_field_that_does_not_parse_is_an_error_null_or_a_row_less(
    server: Server, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    schema = pa.schema([("id", pa.string()), ("n", pa.int64()), ("day", pa.date32())])
    for i in range(100):
        server.raw.hset(f"{table}:{i}", mapping={"n": i, "day": "2013-01-01"})
    server.raw.hset(f"{table}:42", "n", "forty-two")
    server.raw.hset(f"{table}:43", "day", "yesterday")

    def read(mode: str) -> pa.Table:
        with open_store(server.url, on_bad_field=mode) as store:
            found = read_all(store.source(table, schema=schema, key=["id"], parts=1))
            counted.append((store.counts.rows, store.counts.bad_fields, store.counts.dropped_rows))
            return found

    counted: list[tuple[int, int, int]] = []
    with pytest.raises(
        DecodeError, match=rf"field '(n|day)' of key b'{table}:4[23]'.*on.bad.field"
    ):
        read("error")
    with caplog.at_level(logging.WARNING):
        nulled = read("null")
    assert nulled.num_rows == 100
    assert nulled.column("n").null_count == 1 and nulled.column("day").null_count == 1
    assert "2 values did not parse" in caplog.text
    assert read("drop").num_rows == 98
    assert "2 rows left out" in caplog.text
    assert counted == [(100, 2, 0), (98, 0, 2)]


def test_text_that_is_not_utf8_does_not_pass_as_text(server: Server, table: str) -> None:
    server.raw.hset(f"{table}:1", "a", b"\xff\xfe")
    schema = pa.schema([("id", pa.string()), ("a", pa.string())])
    with open_store(server.url) as store, pytest.raises(DecodeError, match="'a' of key"):
        read_all(store.source(table, schema=schema, key=["id"]))


def test_a_key_of_another_type_is_named(server: Server, store: Store, table: str) -> None:
    server.raw.hset(f"{table}:1", "n", 1)
    server.raw.rpush(f"{table}:list", "x")
    schema = pa.schema([("id", pa.string()), ("n", pa.int64())])
    for columns in (["id", "n"], ["n"], ["id"]):
        with pytest.raises(SchemaError, match=f"{table}:list.*WRONGTYPE"):
            read_all(store.source(table, schema=schema, key=["id"], columns=columns))
    with pytest.raises(SchemaError, match="WRONGTYPE"):
        store.schema(table)


def test_a_row_deleted_between_scan_and_read_is_left_out(server: Server, table: str) -> None:
    with open_store(server.url, max_pipeline_size=50, scan_count=10) as store:
        ids = range(2000)
        store.write(table, [pa.record_batch({"id": ids, "n": ids})], BY_ID)
        for columns in (None, ["n"], ["id"]):
            source = store.source(table, columns=columns, parts=1, batch_rows=50)
            (part,) = source.partitions()
            reading = source.read(part)
            rows = next(reading).num_rows
            server.raw.delete(*server.raw.scan_iter(match=f"{table}:*", count=1000))
            rest = list(reading)
            assert rows + sum(batch.num_rows for batch in rest) < 2000
            assert all(column.null_count == 0 for batch in rest for column in batch.columns)
            store.write(table, [pa.record_batch({"id": ids, "n": ids})], BY_ID)


def test_columns_that_were_not_asked_for_are_not_fetched(server: Server, table: str) -> None:
    with open_store(server.url) as store:
        batch = pa.record_batch(
            {"id": range(100), "small": range(100), "large": ["x" * 10_000] * 100}
        )
        store.write(table, [batch], BY_ID)
        server.raw.config_resetstat()
        read_all(store.source(table, columns=["small"]))
        assert server.raw.info("stats")["total_net_output_bytes"] < 100_000


def test_options_are_refused_by_name(server: Server) -> None:
    with pytest.raises(OptionError, match=r"scan\.count"):
        open_store(server.url, scan_cuont=5)
    with pytest.raises(OptionError, match=r"at least|from 1"):
        open_store(server.url, scan_count="0")
    with pytest.raises(OptionError, match="redis://user"):
        open_store("redis://:secret@[::1")


def test_writing_needs_a_key(store: Store, table: str) -> None:
    with pytest.raises(OptionError, match=r"key\.column"):
        store.write(table, [pa.record_batch({"id": [1]})], WriteOptions())
    with pytest.raises(SchemaError, match="nested|cannot be a key"):
        store.write(table, [pa.record_batch({"id": [[1]]})], BY_ID)


WITHOUT_HIREDIS = """
import sys
sys.modules["hiredis"] = None
import pyarrow as pa
from connector import WriteOptions, open_store, read_all
with open_store(sys.argv[1]) as store:
    store.write(sys.argv[2], [pa.record_batch({"id": range(5000)})], WriteOptions(key=("id",)))
    assert read_all(store.source(sys.argv[2], parts=3)).num_rows == 5000
"""


@pytest.mark.parametrize("query", ["", "?protocol=3&decode_responses=true"])
def test_hiredis_need_not_be_there(server: Server, table: str, query: str) -> None:
    command = [sys.executable, "-c", WITHOUT_HIREDIS, server.url + query, table]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_append_scans_nothing(server: Server, store: Store, table: str) -> None:
    store.write(table, [pa.record_batch({"id": range(3000)})], BY_ID)
    server.raw.config_resetstat()
    store.write(table, [pa.record_batch({"id": range(5000)})], BY_ID)
    called = server.raw.info("commandstats")
    assert called["cmdstat_hset"]["calls"] == 5000
    assert not {"cmdstat_scan", "cmdstat_keys", "cmdstat_dbsize"} & called.keys()
