"""Tables copied from store to store; what the servers' own clients find there."""

from __future__ import annotations

import pyarrow as pa
import pytest
from aerospikes import Aerospike
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from queries_running import configured
from servers import Server

from connector import WriteOptions, open_store, read_all
from connector.errors import OptionError, SchemaError, TableNotFoundError
from spark_ext.replication import Replicated, replicate

ROWS = pa.record_batch(
    {
        "id": pa.array(range(50), pa.int64()),
        "name": [None if i % 5 == 0 else f"name {i}" for i in range(50)],
        "x": [i / 4 for i in range(50)],
        "__ttl": pa.array([None if i < 40 else 1000 + i for i in range(50)], pa.int64()),
    }
)


def fill(url: str, table: str, rows: pa.RecordBatch = ROWS) -> None:
    with open_store(url) as store:
        store.write(table, [rows], WriteOptions(key=("id",)))


def found(url: str, table: str) -> pa.Table:
    with open_store(url) as store:
        return read_all(store.source(table)).sort_by("id")


def redis_ttl(server: Server, table: str) -> dict[int, int | None]:
    return {i: server.raw.ttl(f"{table}:{i}") for i in range(50)}


def aerospike_ttl(server: Aerospike, table: str) -> dict[int, int]:
    never = 2**32 - 1
    found = {i: server.raw.get((server.namespace, table, i))[1]["ttl"] for i in range(50)}
    return {i: -1 if ttl == never else ttl for i, ttl in found.items()}


def check_ttl(ttl: dict[int, int]) -> None:
    """Every row has about the time to live that it was given: a loaded machine may have been slow."""
    assert all(ttl[i] == -1 for i in range(40))
    assert all(700 + i < ttl[i] <= 1000 + i for i in range(40, 50))


def test_there_and_back_with_expiry(
    spark: SparkSession, redis_server: Server, aerospike_server: Aerospike, table: str
) -> None:
    fill(redis_server.url, table)
    assert replicate(spark, redis_server.url, table, aerospike_server.url) == Replicated(50, 50)
    check_ttl(aerospike_ttl(aerospike_server, table))
    assert found(aerospike_server.url, table).equals(found(redis_server.url, table))
    again = replicate(spark, aerospike_server.url, table, redis_server.url, f"{table}back")
    assert again == Replicated(50, 50)
    check_ttl(redis_ttl(redis_server, f"{table}back"))
    assert found(redis_server.url, f"{table}back").equals(found(redis_server.url, table))
    assert redis_server.raw.hgetall(f"{table}back:41") == {b"name": b"name 41", b"x": b"10.25"}


def test_between_servers_of_one_kind(
    spark: SparkSession, redis_server: Server, valkey_server: Server, table: str
) -> None:
    fill(redis_server.url, table)
    old = ROWS.slice(0, 2).set_column(0, "id", pa.array([48, 1000], pa.int64()))
    fill(valkey_server.url, table, old)
    assert replicate(spark, redis_server.url, table, valkey_server.url) == Replicated(50, 50)
    assert not valkey_server.raw.exists(f"{table}:1000")
    check_ttl(redis_ttl(valkey_server, table))


def test_some_rows_and_columns_beside_what_is_there(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    fill(redis_server.url, table)
    fill(redis_server.url, f"{table}2", ROWS.slice(0, 3))
    done = replicate(
        spark,
        redis_server.url,
        table,
        redis_server.url,
        f"{table}2",
        mode="append",
        columns=["id", "x"],
        filter="id IN (2, 45) OR x = 12",
        keep_ttl=False,
        options={"partitions.number": 2},
        to_options={"max_pipeline_size": 10},
    )
    assert done == Replicated(3, 3)
    copied = found(redis_server.url, f"{table}2")
    assert copied.column("id").to_pylist() == [0, 1, 2, 45, 48]
    assert copied.column("name").to_pylist() == [None, "name 1", "name 2", None, None]
    assert redis_server.raw.ttl(f"{table}2:45") == -1


def test_rows_that_end_under_one_key_are_seen_in_the_counts(
    spark: SparkSession, redis_server: Server, table: str
) -> None:
    twice = pa.record_batch({"id": range(60), "part": [i % 30 for i in range(60)]})
    fill(redis_server.url, table, twice)
    url, options = redis_server.url, {"batch.rows": 1, "partitions.number": 1}
    with_one_row_a_batch = {"spark.sql.execution.arrow.maxRecordsPerBatch": "1"}
    with configured(spark, with_one_row_a_batch):
        done = replicate(spark, url, table, url, f"{table}2", key="part", options=options)
    assert done == Replicated(60, 30)


def test_what_is_refused(spark: SparkSession, redis_server: Server, table: str) -> None:
    url = redis_server.url
    with pytest.raises(TableNotFoundError):
        replicate(spark, url, table, url, "copy")
    fill(url, table)
    before = redis_server.raw.dbsize()
    with pytest.raises(OptionError, match="cannot be its own copy"):
        replicate(spark, url, table, url)
    with pytest.raises(OptionError, match=r"'write\.mode' would leave out rows"):
        replicate(spark, url, table, url, "copy", to_options={"write_mode": "insert"})
    with pytest.raises(OptionError, match="mode 'ignore' is not known"):
        replicate(spark, url, table, url, "copy", mode="ignore")
    with pytest.raises(SchemaError, match="no column 'no'"):
        replicate(spark, url, table, url, "copy", columns=["id", "no"])
    assert redis_server.raw.dbsize() == before


@pytest.mark.parametrize("arrow_first", [True, False])
def test_tables_of_record_batches_have_no_expiry_to_keep(
    spark: SparkSession, redis_server: Server, table: str, *, arrow_first: bool
) -> None:
    url, arrow = redis_server.url, {"model": "arrow"}
    rows = ROWS.drop_columns(["__ttl"])
    with open_store(url, **(arrow if arrow_first else {})) as store:
        store.write(table, [rows], WriteOptions(key=("id",)))
    to_options = {"model": "hash"} if arrow_first else arrow
    # Spark alone finds out about a source, and wraps what we say of it.
    with pytest.raises((OptionError, AnalysisException), match="'__ttl'.* [Mm]odel 'arrow'"):
        replicate(spark, url, table, url, f"{table}2", to_options=to_options)
    done = replicate(spark, url, table, url, f"{table}2", to_options=to_options, keep_ttl=False)
    assert done == Replicated(50, 50)
    assert found(url, f"{table}2").equals(found(url, table))
