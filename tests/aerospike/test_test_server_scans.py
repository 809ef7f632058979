"""Scans and queries: the test server does what a real server does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import aerospike
import pytest
from aerospike import predicates
from aerospike_helpers.expressions import base as exp
from aerospike_helpers.operations import operations as op
from witness import KINDS, Witness, code, witness_of

ROWS = 3000


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Witness]:
    with witness_of(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def table(server: Witness) -> Iterator[str]:
    found = f"s{uuid.uuid4().hex[:8]}"
    for i in range(ROWS):
        bins = {"n": i, "s": f"s{i % 7}"} | ({"odd": i} if i % 2 else {})
        server.raw.put(server.key(found, i), bins, policy={"key": aerospike.POLICY_KEY_SEND})
    server.raw.put(server.key(found + "x", 0), {"n": 1})
    yield found
    server.clear(found)
    server.clear(found + "x")


def scanned(
    server: Witness, table: str, *bins: str, policy: dict[str, Any] | None = None, **where: int
) -> list[tuple[int, Any]]:
    """Records with their partitions, of the partitions that ``where`` names."""
    found: list[tuple[int, Any]] = []
    query = server.raw.query(server.namespace, table)
    if bins:
        query.select(*bins)
    partitions = {"begin": 0, "count": 4096} | where
    query.foreach(
        lambda partition, record: found.append((partition, record)),
        {"partition_filter": partitions, **(policy or {})},
    )
    return found


def numbers(found: list[tuple[int, Any]]) -> list[int]:
    return sorted(record[2]["n"] for _, record in found)


def test_a_scan_gives_every_record_of_its_set(server, table):
    found = server.records(table)
    assert sorted(record[2]["n"] for record in found) == list(range(ROWS))
    assert {record[0][2] for record in found} == set(range(ROWS))
    assert {record[1]["gen"] for record in found} == {1}


def test_partitions_are_disjoint_and_cover(server, table):
    parts = [scanned(server, table, begin=begin, count=512) for begin in range(0, 4096, 512)]
    assert sorted(n for part in parts for n in numbers(part)) == list(range(ROWS))
    for at, part in enumerate(parts):
        assert {partition // 512 for partition, _ in part} <= {at}


def test_the_partition_is_in_the_digest(server, table):
    for partition, record in scanned(server, table)[:100]:
        digest = bytes(record[0][3])
        assert int.from_bytes(digest[:2], "little") % 4096 == partition
        assert digest == bytes(aerospike.calc_digest(server.namespace, table, record[0][2]))


def test_digests_come_in_falling_order(server, table):
    by_partition: dict[int, list[bytes]] = {}
    for partition, record in scanned(server, table):
        by_partition.setdefault(partition, []).append(bytes(record[0][3]))
    assert max(map(len, by_partition.values())) > 1
    assert all(digests == sorted(digests, reverse=True) for digests in by_partition.values())


def test_resuming_after_a_digest(server, table):
    parts = (scanned(server, table, begin=begin, count=1) for begin in range(4096))
    whole = next(part for part in parts if len(part) > 2)
    partition = whole[0][0]
    for at, (_, record) in enumerate(whole):
        status = {"done": 0, "retry": 1, partition: (partition, 1, 1, record[0][3], 0)}
        policy = {"begin": partition, "count": 1, "partition_status": status}
        rest = scanned(server, table, policy={"partition_filter": policy})
        assert numbers(rest) == numbers(whole[at + 1 :])


def test_resuming_by_the_status_of_a_query(server, table):
    query = server.raw.query(server.namespace, table)
    query.paginate()
    query.max_records = 1000
    pages = []
    while not query.is_done():
        pages.append([record[2]["n"] for record in query.results()])
    assert sorted(n for page in pages for n in page) == list(range(ROWS))
    assert [len(page) for page in pages[:2]] == [1000, 1000]


def test_bins_that_are_asked_for(server, table):
    assert {tuple(record[2]) for _, record in scanned(server, table, "n")} == {("n",)}
    only_odd = scanned(server, table, "odd")
    assert len(only_odd) == ROWS // 2
    both = scanned(server, table, "n", "odd")
    assert sorted({len(record[2]) for _, record in both}) == [1, 2]
    assert scanned(server, table, "none") == []


def test_no_bins(server, table):
    query = server.raw.query(server.namespace, table)
    found = query.results({}, {"nobins": True})
    assert len(found) == ROWS and all(not record[2] for record in found)
    assert {record[0][2] for record in found} == set(range(ROWS))


def test_operations_instead_of_bins(server, table):
    query = server.raw.query(server.namespace, table)
    query.add_ops([op.read("n")])
    assert sorted(record[2]["n"] for record in query.results()) == list(range(ROWS))


def test_operations_give_every_record(server, table):
    """Unlike bins that are asked for: where there are none, the answer is null."""
    query = server.raw.query(server.namespace, table)
    query.add_ops([op.read("odd"), op.read("none")])
    found = [record[2] for record in query.results()]
    assert len(found) == ROWS
    assert sum(bins["odd"] is None for bins in found) == ROWS // 2
    assert {bins["none"] for bins in found} == {None}


def test_at_most_so_many_records(server, table):
    query = server.raw.query(server.namespace, table)
    query.max_records = 100
    found = [record[2]["n"] for record in query.results()]
    assert len(found) == 100 == len(set(found))


def test_records_per_second(server, table):
    begin = time.monotonic()
    query = server.raw.query(server.namespace, table)
    query.records_per_second = 1500
    assert len(query.results()) == ROWS
    assert time.monotonic() - begin > 1


def test_filters(server, table):
    policy = {"expressions": exp.LT(exp.IntBin("n"), 10).compile()}
    assert numbers(scanned(server, table, policy=policy)) == list(range(10))
    policy = {"expressions": exp.LT(exp.IntBin("odd"), 10).compile()}
    assert numbers(scanned(server, table, "n", policy=policy)) == [1, 3, 5, 7, 9]


def test_a_filter_and_a_limit(server, table):
    query = server.raw.query(server.namespace, table)
    query.max_records = 20
    found = query.results({"expressions": exp.GE(exp.IntBin("n"), ROWS - 10).compile()})
    assert sorted(record[2]["n"] for record in found) == list(range(ROWS - 10, ROWS))


def test_a_filter_that_is_none(server, table):
    mixed = {"expressions": exp.Eq(exp.IntBin("n"), exp.StrBin("n")).compile()}
    assert code(lambda: server.records(table, mixed)) == 4


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_digest_modulo_splits_a_partition(server, table, parts):
    found = []
    for part in range(parts):
        policy = {"expressions": exp.Eq(exp.DigestMod(parts), part).compile()}
        found.append(numbers(scanned(server, table, policy=policy)))
        for _, record in scanned(server, table, policy=policy)[:50]:
            assert int.from_bytes(bytes(record[0][3])[16:], "little") % parts == part
    assert sorted(n for part in found for n in part) == list(range(ROWS))


def test_a_set_that_does_not_exist(server):
    assert server.records("nosuchset") == []


def test_a_namespace_that_does_not_exist(server):
    assert code(lambda: server.raw.query("nowhere", "s").results()) == 20


def test_without_a_set_all_records_come(server, table):
    found = server.raw.query(server.namespace, None).results()
    assert {table, table + "x"} <= {record[0][1] for record in found}


def test_bad_partitions(server, table):
    assert code(lambda: scanned(server, table, begin=4096, count=1)) != 0
    assert code(lambda: scanned(server, table, begin=0, count=4097)) != 0


@pytest.fixture(scope="module")
def indexed(server: Witness, table: str) -> Iterator[str]:
    numeric, string = aerospike.INDEX_NUMERIC, aerospike.INDEX_STRING
    create = server.raw.index_single_value_create
    create(server.namespace, table, "n", numeric, f"{table}_n")
    create(server.namespace, table, "s", string, f"{table}_s")
    while server.info("sindex-list").count("state=RW") < 2:
        time.sleep(0.05)
    yield table
    server.raw.index_remove(server.namespace, f"{table}_n")
    server.raw.index_remove(server.namespace, f"{table}_s")


def where(server: Witness, table: str, predicate: Any, policy: dict[str, Any] | None = None) -> Any:
    query = server.raw.query(server.namespace, table)
    query.where(predicate)
    return sorted(record[2]["n"] for record in query.results(policy or {}))


def test_an_index_finds_numbers(server, indexed):
    assert where(server, indexed, predicates.equals("n", 7)) == [7]
    assert where(server, indexed, predicates.between("n", 5, 8)) == [5, 6, 7, 8]
    assert where(server, indexed, predicates.between("n", -5, 1)) == [0, 1]
    assert where(server, indexed, predicates.equals("n", -1)) == []


def test_an_index_finds_strings(server, indexed):
    expected = [n for n in range(ROWS) if n % 7 == 3]
    assert where(server, indexed, predicates.equals("s", "s3")) == expected
    assert where(server, indexed, predicates.equals("s", "s")) == []


def test_an_index_with_a_filter(server, indexed):
    policy = {"expressions": exp.Eq(exp.StrBin("s"), "s2").compile()}
    expected = [n for n in range(100, 200) if n % 7 == 2]
    assert where(server, indexed, predicates.between("n", 100, 199), policy) == expected


def test_an_index_by_partitions(server, indexed):
    found = []
    for begin in range(0, 4096, 1024):
        query = server.raw.query(server.namespace, indexed)
        query.where(predicates.between("n", 0, 99))
        part: list[tuple[int, Any]] = []
        query.foreach(
            lambda partition, record, part=part: part.append((partition, record)),
            {"partition_filter": {"begin": begin, "count": 1024}},
        )
        assert {partition // 1024 for partition, _ in part} <= {begin // 1024}
        found += numbers(part)
    assert sorted(found) == list(range(100))


def test_an_index_in_pages(server, indexed):
    query = server.raw.query(server.namespace, indexed)
    query.where(predicates.between("n", 0, 99))
    query.paginate()
    query.max_records = 30
    found = []
    while not query.is_done():
        found += [record[2]["n"] for record in query.results()]
    assert sorted(found) == list(range(100))


def test_an_index_follows_writes(server, indexed):
    key = server.key(indexed, 3)
    server.raw.put(key, {"n": 100_000})
    assert where(server, indexed, predicates.equals("n", 3)) == []
    assert where(server, indexed, predicates.equals("n", 100_000)) == [100_000]
    server.raw.put(key, {"n": 3.0})
    assert where(server, indexed, predicates.between("n", 0, 5)) == [0, 1, 2, 4, 5]
    server.raw.put(key, {"n": 3})


def test_a_query_without_its_index(server, indexed):
    assert code(lambda: where(server, indexed, predicates.equals("odd", 3))) == 201
    assert code(lambda: where(server, indexed, predicates.equals("n", "s3"))) == 201
    assert code(lambda: where(server, "other", predicates.equals("n", 3))) == 201
