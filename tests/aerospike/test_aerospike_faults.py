"""What goes wrong on the way: connections cut, a server killed, partitions that nobody has, a full namespace.

The faults are the test server's; what a real cluster did when a node was killed is in docs/aerospike.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import aerospike
import pyarrow as pa
import pytest
from servers.aerospike import AerospikeServer, serve

from connector import (
    Store,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    WriteOptions,
    WriteRejectedError,
    open_store,
    read_all,
)

ROWS = 3000
BATCH = pa.RecordBatch.from_pydict({"id": range(ROWS), "v": [f"v{i}" for i in range(ROWS)]})


@pytest.fixture
def mortal() -> Iterator[AerospikeServer]:
    """A server for one test alone."""
    with serve() as server:
        yield server


def opened(server: AerospikeServer, **options: Any) -> Store:
    return open_store(f"aerospike://{server.host}:{server.port}/{server.namespace}", **options)


@pytest.fixture
def written(mortal: AerospikeServer) -> str:
    """The name of a table with all rows of BATCH."""
    table = f"t{uuid.uuid4().hex[:12]}"
    with opened(mortal) as store:
        store.write(table, [BATCH], WriteOptions(key=("id",)))
    return table


@pytest.mark.parametrize("after", [0, 1, 700, 1999, ROWS - 1])
def test_a_scan_goes_on_where_its_connection_was_cut(
    mortal: AerospikeServer, written: str, after: int
) -> None:
    with opened(mortal, max_retries=0) as store:
        source = store.source(written, parts=2, batch_rows=600)
        parts = source.partitions()
        mortal.cut_after(after)
        found = [
            key for part in parts for batch in source.read(part) for key in batch[0].to_pylist()
        ]
    assert sorted(found) == [*range(ROWS)]


def test_a_scan_fails_where_the_server_is_killed(mortal: AerospikeServer, written: str) -> None:
    with opened(mortal, failover_seconds=1, timeout_seconds=2, socket_timeout_seconds=1) as store:
        source = store.source(written, parts=1, batch_rows=300)
        (part,) = source.partitions()
        mortal.kill_after(1500)
        with pytest.raises(StoreUnavailableError, match=f"reading table '{written}'"):
            for _ in source.read(part):
                pass


def test_a_partition_that_nobody_has_fails_the_scan(mortal: AerospikeServer, written: str) -> None:
    mortal.refuse_partitions([4000])
    with opened(mortal, failover_seconds=0.5, max_retries=1) as store:
        source = store.source(written, parts=4)
        first, *_, last = source.partitions()
        assert sum(batch.num_rows for batch in source.read(first)) > 100
        with pytest.raises(StoreError, match=f"reading table '{written}'"):
            for _ in source.read(last):
                pass
        mortal.refuse_partitions([])
        assert read_all(source).num_rows == ROWS


def test_a_write_fails_where_the_server_is_killed(mortal: AerospikeServer) -> None:
    with opened(mortal, timeout_seconds=2, socket_timeout_seconds=1, max_retries=1) as store:
        job = store.begin("t", BATCH.schema, WriteOptions(key=("id",)))

        def batches() -> Iterator[pa.RecordBatch]:
            yield BATCH
            mortal.kill()
            yield BATCH

        with pytest.raises(StoreError, match="writing table 't'"):
            store.write_part(job, batches())


def test_a_full_namespace_refuses_rows(mortal: AerospikeServer, tmp_path: Any) -> None:
    with opened(mortal) as store:
        store.write("t", [BATCH.slice(0, 10)], WriteOptions(key=("id",)))
        mortal.stop_writes()
        with pytest.raises(WriteRejectedError, match=r"(?s)'t'.*key.*(full|stop)"):
            store.write_part(
                store.begin("t", BATCH.schema, WriteOptions(key=("id",))), [BATCH.slice(0, 20)]
            )
        mortal.stop_writes(False)
        assert read_all(store.source("t")).num_rows == 10
        store.write("t", [BATCH], WriteOptions(key=("id",)))
        assert read_all(store.source("t")).num_rows == ROWS


def test_a_slow_server_is_a_timeout(mortal: AerospikeServer, written: str) -> None:
    with opened(mortal, timeout_seconds=0.5, socket_timeout_seconds=0.3, max_retries=0) as store:
        store.schema(written)
        mortal.delay(2)
        with pytest.raises(StoreTimeoutError, match=written):
            store.lookup(written, [1])
    mortal.delay(0)


def test_the_raw_client_sees_the_rows(mortal: AerospikeServer, written: str) -> None:
    client = aerospike.client({"hosts": [(mortal.host, mortal.port)]})
    try:
        _, _, bins = client.get((mortal.namespace, written, 5))
        assert bins == {"v": "v5"}
    finally:
        client.close()
