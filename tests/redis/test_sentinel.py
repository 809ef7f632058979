"""Sentinels: the master they name is read and written; what a replaced one took is never success."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from servers import installed
from topology import Node, Sentinels, sentinels
from topology.nodes import free_port, until

from connector import (
    AuthenticationError,
    OptionError,
    PlanExpiredError,
    Store,
    StoreUnavailableError,
    WriteOptions,
    open_store,
    read_all,
)

BY_ID = WriteOptions(key=("id",))
ROWS = 6000
PASSWORD, WATCHERS_PASSWORD = "of-data-nodes", "of-sentinels"


def rows(count: int = ROWS, start: int = 0) -> pa.RecordBatch:
    ids = range(start, start + count)
    return pa.record_batch({"id": list(ids), "text": [f"r{i}" for i in ids]})


def ids(store: Store, table: str) -> list[int]:
    return sorted(read_all(store.source(table, columns=["id"])).column("id").to_pylist())


def opened(found: Sentinels, **given: object) -> Store:
    """A store that knows all Sentinels; the data nodes' password stands in the URL."""
    nodes = ",".join(f"{host}:{port}" for host, port in found.addresses)
    asked = {
        "sentinel_master": found.master_name,
        "sentinel_password": WATCHERS_PASSWORD,
        "nodes": nodes,
    }
    return open_store(url(found), **{**asked, **given})


def url(found: Sentinels, watcher: int = 0) -> str:
    return f"redis://:{PASSWORD}@127.0.0.1:{found.watchers[watcher].port}/0"


def started(name: str) -> Iterator[Sentinels]:
    with sentinels(installed(name), PASSWORD, WATCHERS_PASSWORD) as found:
        yield found


@pytest.fixture(scope="module", params=["valkey", "redis"])
def _shared(request: pytest.FixtureRequest) -> Iterator[Sentinels]:
    yield from started(request.param)


@pytest.fixture
def watched(_shared: Sentinels) -> Iterator[Sentinels]:
    """Sentinels with a primary and two replicas, empty; replicas may take over."""
    _shared.clear()
    yield _shared
    _shared.clear()


@pytest.fixture(params=["valkey", "redis"])
def mortal(request: pytest.FixtureRequest) -> Iterator[Sentinels]:
    """The same for one test alone, which may kill the primary."""
    yield from started(request.param)


def test_the_master_is_written_and_read(watched: Sentinels, table: str) -> None:
    with opened(watched) as store:
        assert store.write(table, [rows()], BY_ID).rows == ROWS
        assert watched.raw().dbsize() == ROWS + 1
        assert watched.raw().hgetall(f"{table}:7") == {b"text": b"r7"}
        assert ids(store, table) == list(range(ROWS))


def test_the_first_sentinel_may_be_dead(watched: Sentinels, table: str) -> None:
    dead = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}"
    begun = time.monotonic()
    given = {"sentinel_master": watched.master_name, "sentinel_password": WATCHERS_PASSWORD}
    with open_store(dead, nodes=f"127.0.0.1:{watched.watchers[1].port}", **given) as store:
        assert store.write(table, [rows()], BY_ID).rows == ROWS
        assert ids(store, table) == list(range(ROWS))
    assert time.monotonic() - begun < 10
    with (
        open_store(dead, nodes=f"127.0.0.1:{free_port()}", **given) as store,
        pytest.raises(StoreUnavailableError, match="none of the Sentinels"),
    ):
        store.schema(table)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"sentinel_master": "mymaster"}, OptionError, "no master 'mymaster'.*'flights-primary'"),
        ({"sentinel_password": "wrong"}, AuthenticationError, "sentinel.password"),
        ({"sentinel_password": None}, AuthenticationError, "sentinel.password"),
    ],
)
def test_what_sentinels_refuse_is_said_at_once(
    watched: Sentinels, table: str, given: dict[str, object], kind: type[Exception], message: str
) -> None:
    begun = time.monotonic()
    with opened(watched, **given) as store, pytest.raises(kind, match=message) as caught:
        store.schema(table)
    assert time.monotonic() - begun < 3
    assert not any(word in str(caught.value) for word in (PASSWORD, WATCHERS_PASSWORD, "wrong"))


def test_a_wrong_password_of_the_data_nodes_is_said_at_once(watched: Sentinels, table: str) -> None:
    place = url(watched).replace(PASSWORD, "not-that")
    given = {"sentinel_master": watched.master_name, "sentinel_password": WATCHERS_PASSWORD}
    begun = time.monotonic()
    with (
        open_store(place, **given) as store,
        pytest.raises(AuthenticationError, match=table) as caught,
    ):
        store.write(table, [rows()], BY_ID)
    assert time.monotonic() - begun < 3
    assert "not-that" not in str(caught.value)


def test_a_sentinel_and_a_server_are_told_apart(watched: Sentinels, table: str) -> None:
    with (
        open_store(watched.urls[0]) as store,
        pytest.raises(Exception, match="is a Sentinel: name the master.*'sentinel.master'"),
    ):
        store.schema(table)
    node = watched.nodes[0].url
    with (
        open_store(node, sentinel_master="mymaster", sentinel_password=PASSWORD) as store,
        pytest.raises(OptionError, match="is no Sentinel"),
    ):
        store.schema(table)


def reads(node: Node) -> int:
    return int(node.raw.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"])


def test_replicas_are_read_where_they_are_asked_for(watched: Sentinels, table: str) -> None:
    with opened(watched) as store:
        store.write(table, [rows()], BY_ID)
    watched.await_copies()
    for node in watched.nodes:
        node.raw.config_resetstat()
    with opened(watched, read_replicas=True) as store:
        for _ in range(3):  # partitions are of one server, so it must be the same replica each time
            source = store.source(table, parts=4)
            assert len(source.partitions()) == 4
            assert sorted(read_all(source).column("id").to_pylist()) == list(range(ROWS))
    assert reads(watched.master()) == 0
    assert sum(reads(node) > 0 for node in watched.nodes) == 1


def test_a_failover_between_two_operations_is_followed(watched: Sentinels, table: str) -> None:
    with opened(watched) as store:
        store.write(table, [rows()], BY_ID)
        watched.await_copies()
        watched.failover()
        assert store.write(table, [rows(start=ROWS)], BY_ID).rows == ROWS
        assert watched.raw().dbsize() == 2 * ROWS + 1
        assert ids(store, table) == list(range(2 * ROWS))


def test_a_failover_in_a_write_is_an_error_and_a_second_run_completes_it(
    watched: Sentinels, table: str
) -> None:
    def batches(failover: bool) -> Iterator[pa.RecordBatch]:
        for i in range(30):
            if failover and i == 10:
                watched.failover()
            yield rows(200, start=i * 200)

    with opened(watched) as store:
        with pytest.raises(StoreUnavailableError, match="write again"):
            store.write(table, batches(True), BY_ID)
        assert written_again(store, table, lambda: batches(False)) == ROWS
        assert watched.raw().dbsize() == ROWS + 1
        assert ids(store, table) == list(range(ROWS))


def test_a_write_to_a_master_that_is_not_demoted_yet_is_no_success(
    watched: Sentinels, table: str
) -> None:
    """The old master takes every row and answers OK; only the Sentinels know better."""
    before = watched.master()
    try:
        with opened(watched, nodes="127.0.0.1:1") as store:  # the first Sentinel alone is given
            with pytest.raises(StoreUnavailableError, match=r"replaced.*write again"):
                store.write(table, replaced_midway(watched, by=1), BY_ID)
            assert before.raw.role()[0] == b"master"
            assert before.raw.dbsize() == ROWS + 1, "the old master took every row"
            pause_demotion(watched, False)
            until(lambda: before.raw.role()[0] != b"master", "the demotion")
            until(lambda: before.raw.dbsize() == 201, "the old master's forgetting")
            watched.await_calm()
            assert store.write(table, [rows()], BY_ID).rows == ROWS
            assert watched.raw().dbsize() == ROWS + 1
            assert ids(store, table) == list(range(ROWS))
    finally:
        pause_demotion(watched, False)
        watched.await_calm()


def test_writing_again_goes_to_the_new_master_though_the_old_one_takes_writes_still(
    watched: Sentinels, table: str
) -> None:
    before = watched.master()
    try:
        with opened(watched) as store:
            with pytest.raises(StoreUnavailableError, match=r"replaced.*write again"):
                store.write(table, replaced_midway(watched, by=0), BY_ID)
            assert store.write(table, [rows()], BY_ID).rows == ROWS
            assert before.raw.role()[0] == b"master"
            assert ids(store, table) == list(range(ROWS))
    finally:
        pause_demotion(watched, False)
        watched.await_calm()


def replaced_midway(found: Sentinels, by: int) -> Iterator[pa.RecordBatch]:
    """Rows, amid which a Sentinel replaces the master without telling it."""
    before = found.master().port
    yield rows(200)
    found.await_copies()
    pause_demotion(found, True)
    found.begin_failover(by)
    until(lambda: named(found, by) != before, "a new master")
    yield rows(ROWS - 200, start=200)


def pause_demotion(found: Sentinels, paused: bool) -> None:
    """Sentinels demote who still calls itself master after four periods of their greetings."""
    for watcher in found.watchers:
        period = 60_000 if paused else 300
        watcher.raw.execute_command("SENTINEL DEBUG", "publish-period", period)


def named(found: Sentinels, watcher: int) -> int:
    """The port of the master that one Sentinel names."""
    raw = found.watchers[watcher].raw
    return int(raw.sentinel_get_master_addr_by_name(found.master_name)[1])


@pytest.mark.parametrize("parts", [1, 4])
def test_a_failover_in_a_read_brings_every_row_or_an_error(
    watched: Sentinels, table: str, parts: int
) -> None:
    with opened(watched) as store:
        store.write(table, [rows()], BY_ID)
        watched.await_copies()
        source = store.source(table, parts=parts, batch_rows=100)
        partitions = source.partitions()
        assert len(partitions) == parts
        planned_on = watched.master()
        reading = source.read(partitions[0])
        next(reading)
        watched.failover()
        with pytest.raises(StoreUnavailableError, match=table):
            list(reading)
        while watched.master() is planned_on:  # given back to it on a busy machine
            watched.failover()
        if parts > 1:
            for partition in partitions:
                with pytest.raises(PlanExpiredError, match="plan again"):
                    list(source.read(partition))
        assert ids(store, table) == list(range(ROWS))


def written_again(store: Store, table: str, batches: Callable[[], Iterator[pa.RecordBatch]]) -> int:
    """As the error says; on a busy machine Sentinels may replace the new master, too."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return store.write(table, batches(), BY_ID).rows
        except StoreUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_a_master_that_is_killed_in_a_write(mortal: Sentinels, table: str) -> None:
    def batches(kill: bool) -> Iterator[pa.RecordBatch]:
        for i in range(30):
            if kill and i == 10:
                mortal.kill_master()
            yield rows(200, start=i * 200)

    with opened(mortal) as store:
        with pytest.raises(StoreUnavailableError, match="write again"):
            store.write(table, batches(True), BY_ID)
        assert written_again(store, table, lambda: batches(False)) == ROWS
        assert mortal.raw().dbsize() == ROWS + 1
        assert ids(store, table) == list(range(ROWS))


def test_a_master_that_is_killed_before_a_write_is_waited_for(
    mortal: Sentinels, table: str
) -> None:
    with opened(mortal) as store:
        store.write(table, [rows(100)], BY_ID)
        mortal.await_copies()
        before = mortal.master()
        mortal.nodes.remove(before)
        before.kill()  # Sentinels take seconds to notice
        try:
            assert store.write(table, [rows()], BY_ID).rows == ROWS
        except StoreUnavailableError as error:  # on a busy machine the new master was replaced, too
            if "was replaced while" not in str(error):
                raise
            assert written_again(store, table, lambda: iter([rows()])) == ROWS
        assert ids(store, table) == list(range(ROWS))


def test_what_does_not_answer_at_all_is_no_confirmation(mortal: Sentinels, table: str) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield rows(10)
        for watcher in mortal.watchers:
            watcher.kill()

    with (
        opened(mortal) as store,
        pytest.raises(StoreUnavailableError, match="none of the Sentinels.*write again"),
    ):
        store.write(table, batches(), BY_ID)


def test_sentinels_are_not_reached_over_a_unix_socket(table: str) -> None:
    with (
        open_store("unix:///nowhere.sock", sentinel_master="m") as store,
        pytest.raises(OptionError, match="over TCP"),
    ):
        store.schema(table)


def test_no_port_is_left_open_by_a_closed_store(watched: Sentinels, table: str) -> None:
    def connections() -> int:
        return len(watched.master().raw.client_list())

    with opened(watched) as store:
        store.write(table, [rows(10)], BY_ID)
        held = connections()
    until(lambda: connections() < held, "the closing of connections")
