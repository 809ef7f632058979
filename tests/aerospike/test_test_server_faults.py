"""The faults that the test server shows when it is told to, as its client sees them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from aerospike_helpers.batch import records as batch
from aerospike_helpers.operations import operations as op
from servers.aerospike import AerospikeServer, serve
from witness import Witness, code, connected

ROWS = 2000
ONCE = {"max_retries": 0}


@pytest.fixture
def server() -> Iterator[AerospikeServer]:
    with serve() as found:
        yield found


@pytest.fixture
def client(server: AerospikeServer) -> Iterator[Witness]:
    with connected(server.host, server.port, server.namespace, private=True) as found:
        rows = [batch.Write(found.key("t", i), [op.write("n", i)]) for i in range(ROWS)]
        found.raw.batch_write(batch.BatchRecords(rows))
        yield found


def test_a_partition_that_is_not_available(server, client):
    key = client.key("t", 1)
    digest = client.raw.get(key)[0][3]
    partition = int.from_bytes(digest[:2], "little") % 4096
    server.refuse_partitions([partition])
    assert code(lambda: client.raw.get(key, ONCE)) == 11
    assert code(lambda: client.raw.put(key, {"n": 1}, policy=ONCE)) == 11
    assert [row.result for row in client.raw.batch_read([key]).batch_records] == [11]
    assert code(lambda: client.records("t", ONCE)) != 0
    elsewhere = {"begin": (partition + 1) % 4096, "count": 1}
    assert code(lambda: client.records("t", {"partition_filter": elsewhere})) == 0
    server.refuse_partitions([])
    assert len(client.records("t")) == ROWS


def test_stop_writes(server, client):
    key = client.key("t", 1)
    server.stop_writes()
    assert code(lambda: client.raw.put(key, {"n": 2})) == 8
    assert [
        row.result for row in client.raw.batch_operate([key], [op.write("n", 2)]).batch_records
    ] == [8]
    assert client.raw.get(key)[2] == {"n": 1}
    assert code(lambda: client.raw.remove(key)) == 0
    server.stop_writes(False)
    assert code(lambda: client.raw.put(key, {"n": 2})) == 0


def test_dropped_connections(server, client):
    server.drop_connections()
    patient = {"max_retries": 5, "sleep_between_retries": 50}
    assert client.raw.get(client.key("t", 1), patient)[2] == {"n": 1}


def test_a_scan_goes_on_after_its_connection_is_cut(server, client):
    server.cut_after(700)
    found = [record[2]["n"] for record in client.records("t")]
    assert sorted(found) == list(range(ROWS))


def scanned(client: Witness, policy: dict[str, int]) -> tuple[int, int]:
    """How many records a scan gives, and its result code."""
    found: list[object] = []
    query = client.raw.query(client.namespace, "t")
    ended = code(lambda: query.foreach(found.append, policy))
    return len(found), ended


def test_a_scan_that_is_cut_and_not_retried_fails(server, client):
    server.cut_after(700)
    count, ended = scanned(client, ONCE)
    assert count == 700 and ended != 0
    assert scanned(client, ONCE) == (ROWS, 0)


def test_the_server_dies_in_mid_scan(server, client):
    server.kill_after(700)
    count, ended = scanned(client, {"max_retries": 1, "total_timeout": 3000})
    assert count == 700 and ended != 0
    assert server.process.wait(5) == 9


def test_a_slow_server(server, client):
    server.delay(0.5)
    assert code(lambda: client.raw.get(client.key("t", 1), {"total_timeout": 100, **ONCE})) == 9
    server.delay(0)
    assert code(lambda: client.raw.get(client.key("t", 1))) == 0


def test_an_old_server_has_no_operations_in_queries():
    with (
        serve(build="7.1.0.0") as old,
        connected(old.host, old.port, "test", private=True) as found,
    ):
        assert found.info("build") == "7.1.0.0"
        found.raw.put(found.key("t", 1), {"a": 1})
        found.raw.put(found.key("t", 2), {"b": 1})
        query = found.raw.query("test", "t")
        query.add_ops([op.read("a")])
        assert [record[2] for record in query.results()] == [{"a": 1}]
        assert len(found.records("t")) == 2


def test_kill(server, client):
    server.kill()
    assert code(lambda: client.raw.get(client.key("t", 1), ONCE)) != 0


def test_it_ends_with_its_parent():
    program = (
        "from servers.aerospike import serve; import time\n"
        "with serve() as server: print(server.port, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while not _refused(port):
        assert time.monotonic() < end
        time.sleep(0.05)


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
