"""Batches: the test server does what a real server does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import aerospike
import pytest
from aerospike_helpers.batch import records as batch
from aerospike_helpers.expressions import base as exp
from aerospike_helpers.operations import operations as op
from witness import KINDS, Witness, witness_of


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Witness]:
    with witness_of(request.param) as found:
        yield found


@pytest.fixture
def table(server: Witness) -> Iterator[str]:
    found = f"b{uuid.uuid4().hex[:8]}"
    yield found
    server.clear(found)


def filled(server: Witness, table: str, count: int = 10) -> list[tuple[str, str, int]]:
    keys = [server.key(table, i) for i in range(count)]
    for i, key in enumerate(keys):
        server.raw.put(key, {"n": i, "s": f"s{i}"})
    return keys


def results(found: batch.BatchRecords) -> list[int]:
    return [row.result for row in found.batch_records]


def test_batch_read_answers_in_order_and_for_each(server, table):
    keys = filled(server, table)
    found = server.raw.batch_read([keys[3], server.key(table, "none"), keys[1]])
    assert results(found) == [0, 2, 0]
    assert [row.record and row.record[2] for row in found.batch_records] == [
        {"n": 3, "s": "s3"},
        None,
        {"n": 1, "s": "s1"},
    ]


def test_batch_read_of_bins_and_of_none(server, table):
    keys = filled(server, table)
    found = server.raw.batch_read(keys, ["n", "none"])
    assert [row.record[2] for row in found.batch_records] == [{"n": i} for i in range(10)]
    found = server.raw.batch_read(keys, [])
    assert [len(row.record) for row in found.batch_records] == [2] * 10
    assert [row.record[1]["gen"] for row in found.batch_records] == [1] * 10


def test_batch_read_with_a_filter(server, table):
    keys = [*filled(server, table, 4), server.key(table, "none")]
    policy = {"expressions": exp.GE(exp.IntBin("n"), 2).compile()}
    assert results(server.raw.batch_read(keys, policy=policy)) == [27, 27, 0, 0, 2]


def test_batch_read_with_a_filter_that_is_none(server, table):
    keys = filled(server, table, 2)
    policy = {"expressions": exp.Eq(exp.IntBin("n"), "a").compile()}
    found = server.raw.batch_read(keys, policy=policy)
    assert found.result == 4 and results(found) == [-15, -15]  # there was no answer for them


def test_many_rows(server, table):
    keys = [server.key(table, i) for i in range(3000)]
    rows = [batch.Write(key, [op.write("n", key[2]), op.write("s", "x" * 100)]) for key in keys]
    assert set(results(server.raw.batch_write(batch.BatchRecords(rows)))) == {0}
    found = server.raw.batch_read(keys)
    assert [row.record[2]["n"] for row in found.batch_records] == list(range(3000))


def test_every_row_has_its_own_result(server, table):
    old = server.key(table, "old")
    server.raw.put(old, {"n": 1, "s": "x"}, policy={"key": aerospike.POLICY_KEY_SEND})
    create = {"exists": aerospike.POLICY_EXISTS_CREATE}
    update = {"exists": aerospike.POLICY_EXISTS_UPDATE}
    wrong = {"gen": aerospike.POLICY_GEN_EQ}
    rows = batch.BatchRecords(
        [
            batch.Write(server.key(table, 1), [op.write("n", 1)]),
            batch.Write(old, [op.write("n", 2)], policy=create),
            batch.Write(server.key(table, 2), [op.write("n", 2)], policy=update),
            batch.Write(old, [op.write("n", 3)], meta={"gen": 7}, policy=wrong),
            batch.Write(server.key(table, 3), [op.write("b", bytearray(2 << 20))]),
            batch.Write(old, [op.increment("s", 1)]),
            batch.Remove(server.key(table, 4)),
            batch.Read(old, None, read_all_bins=True),
            batch.Write(old, [op.write("n", None)]),
            batch.Remove(old),
            batch.Read(old, None, read_all_bins=True),
        ]
    )
    server.raw.batch_write(rows)
    assert results(rows) == [0, 5, 2, 3, 13, 12, 2, 0, 0, 0, 2]
    assert rows.batch_records[7].record[2] == {"n": 1, "s": "x"}


def test_metadata_of_written_rows(server, table):
    keys = filled(server, table, 2)
    row = batch.Write(keys[0], [op.write("n", 1)], policy={"ttl": 1000})
    server.raw.batch_write(batch.BatchRecords([row]))
    assert row.record[1]["gen"] == 2 and 998 <= row.record[1]["ttl"] <= 1000


def test_replace_and_key_in_a_batch(server, table):
    key = server.key(table, "k")
    server.raw.put(key, {"a": 1})
    policy = {
        "exists": aerospike.POLICY_EXISTS_CREATE_OR_REPLACE,
        "key": aerospike.POLICY_KEY_SEND,
    }
    server.raw.batch_write(
        batch.BatchRecords([batch.Write(key, [op.write("b", 2)], policy=policy)])
    )
    ((found, _, bins),) = server.records(table)
    assert found[2] == "k" and bins == {"b": 2}


def test_filters_of_rows(server, table):
    keys = filled(server, table, 3)
    policy = {"expressions": exp.Eq(exp.IntBin("n"), 1).compile()}
    rows = batch.BatchRecords(
        [batch.Write(key, [op.write("m", 1)], policy=policy) for key in keys]
        + [batch.Remove(key, policy=policy) for key in keys]
    )
    server.raw.batch_write(rows)
    assert results(rows) == [27, 0, 27, 27, 0, 27]


def test_batch_operate_and_remove(server, table):
    keys = filled(server, table, 3)
    found = server.raw.batch_operate(keys, [op.increment("n", 10), op.read("n")])
    assert [row.record[2] for row in found.batch_records] == [{"n": 10 + i} for i in range(3)]
    assert results(server.raw.batch_remove([*keys, keys[0]])) == [0, 0, 0, 2]
    assert server.records(table) == []


def test_a_batch_in_another_namespace(server):
    assert results(server.raw.batch_read([("nowhere", "s", 1)])) == [20]
