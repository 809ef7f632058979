"""Secondary indexes: what a server tells of them, and which one is asked for the rows of a filter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import aerospike
import pyarrow as pa
import pytest
from aerospikes import Aerospike
from expression_rows import FAR, NOTHING, SEND, stored_values, wanted

from connector import OptionError
from connector.aerospike.indexes import Index, IndexUse, chosen, parse
from connector.filters import bind, column, parse_filter

LISTED = (
    "ns=test:indexname=i1:set=people:bin=age:type=numeric:indextype=default:context=null:exp=null:state=RW;"
    "ns=test:indexname=i2:set=null:bin=name:type=string:indextype=default:context=null:exp=null:state=WO;"
    "ns=test:indexname=i3:set=people:bin=l:type=numeric:indextype=list:context=k1ECoW4=:exp=null:state=RW;"
    "ns=test:indexname=i4:set=people:bin=null:type=numeric:indextype=default:context=null:"
    'exp=bin_int("a:b;c"):state=RW;'
    "ns=test:indexname=i5:set=people:bin=g:type=geo2dsphere:indextype=default:context=null:exp=null:state=ERROR\n"
)


def test_what_a_server_tells() -> None:
    assert parse(LISTED) == [
        Index("i1", "people", "age", "numeric", "default", None, True),
        Index("i2", None, "name", "string", "default", None, False),
        Index("i3", "people", "l", "numeric", "list", "k1ECoW4=", True),
        Index("i4", "people", None, "numeric", "default", None, True),
        Index("i5", "people", "g", "geo2dsphere", "default", None, False),
    ]
    assert parse("") == parse("\n") == []
    old = "ns=test:indexname=i:set=s:bin=b:type=NUMERIC:indextype=DEFAULT:context=NULL:state=RW;"
    assert parse(old) == [Index("i", "s", "b", "numeric", "default", None, True)]


SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "age": pa.int16(),
        "day": pa.date32(),
        "name": pa.string(),
        "big": pa.uint64(),
        "x": pa.float64(),
        "y": pa.bool_(),
        "home": pa.struct({"age": pa.int64()}),
    }
)


def index(bin: str, type: str = "numeric", **other: Any) -> Index:
    told = {"name": f"{bin}_index", "set": "people", "collection": "default", "context": None}
    return Index(**{**told, "bin": bin, "type": type, "ready": True, **other})


EVERY = [index(name) for name in ("id", "age", "day", "big", "x", "y", "home")] + [
    index("name", "string")
]


def use(text: str, wanted: str = "auto", indexes: list[Index] | None = None) -> IndexUse | None:
    bound = bind(parse_filter(text), SCHEMA, "people")
    some = EVERY if indexes is None else indexes
    return chosen(bound, SCHEMA, some, wanted, table="people", key=("id",))


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("age = 5", "age_index", (5,)),
        ("age = 5 AND name = 'a'", "age_index", (5,)),
        ("age BETWEEN 5 AND 9", "age_index", (5, 9)),
        ("age > 5 AND age < 9 AND age <> 7", "age_index", (6, 8)),
        ("NOT (age <= 5 OR age >= 9)", "age_index", (6, 8)),
        ("age > 5 AND age < 7", "age_index", (6,)),
        ("age BETWEEN 1 AND 9 AND name = 'a'", "name_index", ("a",)),
        ("age BETWEEN 1 AND 9 AND day BETWEEN '1970-01-02' AND '1970-01-03'", "day_index", (1, 2)),
        ("age IN (5, 7, 9)", "age_index", (5, 9)),
        ("age IN (5)", "age_index", (5,)),
        ("day = '1970-01-11'", "day_index", (10,)),
        ("name = 'é'", "name_index", ("é",)),
        ("name IN ('a')", "name_index", ("a",)),
        ("name = ''", "name_index", ("",)),
        ("x = 1.5 AND age = 5", "age_index", (5,)),
    ],
)
def test_the_index_that_is_asked(text: str, name: str, expected: tuple[Any, ...]) -> None:
    found = use(text)
    assert found is not None
    assert found.index.name == name
    assert found.predicate[3:][: len(expected)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "id = 5",  # the key is in no bin
        "age > 5",  # may be nearly all rows
        "age <> 5",
        "age = 5 OR name = 'a'",
        "age IS NULL",
        "age IN (1, 1000)",
        "age = 5 AND age = 6",  # nothing: a scan finds that out quickly, and the server refuses such a range
        "home.age = 5",
        "big = 5",
        "x = 1.0",
        "x BETWEEN 1 AND 2",
        "y = TRUE",
        "name > 'a'",
        "name IN ('a', 'b')",
        "NOT name IN ('a')",
        "startswith(name, 'a')",
        "name = '{\"type\"'",  # GeoJSON reads as text, and is not in the index
        f"name = '{'é' * 1025}'",  # nor is a text of over 2048 bytes
        "name = 'a\0b'",
    ],
)
def test_filters_that_no_index_is_asked_for(text: str) -> None:
    assert use(text) is None


def test_an_index_that_is_named_is_asked_for_open_ranges_too() -> None:
    found = use("age > 5", "age_index")
    assert found is not None
    assert found.predicate[3:5] == (6, FAR)
    assert use("name = 'a'", "age_index") is None
    assert use("age = 5 AND name = 'a'", "name_index") is not None
    assert chosen(None, SCHEMA, EVERY, "age_index", table="people") is None
    assert use("age = 5", "off") is None


@pytest.mark.parametrize(
    "other",
    [
        index("age", ready=False),
        index("age", set="others"),
        index("age", collection="list"),
        index("age", context="k1ECoW4="),
        index("age", "string"),
        index("age", "blob"),
        Index("age_index", "people", None, "numeric", "default", None, True),
    ],
    ids=str,
)
def test_an_index_that_lacks_rows_is_not_asked(other: Index) -> None:
    assert use("age = 5", indexes=[other]) is None
    with pytest.raises(OptionError, match=r"'age_index' is .* can use: name_index"):
        use("age = 5", "age_index", [other, index("name", "string")])


def test_an_index_that_is_not_there() -> None:
    with pytest.raises(OptionError, match="'nope' is not there; table 'people' can use: age_index"):
        use("age = 5", "nope", [index("age"), index("x")])
    with pytest.raises(OptionError, match="can use: none"):
        use("age = 5", "nope", [])


def test_an_index_of_the_namespace_is_also_of_the_set() -> None:
    assert use("age = 5", indexes=[index("age", set=None)]) is not None


def test_an_index_of_its_own_that_is_not_ready_stands_before_that_of_the_namespace() -> None:
    """As the server asks that one, and fails."""
    own, common = index("age", ready=False), index("age", set=None, name="common")
    assert use("age = 5", indexes=[own, common]) is None
    assert use("age = 5", indexes=[common, own]) is None


def test_bins_of_other_names() -> None:
    bound = bind(column("age") == 5, SCHEMA, "people")
    some = [index("a"), index("age", name="stale")]
    found = chosen(bound, SCHEMA, some, "auto", table="people", bins={"age": "a"})
    assert found is not None
    assert (found.index.name, found.predicate[2]) == ("a_index", "a")


ROWS = list(zip(stored_values(pa.int64()), stored_values(pa.string()), strict=False))


@pytest.fixture
def indexed(aerospike_server: Aerospike, table: str) -> Iterator[tuple[Aerospike, str]]:
    """A server with records of values of every type in ``n`` and ``s``, and with an index of each."""
    raw, namespace = aerospike_server.raw, aerospike_server.namespace
    for at, (number, text) in enumerate(ROWS):
        pairs = {"n": number, "s": text, "o": 1}.items()
        bins = {name: value for name, value in pairs if value is not NOTHING}
        raw.put((namespace, table, at), bins, policy=SEND)
    raw.put((namespace, f"{table}x", "other"), {"n": 1, "s": "a"}, policy=SEND)
    names = [f"{table}{bin}" for bin in "ns"]
    raw.index_single_value_create(namespace, table, "n", aerospike.INDEX_NUMERIC, names[0])
    raw.index_single_value_create(namespace, None, "s", aerospike.INDEX_STRING, names[1])
    yield aerospike_server, table
    for name in names:
        raw.index_remove(namespace, name)


def listed(server: Aerospike) -> list[Index]:
    """What the server tells, when all indexes are ready."""
    for _ in range(200):
        ((error, answer),) = server.raw.info_all(
            f"sindex-list:namespace={server.namespace};b64=true"
        ).values()
        assert error is None
        found = parse(answer)
        if all(one.ready for one in found):
            return found
        time.sleep(0.05)
    raise AssertionError("the indexes do not become ready")


QUERIES = [
    "n = 1", "n BETWEEN -1 AND 255", "n > 100", "n IN (0, 1, 2)", "n >= 9223372036854775807",
    "n <= -9223372036854775807", "s = 'a'", "s = 'é'", "s = ''", "s = 'é' AND n > 0",
]  # fmt: skip


def test_an_index_gives_every_wanted_row(indexed: tuple[Aerospike, str]) -> None:
    server, table = indexed
    columns = pa.schema({"n": pa.int64(), "s": pa.string()})
    indexes = listed(server)
    for text in QUERIES:
        bound = bind(parse_filter(text), columns, table)
        name = f"{table}{text[0]}"
        use = chosen(bound, columns, indexes, name, table=table)
        assert use is not None
        assert use.index.name == name
        query = server.raw.query(server.namespace, table)
        query.where(use.predicate)
        found = {key[2] for key, _, _ in query.results()}
        expected = wanted(bound, columns, enumerate(ROWS))
        assert expected, text
        assert expected <= found, text
        assert "other" not in found


def test_what_a_live_server_tells(aerospike_server: Aerospike, table: str) -> None:
    raw, namespace = aerospike_server.raw, aerospike_server.namespace
    raw.index_list_create(namespace, table, "l", aerospike.INDEX_STRING, f"{table}l")
    raw.index_single_value_create(namespace, table, "b", aerospike.INDEX_BLOB, f"{table}b")
    try:
        found = {one.name: one for one in listed(aerospike_server) if table in one.name}
        assert found == {
            f"{table}l": Index(f"{table}l", table, "l", "string", "list", None, True),
            f"{table}b": Index(f"{table}b", table, "b", "blob", "default", None, True),
        }
    finally:
        for name in (f"{table}l", f"{table}b"):
            raw.index_remove(namespace, name)
