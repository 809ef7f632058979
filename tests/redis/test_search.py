"""Filters answered by an index of RediSearch: the same rows, found without a scan."""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import reduce
from typing import Any

import pyarrow as pa
import pytest
import redis
from contract.rows import get, ids, put
from hypothesis import given
from hypothesis import strategies as st
from servers import Server
from topology import Cluster

from connector import (
    OptionError,
    PlanExpiredError,
    Store,
    StoreError,
    WriteMode,
    open_store,
    read_all,
)
from connector.filters import Column, Filter, column
from connector.redis.search.planning import SearchQuery

ROWS = 3000
INDEX = "people idx"

TEXTS = [
    *(
        "c",
        "a",
        "A",
        "b",
        "a b",
        " a",
        "a ",
        "a,b",
        ",",
        "a;b",
        "é",
        "K",
        'a "b"',
        "it's",
        "{a}",
        "a|b",
    ),
    *(
        "*",
        "a*",
        "w'a*'",
        "",
        "the",
        "1.5",
        "-1",
        "inf",
        "$p",
        "@n:[1 2]",
        "%a%",
        "~a",
        "a\\b",
        "\\",
    ),
    *("a\nb", "a\tb", "a\x00b", "(a)", "a-b", "a_b", "_", "x" * 5000, "x" * 5001, "x" * 999),
]
WHOLE = [0, 1, -1, 7, 2**53, 2**53 + 1, -(2**53) - 1, 2**60 + 1, 2**63 - 1, -(2**63), 10**18 + 1]
REAL = [0.0, -0.0, 0.1, -0.1, 1.5, 1e-320, -1e-7, 1e300, 3.4e38, 1 / 3, float("inf"), -float("inf")]
NARROW = [float(x) for x in pa.array(REAL, pa.float32(), safe=False).to_pylist()]
CENTS = [Decimal(n) / 100 for n in (0, 1, -1, 10, 1999, 10**17 + 1, -(10**17) - 3)]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("n", pa.int64()),
        ("f", pa.float64()),
        ("g", pa.float32()),
        ("d", pa.decimal128(20, 2)),
        ("s", pa.string()),
        ("t", pa.string()),
        ("x", pa.string()),
        ("h", pa.float64()),
    ]
)
FIELDS = (
    "n NUMERIC f AS eff NUMERIC g NUMERIC d NUMERIC s TAG t TAG SEPARATOR ; CASESENSITIVE x TEXT"
)


def odd_rows(count: int) -> pa.RecordBatch:
    """Rows of the values above, of which every thirteenth is null; ``h`` has NaN."""

    def some(values: list[Any], step: int) -> list[Any]:
        return [None if i % 13 == step else values[(i + step) % len(values)] for i in range(count)]

    columns = [WHOLE, REAL, NARROW, CENTS, TEXTS, TEXTS, TEXTS, [float("nan"), *REAL]]
    data = [
        some(values, step) for values, step in zip(columns, (1, 5, 7, 3, 1, 7, 9, 5), strict=True)
    ]
    return pa.RecordBatch.from_pydict(
        dict(zip(SCHEMA.names, [list(range(count)), *data], strict=True)), schema=SCHEMA
    )


def create(server: Server, table: str, fields: str, *options: object, wait: bool = True) -> None:
    """Index the hashes of a table."""
    how = options or ("PREFIX", 1, f"{table}:")
    server.raw.execute_command("FT.CREATE", INDEX, *how, "SCHEMA", *fields.split())
    while wait and info(server)["indexing"]:
        time.sleep(0.01)


def info(server: Server) -> dict[str, Any]:
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        reply = client.execute_command("FT.INFO", INDEX)
    return dict(zip(reply[::2], reply[1::2], strict=True))


@contextmanager
def searching(server: Server, **options: object) -> Iterator[Store]:
    given = {"search_index": INDEX, **options}
    with open_store(server.url, **{k: str(v) for k, v in given.items()}) as store:
        yield store


def found(store: Store, table: str, filter: str | Filter) -> list[int]:
    return sorted(read_all(store.source(table, columns=["id"], filter=filter))["id"].to_pylist())


def planned(store: Store, table: str, filter: str | Filter) -> str | None:
    """The query by which the rows of a filter are found; None where they are scanned."""
    parts = store.source(table, filter=filter).partitions()
    return parts[0].query if isinstance(parts[0], SearchQuery) else None


@pytest.fixture
def people(module_server: Server, table: str) -> str:
    """A table of people, by id, that is indexed."""
    batch = pa.record_batch(
        {
            "id": range(ROWS),
            "age": [i % 100 for i in range(ROWS)],
            "size": [i / 4 for i in range(ROWS)],
            "city": [f"city {i % 7}" for i in range(ROWS)],
        }
    )
    with open_store(module_server.url) as store:
        put(store, table, batch)
    create(module_server, table, "age NUMERIC size NUMERIC city TAG")
    return table


def comparisons(name: str, values: list[Any]) -> st.SearchStrategy[Filter]:
    value = st.sampled_from(values)
    if isinstance(values[0], float):
        value = value | st.just(float("nan")) | st.floats()
    if isinstance(values[0], int):
        value = value | st.integers(-(2**64), 2**64) | st.floats()
    one = column(name)
    compare = st.sampled_from([*map(operator.attrgetter, ["__lt__", "__le__", "__gt__", "__ge__"])])
    return st.one_of(
        st.builds(Column.__eq__, st.just(one), value),
        st.builds(Column.__ne__, st.just(one), value),
        st.builds(lambda get, v: get(one)(v), compare, value),
        st.builds(one.between, value, value),
        st.builds(one.isin, st.lists(value, max_size=4)),
        st.just(one.is_null()),
    )


def filters() -> st.SearchStrategy[Filter]:
    text = st.sampled_from(TEXTS)
    kinds = {"n": WHOLE, "f": REAL, "g": NARROW, "d": CENTS, "s": TEXTS, "t": TEXTS, "x": TEXTS}
    leaves = st.one_of(
        *(comparisons(name, values) for name, values in kinds.items()),
        comparisons("h", REAL),
        st.builds(column("s").startswith, text),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda terms: reduce(operator.and_, terms), st.lists(inner, min_size=2)),
            st.builds(lambda terms: reduce(operator.or_, terms), st.lists(inner, min_size=2)),
            st.builds(operator.invert, inner),
        ),
        max_leaves=6,
    )


class Indexed:
    """A table of odd rows, read by its index and by a scan."""

    def __init__(self, server: Server, table: str) -> None:
        self.table = table
        self.plain = open_store(server.url)
        self.searching = open_store(server.url, search_index=INDEX)


@pytest.fixture
def odd(module_server: Server, table: str) -> Iterator[Indexed]:
    with open_store(module_server.url) as store:
        put(store, table, odd_rows(600))
    create(module_server, table, FIELDS)
    indexed = Indexed(module_server, table)
    yield indexed
    indexed.plain.close()
    indexed.searching.close()


@given(filter=filters())
def test_an_index_changes_no_result(odd: Indexed, filter: Filter) -> None:
    assert found(odd.searching, odd.table, filter) == found(odd.plain, odd.table, filter)


def test_each_value_is_found_by_itself(odd: Indexed) -> None:
    for name, values in {
        "n": WHOLE,
        "f": REAL,
        "g": NARROW,
        "d": CENTS,
        "s": TEXTS,
        "t": TEXTS,
    }.items():
        for value in values:
            equal = column(name) == value
            rows = found(odd.plain, odd.table, equal)
            assert rows, value
            assert found(odd.searching, odd.table, equal) == rows
            assert found(odd.searching, odd.table, column(name).isin([value])) == rows
            assert found(odd.searching, odd.table, column(name) <= value) == found(
                odd.plain, odd.table, column(name) <= value
            )


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("n = 7", "@n:[7.0 7.0]"),
        ("n < 7", "@n:[-inf 7.0]"),
        ("n > 7 AND x = 'a'", "@n:[7.0 inf]"),
        ("n BETWEEN 1 AND 7", "@n:[1.0 7.0]"),
        ("n IN (1, 7)", "(@n:[1.0 1.0]|@n:[7.0 7.0])"),
        ("n > 7 AND n < 1", "@n:[7.0 7.0]"),
        ("s = 'a b'", r"@s:{a\ b}"),
        ("s IN ('a', 'b;')", r"@s:{a|b\;}"),
        ("s = 'a' OR n = 1", "(@s:{a}|@n:[1.0 1.0])"),
        ("s = 'a' AND (n = 1 OR n = 7)", "(@s:{a} (@n:[1.0 1.0]|@n:[7.0 7.0]))"),
        ("s = 'a' OR x = 'a'", None),
        ("t = 'b;'", None),
        ("s = 'a,b'", None),
        ("s = ''", None),
        ("s = 'é'", None),
        ("s LIKE 'a%'", None),
        ("s < 'b'", None),
        ("s <> 'a'", None),
        ("NOT n = 1", None),
        ("n IS NULL", None),
        ("x = 'a'", None),
        ("h = 1", None),
        ("f = 1.5", None),
        ("f <= 1.5 AND n = 1", "@n:[1.0 1.0]"),
        ("d <= 0.1", "@d:[-inf 0.10000000000000003]"),
    ],
)
def test_what_the_index_is_asked(odd: Indexed, text: str, query: str | None) -> None:
    assert planned(odd.searching, odd.table, text) == query


def test_the_index_lists_the_keys_and_nothing_is_scanned(
    module_server: Server, people: str
) -> None:
    with searching(module_server, scan_count=50) as store:
        rows = len(found(store, people, "age = 5 OR age = 6"))
        module_server.raw.config_resetstat()
        text = "age BETWEEN 5 AND 6 AND size >= 0"
        assert len(found(store, people, text)) == rows == ROWS // 50
        module_server.raw.ping()
    calls = {
        name.removeprefix("cmdstat_").upper(): stat["calls"]
        for name, stat in module_server.raw.info("commandstats").items()
    }
    assert calls["FT.AGGREGATE"] == 1
    assert calls["FT.CURSOR|READ" if "FT.CURSOR|READ" in calls else "FT.CURSOR"] >= 1
    assert calls["HMGET"] == rows
    assert "SCAN" not in calls


def test_limit_sample_and_columns(module_server: Server, people: str) -> None:
    with searching(module_server) as store, open_store(module_server.url) as plain:
        asked: dict[str, Any] = {"filter": "city = 'city 3'"}
        whole = get(store, people, **asked)
        assert whole == get(plain, people, **asked)
        assert read_all(store.source(people, **asked, limit=9)).num_rows == 9
        sample = get(store, people, **asked, sample=0.5)["id"].to_pylist()
        assert 0.3 < len(sample) / whole.num_rows < 0.7
        assert set(sample) < set(whole["id"].to_pylist())
        named = read_all(store.source(people, columns=["__key"], filter="age = 5"))
        assert sorted(named["__key"].to_pylist())[0] == f"{people}:1005"


def test_documents_of_redisjson(module_server: Server, table: str) -> None:
    batch = pa.record_batch(
        {"id": range(50), "n": range(50), "s": [f"s {i % 5}" for i in range(50)], "o.n": range(50)}
    )
    with open_store(module_server.url, model="json") as store:
        put(store, table, batch)
    how = ("ON", "JSON", "PREFIX", 1, f"{table}:")
    fields = "$.n AS en NUMERIC $.s AS es TAG $.o.n AS other NUMERIC"
    create(module_server, table, fields, *how)
    with searching(module_server) as store:
        assert planned(store, table, "n < 9 AND s = 's 1'") == r"(@es:{s\ 1} @en:[-inf 9.0])"
        assert found(store, table, "n < 9 AND s = 's 1'") == [1, 6]
        assert found(store, table, '"o.n" < 2') == [0, 1]


@pytest.mark.parametrize(
    ("text", "query", "rows"),
    [
        ("home.n = 1", None, [1, 8]),
        ("`home.n` = 1", "@hn:[1.0 1.0]", [1, 4, 7]),
        ("n = 1", "@n:[1.0 1.0]", [1]),
        ("n = 1 AND home.n = 1", "@n:[1.0 1.0]", [1]),
        ("n < 9 AND home.n = 1", "@n:[-inf 9.0]", [1, 8]),
        ("n = 9 OR home.n = 1", None, [1, 8, 9]),
        ("home.n IN (1, 2)", None, [1, 2, 8, 9]),
        ("home.s = 'a'", None, [0, 3, 6, 9]),
        ("home.s IN ('a') AND s = 'b'", "@s:{b}", [3, 9]),
        ("home.n BETWEEN 1 AND 2 AND s = 'b'", "@s:{b}", [1, 9]),
    ],
)
def test_a_field_of_a_struct_is_not_the_column_of_its_name(
    module_server: Server, table: str, text: str, query: str | None, rows: list[int]
) -> None:
    homes = [{"n": i % 7, "s": "acd"[i % 3]} for i in range(10)]
    batch = pa.record_batch(
        {
            "id": range(10),
            "n": range(10),
            "s": ["xb"[i % 2] for i in range(10)],
            "home": homes,
            "home.n": [i % 3 for i in range(10)],
        }
    )
    with open_store(module_server.url) as store:
        put(store, table, batch)
        assert found(store, table, text) == rows
    create(module_server, table, "n NUMERIC s TAG home.n AS hn NUMERIC")
    with searching(module_server) as store:
        assert planned(store, table, text) == query
        assert found(store, table, text) == rows


def test_a_filter_that_no_index_answers_is_scanned(
    module_server: Server, people: str, caplog: pytest.LogCaptureFixture
) -> None:
    with searching(module_server) as store, caplog.at_level(logging.INFO):
        assert found(store, people, "city LIKE '%3'") == list(range(3, ROWS, 7))
        assert "cannot answer" in caplog.text
        assert len(ids(store, people)) == ROWS


def test_rows_that_expire_are_left_out(module_server: Server, people: str) -> None:
    with module_server.raw.pipeline() as pipeline:
        for i in range(5, ROWS - 100, 100):
            pipeline.pexpire(f"{people}:{i}", 1)
        pipeline.execute()
    time.sleep(0.002)
    with searching(module_server) as store:
        assert found(store, people, "age = 5") == [ROWS - 95]


@pytest.mark.parametrize("change", ["insert", "delete"])
def test_no_row_is_missed_when_the_index_changes_meanwhile(
    module_server: Server, people: str, change: str
) -> None:
    raw = module_server.raw
    with raw.pipeline() as pipeline:  # rows to be swept out
        for i in range(ROWS, 3 * ROWS):
            pipeline.hset(f"{people}:{i}", mapping={"age": i, "size": i, "city": "x"})
        pipeline.execute()
    with searching(module_server, scan_count=100, max_pipeline_size=100) as store:
        source = store.source(people, filter="age >= 0", columns=["id"], batch_rows=100)
        batches = source.read(source.partitions()[0])
        seen = next(batches)["id"].to_pylist()
        with raw.pipeline() as pipeline:
            for i in range(ROWS, 3 * ROWS):
                if change == "insert":
                    pipeline.hset(f"{people}:{i + 2 * ROWS}", mapping={"age": i * 7, "city": "y"})
                else:
                    pipeline.delete(f"{people}:{i}")
            pipeline.execute()
        if change == "delete":
            raw.execute_command("FT.DEBUG", "GC_FORCEINVOKE", INDEX)
        for batch in batches:
            seen += batch["id"].to_pylist()
    assert set(range(ROWS)) <= set(seen)
    assert len(seen) == len(set(seen))


def test_a_time_limit_of_the_server_does_not_count(module_server: Server, people: str) -> None:
    raw = module_server.raw
    raw.execute_command("FT.CONFIG", "SET", "TIMEOUT", 1)
    raw.execute_command("FT.CONFIG", "SET", "ON_TIMEOUT", "fail")
    try:
        with searching(module_server, scan_count=100_000) as store:
            assert len(found(store, people, "age >= 0")) == ROWS
    finally:
        raw.execute_command("FT.CONFIG", "SET", "TIMEOUT", 500)
        raw.execute_command("FT.CONFIG", "SET", "ON_TIMEOUT", "return")


def test_numbers_that_the_index_compresses(module_server: Server, table: str) -> None:
    raw = module_server.raw
    raw.execute_command("FT.CONFIG", "SET", "_NUMERIC_COMPRESS", "true")
    try:
        values = [Decimal(i) + Decimal("0.001234567") for i in range(1000, 1200)]
        with open_store(module_server.url) as store:
            put(store, table, pa.record_batch({"id": range(200), "d": values}))
        create(module_server, table, "d NUMERIC")
        with searching(module_server) as store:
            for value in values[::10]:
                assert len(found(store, table, column("d") == value)) == 1
                assert planned(store, table, column("d") == value)
    finally:
        raw.execute_command("FT.CONFIG", "SET", "_NUMERIC_COMPRESS", "false")


def open_cursors(server: Server) -> int:
    stats = info(server)["cursor_stats"]
    return int(dict(zip(stats[::2], stats[1::2], strict=True))["global_total"])


def test_closing_early_frees_the_cursor(module_server: Server, people: str) -> None:
    with searching(module_server, scan_count=10, max_pipeline_size=10) as store:
        source = store.source(people, filter="age >= 0", batch_rows=10)
        batches = source.read(source.partitions()[0])
        next(batches)
        assert open_cursors(module_server) == 1
        batches.close()
        assert open_cursors(module_server) == 0
        assert len(found(store, people, "age >= 0")) == ROWS
        assert open_cursors(module_server) == 0


def test_a_cursor_that_was_dropped_is_an_error(module_server: Server, people: str) -> None:
    raw = module_server.raw
    raw.execute_command("FT.CONFIG", "SET", "CURSOR_MAX_IDLE", 20)
    try:
        with searching(module_server, scan_count=10, max_pipeline_size=10) as store:
            source = store.source(people, filter="age >= 0", batch_rows=10)
            batches = source.read(source.partitions()[0])
            next(batches)
            time.sleep(0.1)
            raw.execute_command("FT.CURSOR", "GC", INDEX, 0)
            with pytest.raises(StoreError, match="cursor of index 'people idx' is gone"):
                list(batches)
    finally:
        raw.execute_command("FT.CONFIG", "SET", "CURSOR_MAX_IDLE", 300_000)


def test_an_index_that_was_made_anew_is_an_error(module_server: Server, people: str) -> None:
    with searching(module_server) as store:
        source = store.source(people, filter="age = 5")
        (part,) = source.partitions()
        module_server.raw.execute_command("FT.DROPINDEX", INDEX)
        create(module_server, people, "age NUMERIC", "PREFIX", 1, f"{people}:1")
        with pytest.raises(PlanExpiredError, match="plan again"):
            list(source.read(part))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("PREFIX", 1, "{table}:1"), "has keys that begin with '{table}:1', and not all of"),
        (("PREFIX", 1, "other:"), "has keys that begin with 'other:', and not all of"),
        (("PREFIX", 1, "{table}:", "FILTER", "@age>5"), "leaves out rows by its FILTER"),
        (("ON", "JSON", "PREFIX", 1, "{table}:"), "is of type JSON, and the rows are of HASH"),
    ],
)
def test_an_index_of_other_rows_is_refused(
    module_server: Server, people: str, options: tuple[object, ...], why: str
) -> None:
    module_server.raw.execute_command("FT.DROPINDEX", INDEX)
    made = [str(item).replace("{table}", people) for item in options]
    fields = "$.age AS age NUMERIC" if "JSON" in made else "age NUMERIC"
    create(module_server, people, fields, *made)
    with searching(module_server) as store:
        with pytest.raises(OptionError) as raised:
            found(store, people, "age = 5")
        assert why.replace("{table}", people) in str(raised.value)


def test_an_index_over_more_than_the_table_will_do(module_server: Server, people: str) -> None:
    module_server.raw.execute_command("FT.DROPINDEX", INDEX)
    create(module_server, people, "age NUMERIC", "PREFIX", 2, "x", "t")
    module_server.raw.hset("t-other:5", "age", 5)
    with searching(module_server) as store:
        assert found(store, people, "age = 5") == list(range(5, ROWS, 100))
    with (
        searching(module_server, keys_pattern=f"{people}:*5") as store,
        pytest.raises(OptionError, match="and not all of"),
    ):
        read_all(store.source(people, filter="age = 5"))


def test_fields_that_are_not_searched(module_server: Server, people: str) -> None:
    module_server.raw.execute_command("FT.DROPINDEX", INDEX)
    fields = "age NUMERIC SORTABLE NOINDEX size AS é NUMERIC id NUMERIC"
    create(module_server, people, fields)
    with searching(module_server) as store:
        for text in ("age = 5", "size = 5", "id < 5"):
            assert planned(store, people, text) is None
            assert found(store, people, text)


def test_a_row_that_does_not_fit_the_index_is_an_error(module_server: Server, people: str) -> None:
    with searching(module_server) as store:
        source = store.source(people, filter="age = 5")
        (part,) = source.partitions()
        put(store, people, pa.record_batch({"id": [5], "age": [5], "size": [float("nan")]}))
        with pytest.raises(StoreError, match=rf"lacks rows: .*{people}:5"):
            list(source.read(part))
        with pytest.raises(StoreError, match=r"lacks rows: .*'nan'"):
            source.partitions()


def test_an_index_that_is_being_built_is_an_error(module_server: Server, people: str) -> None:
    raw = module_server.raw
    raw.execute_command("FT.DROPINDEX", INDEX)
    with raw.pipeline() as pipeline:
        for i in range(ROWS, 20 * ROWS):
            pipeline.hset(f"{people}:{i}", "age", i)
        pipeline.execute()
    create(module_server, people, "age NUMERIC", wait=False)
    with searching(module_server) as store, pytest.raises(StoreError, match="still being built"):
        store.source(people, filter="age = 5").partitions()


def test_an_index_that_is_not_there(module_server: Server, people: str) -> None:
    with searching(module_server, search_index="nope") as store:
        with pytest.raises(OptionError, match="no index 'nope'; there are people idx"):
            found(store, people, "age = 5")
        assert found(store, people, "id = 5") == [5]


def test_only_database_0_is_indexed(module_server: Server, people: str) -> None:
    with open_store(module_server.url[:-1] + "1", search_index=INDEX) as store:
        put(store, people, pa.record_batch({"id": [1], "age": [5]}))
        with pytest.raises(OptionError, match="database 0"):
            found(store, people, "age = 5")


def test_other_models_are_not_indexed(module_server: Server, table: str) -> None:
    with open_store(module_server.url, model="string", value_codec="json") as store:
        put(store, table, pa.record_batch({"id": [1], "age": [5]}))
    create(module_server, table, "age NUMERIC")
    with searching(module_server) as store, pytest.raises(OptionError, match="of model"):
        found(store, table, "age = 5")


def test_a_server_without_the_module(server: Server, table: str) -> None:
    with open_store(server.url, search_index=INDEX) as store:
        put(store, table, pa.record_batch({"id": [1], "age": [5]}), mode=WriteMode.APPEND)
        with pytest.raises(OptionError, match="does not have the module RediSearch"):
            found(store, table, "age = 5")


def test_a_cluster_is_refused(redis_cluster: Cluster, table: str) -> None:
    with open_store(redis_cluster.url, search_index=INDEX) as store:
        put(store, table, pa.record_batch({"id": [1], "age": [5]}))
        with pytest.raises(OptionError, match="not for a cluster"):
            found(store, table, "age = 5")
