"""Writing as the official client sees it: keys, bins, expiry, generations, refused rows, overwrites."""

from __future__ import annotations

import datetime as dt
import gc
import json
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aerospike
import pyarrow as pa
import pytest
from aerospike import exception
from aerospikes import Aerospike

from connector import (
    OptionError,
    SchemaError,
    Store,
    StoreError,
    WriteFields,
    WriteMode,
    WriteOptions,
    WriteRejectedError,
    WriteRows,
    open_store,
    read_all,
)
from connector.aerospike.jobs import RecordJob

BY_ID = WriteOptions(key=("id",))
OVERWRITE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)
NEVER = aerospike.TTL_NEVER_EXPIRE
SEND = {"key": aerospike.POLICY_KEY_SEND}
Open = Callable[..., Store]


@pytest.fixture
def opened(aerospike_server: Aerospike) -> Iterator[Open]:
    """Opens stores, and closes them in the end."""
    stores: list[Store] = []

    def open_it(**options: object) -> Store:
        stores.append(open_store(aerospike_server.url, **options))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> Store:
    return opened()


def batch(**columns: object) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def record(server: Aerospike, table: str, key: Any) -> tuple[dict[str, int], dict[str, Any]]:
    """A record's metadata and bins."""
    _, told, bins = server.raw.get((server.namespace, table, key))
    return told, bins


def bins(server: Aerospike, table: str, key: Any) -> dict[str, Any]:
    return record(server, table, key)[1]


def there(server: Aerospike, table: str, key: Any) -> bool:
    return server.raw.exists((server.namespace, table, key))[1] is not None


def records(server: Aerospike, table: str) -> dict[Any, dict[str, Any]]:
    """All records of a set, by the user keys that are stored in them."""
    found = server.raw.query(server.namespace, table).results()
    return {key[2]: values for key, _, values in found}


KEYS = {
    "integers": (pa.array([-1, 2**62]), [-1, 2**62]),
    "small integers": (pa.array([7], pa.uint8()), [7]),
    "text": (pa.array(["ключ", "", "a:b"]), ["ключ", "", "a:b"]),
    "bytes": (pa.array([b"\x00", b"ab"]), [bytearray(b"\x00"), bytearray(b"ab")]),
    "fixed bytes": (pa.array([b"abc"], pa.binary(3)), [bytearray(b"abc")]),
    "dates": (pa.array([dt.date(2013, 1, 1)]), ["2013-01-01"]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_are_the_records_user_keys(
    aerospike_server: Aerospike, store: Store, table: str, kind: str
) -> None:
    column, keys = KEYS[kind]
    store.write(table, [batch(k=column, n=range(len(keys)))], WriteOptions(key=("k",)))
    for n, key in enumerate(keys):
        assert bins(aerospike_server, table, key) == {"n": n}
    found = [
        key[2]
        for key, _, _ in aerospike_server.raw.query(aerospike_server.namespace, table).results()
    ]
    assert sorted(map(str, found)) == sorted(map(str, keys))


def test_several_key_columns_are_joined(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    rows = batch(a=["x:y", "z"], b=[1, 2], c=pa.array([b"\x00", b"1"]), n=[1, 2])
    store.write(table, [rows.drop_columns(["c"])], WriteOptions(key=("a", "b")))
    assert bins(aerospike_server, table, "x%3Ay:1") == {"n": 1}
    store.drop(table)
    store.write(table, [rows], WriteOptions(key=("a", "b", "c")))
    assert bins(aerospike_server, table, bytearray(b"x%3Ay:1:\x00")) == {"n": 1}


def test_keys_may_stay_out_of_the_records(
    aerospike_server: Aerospike, opened: Open, table: str
) -> None:
    with opened(send_key=False) as store:
        store.write(table, [batch(id=[1, 2], n=[1, 2])], BY_ID)
    assert set(records(aerospike_server, table)) == {None}
    assert bins(aerospike_server, table, 1) == {"id": 1, "n": 1}
    store = opened()
    store.write(table, [batch(id=[2, 3], n=[5, 6])], BY_ID)  # the table has its keys in bins
    assert bins(aerospike_server, table, 3) == {"id": 3, "n": 6}
    assert sorted(row["id"] for row in _all(store, table)) == [1, 2, 3]


def test_a_table_with_its_keys_in_the_records_keeps_them_there(opened: Open, table: str) -> None:
    opened().write(table, [batch(id=[1], n=[1])], BY_ID)
    without = opened(send_key=False)
    with pytest.raises(OptionError, match=r"send\.key"):
        without.write(table, [batch(id=[2], n=[2])], BY_ID)
    without.write(table, [batch(id=[2], n=[2])], OVERWRITE)
    assert _all(without, table) == [{"id": 2, "n": 2}]


def test_rows_by_digest(aerospike_server: Aerospike, store: Store, table: str) -> None:
    key = (aerospike_server.namespace, table, "somebody")
    aerospike_server.raw.put(key, {"a": 1, "b": 1}, policy=SEND)
    digest = aerospike_server.raw.get(key)[0][3]
    rows = batch(__digest=pa.array([bytes(digest)], pa.binary(20)), b=[2])
    assert store.write(table, [rows], WriteOptions(key=("__digest",))).rows == 1
    assert bins(aerospike_server, table, "somebody") == {"a": 1, "b": 2}
    with pytest.raises(SchemaError, match="digest of 20 bytes"):
        store.write(
            f"{table}2", [batch(__digest=[b"short"], b=[2])], WriteOptions(key=("__digest",))
        )


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (pa.array(["a", "b\0c"]), "NUL"),
        (pa.array([b"a", b""]), "empty"),
        (pa.array([1, 2**63], pa.uint64()), "9223372036854775808"),
    ],
    ids=["text with NUL", "no bytes", "a large integer"],
)
def test_keys_that_the_client_would_change_are_refused(
    aerospike_server: Aerospike, store: Store, table: str, key: pa.Array, why: str
) -> None:
    with pytest.raises(SchemaError, match=why):
        store.write(table, [batch(k=key, n=[1, 2])], WriteOptions(key=("k",)))
    assert records(aerospike_server, table) == {}


def test_a_null_removes_its_bin_or_leaves_it(
    aerospike_server: Aerospike, opened: Open, table: str
) -> None:
    opened().write(table, [batch(id=[1, 2, 3], a=[1, 2, 3], b=[1, 2, 3])], BY_ID)
    nulls = batch(id=[1, 2, 4], a=[9, None, None], b=pa.array([None] * 3, pa.int64()))
    opened(null_bins="skip").write(table, [nulls], BY_ID)
    assert bins(aerospike_server, table, 1) == {"a": 9, "b": 1}
    assert bins(aerospike_server, table, 2) == {"a": 2, "b": 2, "_kvlake": 1}
    assert bins(aerospike_server, table, 4) == {"_kvlake": 1}
    opened().write(table, [nulls], BY_ID)
    assert bins(aerospike_server, table, 1) == {"a": 9}
    assert bins(aerospike_server, table, 2) == {"_kvlake": 1}
    assert bins(aerospike_server, table, 3) == {"a": 3, "b": 3}


def test_bins_that_others_wrote_stay_or_go(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    for key in (1, 2):
        where = (aerospike_server.namespace, table, key)
        aerospike_server.raw.put(where, {"other": "x", "a": "text"}, policy=SEND)
    store.write(table, [batch(id=[1], a=[5])], BY_ID)
    assert bins(aerospike_server, table, 1) == {"other": "x", "a": 5}
    replace = WriteOptions(key=("id",), fields=WriteFields.REPLACE)
    store.write(table, [batch(id=[1, 2], a=[6, None])], replace)
    assert bins(aerospike_server, table, 1) == {"a": 6}
    assert bins(aerospike_server, table, 2) == {"_kvlake": 1}


LONG = "departure_delay_minutes"


def test_long_names_of_columns(aerospike_server: Aerospike, opened: Open, table: str) -> None:
    rows = pa.record_batch({"id": [1], LONG: [5], "ab": [7]})
    with pytest.raises(SchemaError, match=rf"(?s)'{LONG}'.*23 bytes.*bin\.names"):
        opened().begin(table, rows.schema, BY_ID)
    with pytest.raises(SchemaError, match="16 bytes"):
        opened().begin(table, pa.schema([("id", pa.int8()), ("ä" * 8, pa.int8())]), BY_ID)
    with pytest.raises(SchemaError, match="both be stored in the bin 'ab'"):
        opened(bin_names=((LONG, "ab"),)).begin(table, rows.schema, BY_ID)
    store = opened(bin_names=((LONG, "delay"),))
    store.write(table, [rows], BY_ID)
    assert bins(aerospike_server, table, 1) == {"delay": 5, "ab": 7}
    assert _all(store, table) == [{"id": 1, LONG: 5, "ab": 7}]


@pytest.mark.parametrize("name", ["_kvlake", "a\0b", "__set", "__expiry"])
def test_columns_that_cannot_be_bins(store: Store, table: str, name: str) -> None:
    with pytest.raises(SchemaError, match="cannot be stored in a bin|what a read tells"):
        store.begin(table, pa.schema([("id", pa.int8()), (name, pa.int8())]), BY_ID)


@pytest.mark.parametrize("name", ["", "s" * 64, "ä" * 32, "a;b", "a:b", "a\0b", "_kvlake"])
def test_names_that_no_table_can_have(store: Store, name: str) -> None:
    with pytest.raises(SchemaError, match="set"):
        store.begin(name, pa.schema([("id", pa.int8())]), BY_ID)
    with pytest.raises(SchemaError, match="set"):
        store.drop(name)


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_each_row_expires_as_its_column_says(
    aerospike_server: Aerospike, store: Store, table: str, unit: str
) -> None:
    moment = int(time.time()) + 200
    seconds = pa.array([100, 2 * 10**6, None])
    times = pa.array([moment, moment, None], pa.timestamp("s", "UTC")).cast(
        pa.timestamp(unit, "Europe/Berlin")
    )
    store.write(table, [batch(id=[1, 2, 3], n=[1, None, 3], __ttl=seconds)], BY_ID)
    assert 90 < record(aerospike_server, table, 1)[0]["ttl"] <= 100
    assert 1_999_990 < record(aerospike_server, table, 2)[0]["ttl"] <= 2_000_000
    assert record(aerospike_server, table, 3)[0]["ttl"] == NEVER
    options = WriteOptions(key=("id",), ttl_column="until")
    store.write(table, [batch(id=[1, 2, 3], n=[1, None, 3], until=times)], options)
    for key in (1, 2):
        assert 190 < record(aerospike_server, table, key)[0]["ttl"] <= 201
    assert record(aerospike_server, table, 3)[0]["ttl"] == NEVER
    assert bins(aerospike_server, table, 1) == {"n": 1}
    assert store.schema(table).names == ["id", "n"]


def test_a_row_whose_time_has_passed_is_gone_in_a_moment(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    past = pa.array([dt.datetime(2013, 1, 1)], pa.timestamp("ms"))
    store.write(table, [batch(id=[1], n=[1], __ttl=past)], BY_ID)
    deadline = time.monotonic() + 10
    while there(aerospike_server, table, 1):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("ttl", "why"),
    [
        (pa.array([5, 0]), "0 seconds to live"),
        (pa.array([315_360_001, 1]), "315360001 seconds.*10 years"),
        (pa.array([dt.datetime(1969, 1, 1), None], pa.timestamp("ms")), "since 1970"),
        (pa.array([dt.datetime(2099, 1, 1), None], pa.timestamp("ms")), "10 years"),
        (pa.array(["5", "6"]), "type string"),
    ],
)
def test_times_to_live_that_cannot_be(
    aerospike_server: Aerospike, store: Store, table: str, ttl: pa.Array, why: str
) -> None:
    with pytest.raises(SchemaError, match=f"(?s)'__ttl'.*{why}"):
        store.write(table, [batch(id=[1, 2], n=[1, 2], __ttl=ttl)], BY_ID)
    assert records(aerospike_server, table) == {}


def test_a_time_to_live_for_all_rows(aerospike_server: Aerospike, opened: Open, table: str) -> None:
    rows = batch(id=[1], n=[1])

    def ttl_after(options: WriteOptions = BY_ID, **more: object) -> int:
        opened(**more).write(table, [rows], options)
        return record(aerospike_server, table, 1)[0]["ttl"]

    assert ttl_after() == NEVER  # a new record, in a namespace without a default
    assert 90 < ttl_after(WriteOptions(key=("id",), ttl_seconds=100)) <= 100
    assert 90 < ttl_after() <= 100
    assert ttl_after(default_expiry="namespace") == NEVER
    ttl_after(WriteOptions(key=("id",), ttl_seconds=100))
    assert ttl_after(default_expiry="never") == NEVER
    ttl_after(WriteOptions(key=("id",), ttl_seconds=100))
    assert ttl_after(WriteOptions(key=("id",), fields=WriteFields.REPLACE)) == NEVER
    ttl_after(WriteOptions(key=("id",), ttl_seconds=100))
    assert ttl_after(OVERWRITE) == NEVER
    with pytest.raises(OptionError, match="10 years"):
        ttl_after(WriteOptions(key=("id",), ttl_seconds=315_360_001))


def test_generations(aerospike_server: Aerospike, opened: Open, table: str) -> None:
    opened().write(table, [batch(id=[1, 2, 3], n=[0, 0, 0])], BY_ID)
    opened().write(table, [batch(id=[2], n=[0])], BY_ID)  # generation 2
    news = batch(id=[1, 2, 3, 4], n=[1, 1, 1, 1], __generation=pa.array([1, 1, None, None]))
    with pytest.raises(WriteRejectedError, match=r"(?s)'2'.*another generation \(code 3\)"):
        opened(generation_policy="equal").write(table, [news], BY_ID)
    found = {key: bins(aerospike_server, table, key)["n"] for key in (1, 2, 3, 4)}
    assert found == {1: 1, 2: 0, 3: 0, 4: 1}
    assert opened().schema(table).names == ["id", "n"]
    greater = opened(generation_policy="greater")
    with pytest.raises(WriteRejectedError, match="2 of 3 rows.*another generation"):
        greater.write(
            table, [batch(id=[1, 2, 3], n=[2, 2, 2], __generation=pa.array([2, 3, None]))], BY_ID
        )
    assert [bins(aerospike_server, table, key)["n"] for key in (1, 2, 3)] == [1, 2, 0]
    opened().write(table, [news], BY_ID)
    assert [bins(aerospike_server, table, key)["n"] for key in (1, 2, 3)] == [1, 1, 1]


@pytest.mark.parametrize("bad", [0, -1, 65_536])
def test_generations_that_no_record_has(opened: Open, table: str, bad: int) -> None:
    with pytest.raises(SchemaError, match=f"__generation.*{bad}"):
        opened(generation_policy="equal").write(
            table, [batch(id=[1, 2], __generation=[1, bad])], BY_ID
        )


def test_conflicts_are_noted_with_their_keys(opened: Open, table: str, tmp_path: Path) -> None:
    opened().write(table, [batch(id=[1, 2], n=[0, 0])], BY_ID)
    options = WriteOptions(key=("id",), reject_path=str(tmp_path))
    news = batch(id=[1, 2], n=[1, 1], __generation=[1, 7], __ttl=[50, None])
    result = opened(generation_policy="equal").write(table, [news], options)
    assert (result.rows, result.rejected) == (1, 1)
    (file,) = tmp_path.iterdir()
    noted = json.loads(file.read_text())
    assert noted == {
        "table": table,
        "key": "2",
        "reason": "its record has another generation (code 3)",
    }


def test_a_row_that_is_too_large(
    aerospike_server: Aerospike, opened: Open, table: str, tmp_path: Path
) -> None:
    rows = batch(id=[1, 2, 3], v=["a", "x" * (1 << 21), "c"])
    with pytest.raises(WriteRejectedError, match=rf"(?s)'{table}'.*1 of 3.*'2'.*larger.*code 13"):
        opened().write(table, [rows], BY_ID)
    options = WriteOptions(key=("id",), reject_path=str(tmp_path))
    result = opened().write(table, [rows], options)
    assert (result.rows, result.rejected) == (2, 1)
    assert sorted(records(aerospike_server, table)) == [1, 3]


def test_rows_are_sent_in_requests_that_the_server_takes(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    rows = batch(id=range(200), v=["x" * 1_000_000] * 200)  # more than a message may have
    assert store.write(table, [rows], BY_ID).rows == 200
    assert len(bins(aerospike_server, table, 199)["v"]) == 1_000_000
    store.drop(table)


def test_results_count_each_row_once(opened: Open, table: str) -> None:
    store = opened(batch_max=7)
    result = store.write(table, [batch(id=range(30), n=range(30))], BY_ID)
    assert (result.rows, result.skipped, result.rejected) == (30, 0, 0)
    insert = WriteOptions(key=("id",), rows=WriteRows.INSERT)
    result = store.write(table, [batch(id=range(20, 50), n=range(30))], insert)
    assert (result.rows, result.skipped) == (20, 10)
    update = WriteOptions(key=("id",), rows=WriteRows.UPDATE)
    result = store.write(table, [batch(id=range(45, 55), n=pa.nulls(10, pa.int64()))], update)
    assert (result.rows, result.skipped) == (5, 5)
    assert len(_all(store, table)) == 50


def test_the_garbage_collector_is_on_again(store: Store, table: str) -> None:
    with pytest.raises(WriteRejectedError):
        store.write(table, [batch(id=[1], v=["x" * (1 << 21)])], BY_ID)
    assert gc.isenabled()
    store.write(table, [batch(id=[1], v=["x"])], BY_ID)
    assert gc.isenabled()


def test_rows_keep_to_a_rate(opened: Open, table: str) -> None:
    store = opened(records_per_second=200, batch_max=50)
    began = time.monotonic()
    store.write(table, [batch(id=range(200), n=range(200))], BY_ID)
    assert time.monotonic() - began >= 0.7


def test_an_overwrite_keeps_what_was_written_since_it_began(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    where = aerospike_server.namespace, table
    for _ in range(20):  # in the same milliseconds, or nearly
        aerospike_server.raw.put((*where, "old"), {"n": 0}, policy=SEND)
        job = pickle.loads(pickle.dumps(store.begin(table, batch(id=[1], n=[1]).schema, OVERWRITE)))
        aerospike_server.raw.put((*where, "new"), {"n": 0}, policy=SEND)
        result = store.write_part(job, [batch(id=[1], n=[1])])
        assert set(records(aerospike_server, table)) == {"old", "new", 1}
        store.commit(job, [result])
        assert set(records(aerospike_server, table)) == {"new", 1}
        aerospike_server.raw.remove((*where, "new"))


def test_an_overwrite_may_be_committed_again(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    store.write(table, [batch(id=[1, 2], n=[1, 2])], BY_ID)
    job = store.begin(table, batch(id=[1], n=[1]).schema, OVERWRITE)
    result = store.write_part(job, [batch(id=[3], n=[3])])
    for _ in range(2):
        store.commit(job, [result])
        assert records(aerospike_server, table) == {3: {"n": 3}}


def test_an_append_writes_no_time_and_truncates_nothing(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    job = store.begin(table, batch(id=[1], n=[1]).schema, BY_ID)
    assert isinstance(job, RecordJob)
    assert job.began == 0
    aerospike_server.raw.put((aerospike_server.namespace, table, 9), {"n": 0}, policy=SEND)
    store.commit(job, [store.write_part(job, [batch(id=[1], n=[1])])])
    assert set(records(aerospike_server, table)) == {1, 9}


def test_deleting_by_key(aerospike_server: Aerospike, opened: Open, table: str) -> None:
    store = opened(batch_max=3)
    store.write(table, [batch(id=range(10), n=range(10))], BY_ID)
    assert store.delete(table, [0, 2, 4, 6, 8, 8, 77]) == 5
    assert sorted(records(aerospike_server, table)) == [1, 3, 5, 7, 9]
    assert store.delete(table, []) == 0


def test_a_durable_delete_needs_a_server_that_has_it(
    aerospike_server: Aerospike, opened: Open, table: str
) -> None:
    store = opened(durable_delete=True)
    store.write(table, [batch(id=[1], n=[1])], BY_ID)
    if _is_enterprise(aerospike_server):
        assert store.delete(table, [1]) == 1
        return
    with pytest.raises(StoreError, match=r"deleting.*code 25"):
        store.delete(table, [1])
    assert there(aerospike_server, table, 1)


def test_rows_by_digest_of_a_table_with_a_key(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    store.write(table, [batch(id=[1, 2], a=[1, 2], b=["x", "y"])], WriteOptions(key=("id",)))
    where = (aerospike_server.namespace, table, 1)
    digest = bytes(aerospike_server.raw.exists(where)[0][3])
    by_digest = WriteOptions(key=("__digest",))
    rows = batch(__digest=pa.array([digest], pa.binary(20)), b=["z"])
    assert store.write(table, [rows], by_digest).rows == 1
    found = read_all(store.source(table)).sort_by("id").to_pylist()
    assert found == [{"id": 1, "a": 1, "b": "z"}, {"id": 2, "a": 2, "b": "y"}]
    with pytest.raises(SchemaError, match="no column 'c'"):
        strange = batch(__digest=pa.array([digest], pa.binary(20)), c=["z"])
        store.write(table, [strange], by_digest)


def test_deleting_by_digest(aerospike_server: Aerospike, store: Store, table: str) -> None:
    where = (aerospike_server.namespace, table, "x")
    aerospike_server.raw.put(where, {"n": 1})
    digest = bytes(aerospike_server.raw.exists(where)[0][3])
    rows = batch(__digest=pa.array([digest], pa.binary(20)), n=[1])
    store.write(table, [rows], WriteOptions(key=("__digest",)))
    assert store.delete(table, [digest]) == 1
    assert not there(aerospike_server, table, "x")


def test_dropping_leaves_neighbours_alone(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    for name in (table, f"{table}2", table[:-1]):
        store.write(name, [batch(id=range(300), n=range(300))], BY_ID)
    assert store.drop(table) == 300
    assert records(aerospike_server, table) == {}
    assert len(records(aerospike_server, f"{table}2")) == 300
    assert len(records(aerospike_server, table[:-1])) == 300
    store.write(table, [batch(id=[1], n=["now text"])], BY_ID)
    assert records(aerospike_server, table) == {1: {"n": "now text"}}
    store.drop(table[:-1])


def test_the_witness_sees_what_is_not_there(aerospike_server: Aerospike, table: str) -> None:
    with pytest.raises(exception.RecordNotFound):
        record(aerospike_server, table, 1)
    assert not there(aerospike_server, table, 1)


def _all(store: Store, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    source = store.source(table)
    for part in source.partitions():
        for found in source.read(part):
            rows += found.to_pylist()
    return rows


def _is_enterprise(server: Aerospike) -> bool:
    return any("Enterprise" in said for _, said in server.raw.info_all("edition").values())
