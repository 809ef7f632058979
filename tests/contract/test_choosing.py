"""Which rows are read, on every store: by filter, by key, by limit and by sample; and deleting them."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from contract.rows import SCHEMA, as_table, get, ids, people, put

from connector import OptionError, SchemaError, Store, TableNotFoundError, read_all
from connector.filters import column
from connector.scan import KeyList

ROWS = 3500


def chosen(store: Store, table: str, **asked: object) -> list[int]:
    found = read_all(store.source(table, **asked))  # type: ignore[arg-type]
    return sorted(found.column("id").to_pylist())


def expected(test: str) -> list[int]:
    rows = people(ROWS).to_pylist()
    return [row["id"] for row in rows if eval(test, {}, row)]


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("id >= 3000", "id >= 3000"),
        ("size < 10 AND NOT id IN (1, 2)", "size is not None and size < 10 and id not in (1, 2)"),
        ("name IS NULL OR id = 5", "name is None or id == 5"),
        ("size IS NULL", "size is None"),
        ("id BETWEEN 5 AND 8", "5 <= id <= 8"),
        ("id < 0", "False"),
    ],
)
def test_only_rows_that_pass_the_filter(store: Store, table: str, text: str, test: str) -> None:
    put(store, table, people(ROWS))
    assert chosen(store, table, filter=text, parts=3) == expected(test)
    assert chosen(store, table, filter=text, columns=["id"], batch_rows=100) == expected(test)


HOMES = pa.RecordBatch.from_pydict(
    {
        "id": [0, 1, 2, 3, 4],
        "home": [
            {"city": "Oslo", "at": {"x": 1, "y": 1.5}},
            {"city": None, "at": {"x": None, "y": None}},
            {"city": "Rome", "at": None},
            None,
            {"city": "Bonn", "at": {"x": 2, "y": None}},
        ],
        "home.city": ["Rome", "Rome", None, "Oslo", None],
    },
    schema=pa.schema(
        {
            "id": pa.int64(),
            "home": pa.struct(
                {"city": pa.string(), "at": pa.struct({"x": pa.int64(), "y": pa.float64()})}
            ),
            "home.city": pa.string(),
        }
    ),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("home.city = 'Rome'", [2]),
        ("`home.city` = 'Rome'", [0, 1]),
        ("home.city IS NULL", [1, 3]),
        ("home.at IS NULL", [2, 3]),
        ("home.at.x IS NULL", [1, 2, 3]),
        ("NOT home.at.x = 1", [4]),
        ("home.at.x IN (1, 2) AND home.at.y > 1", [0]),
        ("startswith(home.city, 'B') OR id = 1", [1, 4]),
        ("id IN (0, 2, 3) AND home.city >= 'P'", [2]),
    ],
)
def test_rows_by_fields_of_a_struct(store: Store, table: str, text: str, found: list[int]) -> None:
    put(store, table, HOMES)
    assert chosen(store, table, filter=text) == found
    assert chosen(store, table, filter=text, columns=["id"]) == found


BAGS = pa.RecordBatch.from_pydict(
    {
        "id": [0, 1, 2, 3, 4],
        "city": ["Oslo", "Bonn\n", None, "bonn", ""],
        "tags": [["a", "b"], ["b", None], [], None, ["é"]],
        "sizes": [[1, 2], [3], [], None, [-1]],
        "pair": [[0.5, 1.0], None, [0.0, float("nan")], [-0.0, 2.0], [1.0, 1.0]],
        "counts": [[("a", 1), ("b", None)], [], None, [("", 3)], [("b", 1)]],
        "box": [{"days": [1, None]}, {"days": None}, None, {"days": [2]}, {"days": []}],
    },
    schema=pa.schema(
        {
            "id": pa.int64(),
            "city": pa.string(),
            "tags": pa.list_(pa.string()),
            "sizes": pa.list_(pa.int64()),
            "pair": pa.list_(pa.float64(), 2),
            "counts": pa.map_(pa.string(), pa.int64()),
            "box": pa.struct({"days": pa.list_(pa.int64())}),
        }
    ),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("array_contains(tags, 'b')", [0, 1]),
        ("NOT array_contains(tags, 'a')", [2, 4]),
        ("array_contains(tags, 'é') OR id = 3", [3, 4]),
        ("array_contains(sizes, 3.0)", [1]),
        ("NOT array_contains(sizes, 0.5)", [0, 1, 2, 4]),
        ("array_contains(pair, 0) AND NOT array_contains(pair, 2)", [2]),
        ("array_contains(pair, double('nan'))", [2]),
        ("map_contains_key(counts, 'b')", [0, 4]),
        ("NOT map_contains_key(counts, 'b')", [1, 3]),
        ("id IN (0, 1, 3) AND NOT map_contains_key(counts, '')", [0, 1]),
        ("array_contains(box.days, 1)", [0]),
        ("NOT array_contains(box.days, 1)", [3, 4]),
        ("rlike(city, '(?i)^b.*n')", [1, 3]),
        ("city RLIKE 'o' AND city NOT RLIKE 'nn$'", [0, 1]),
        ("city NOT RLIKE '.'", [4]),
    ],
)
def test_rows_by_lists_maps_and_patterns(
    store: Store, table: str, text: str, found: list[int]
) -> None:
    put(store, table, BAGS)
    assert chosen(store, table, filter=text) == found
    assert chosen(store, table, filter=text, columns=["id"]) == found


def test_a_field_that_is_not_there(store: Store, table: str) -> None:
    put(store, table, HOMES)
    with pytest.raises(SchemaError, match=f"{table}.* 'home.at' has no field 'z'.* it has x, y"):
        store.source(table, filter=column("home", "at", "z") == 1)
    with pytest.raises(SchemaError, match="'home.city' of type string is no struct"):
        store.source(table, filter="home.city.x = 1")
    with pytest.raises(SchemaError, match=f"{table}.* 'home.city' of type string.*only a list"):
        store.source(table, filter="array_contains(home.city, 'Rome')")
    with pytest.raises(OptionError, match="'home.city' RLIKE"):
        store.source(table, filter="rlike(home.city, '(')")


def test_columns_of_the_filter_need_not_be_asked_for(store: Store, table: str) -> None:
    put(store, table, people(ROWS))
    found = read_all(store.source(table, columns=["name"], filter=column("size") > 870))
    assert found.column_names == ["name"]
    assert found.num_rows == len(expected("size is not None and size > 870"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id = 7", [7]),
        ("id IN (7, 8, 7, 999999)", [7, 8]),
        ("id IN (7, 8) AND size > 1.9", [8]),
        ("id = 7 AND id = 8", []),
        ("name = 'x' AND id = 7", []),
    ],
)
def test_a_filter_on_the_key_is_a_lookup(
    store: Store, table: str, text: str, found: list[int]
) -> None:
    put(store, table, people(ROWS))
    source = store.source(table, filter=text, parts=2)
    listed = [isinstance(part, KeyList) for part in source.partitions()]
    assert all(listed) if store.finds_by_key(source.scan) else not any(listed)
    assert chosen(store, table, filter=text) == found
    assert pickle.loads(pickle.dumps(source.partitions())) == source.partitions()


@pytest.mark.parametrize(
    "keys", [[5, 3, 5, -1], pa.array([5, 3, 5, -1]), pa.table({"id": [5, 3, 5, -1]}), [(5,), (3,)]]
)
def test_rows_of_given_keys(store: Store, table: str, keys: object) -> None:
    put(store, table, people(ROWS))
    assert chosen(store, table, keys=keys) == [3, 5]
    assert chosen(store, table, keys=keys, filter="id > 3") == [5]
    assert chosen(store, table, keys=[]) == []


def test_keys_of_several_columns(store: Store, table: str) -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1, 1, 2], "v": [7, None, 9], "b": ["x", "y:z", "x"]})
    put(store, table, batch, key=("b", "a"))
    found = read_all(store.source(table, keys=[("x", 2), ("y:z", 1), ("none", 1)]))
    assert sorted(found.column("v").to_pylist(), key=str) == [9, None]
    found = read_all(store.source(table, filter="a IN (1, 2) AND b = 'x'"))
    assert sorted(found.column("v").to_pylist()) == [7, 9]
    with pytest.raises(SchemaError, match="b, a"):
        store.source(table, keys=[1])


@pytest.mark.parametrize("limit", [0, 1, 10, 64, 65, 1000, ROWS, 10 * ROWS])
def test_a_limit_is_kept_in_all(store: Store, table: str, limit: int) -> None:
    put(store, table, people(ROWS))
    found = chosen(store, table, limit=limit, parts=5, batch_rows=300)
    assert len(found) == len(set(found)) == min(limit, ROWS)
    few = chosen(store, table, limit=limit, filter="id >= 3490")
    assert len(few) == min(limit, 10) and set(few) <= set(range(3490, 3500))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.001])
def test_a_sample_has_about_its_share(store: Store, table: str, share: float) -> None:
    put(store, table, people(ROWS))
    found = chosen(store, table, sample=share, parts=4)
    assert len(found) == len(set(found))
    slack = 5 * (ROWS * share * (1 - share)) ** 0.5 + 1
    assert abs(len(found) - ROWS * share) <= slack


@pytest.mark.parametrize("asked", [{"limit": -1}, {"sample": 0.0}, {"sample": 1.5}])
def test_what_cannot_be_asked_for(store: Store, table: str, asked: dict[str, object]) -> None:
    put(store, table, people(3))
    with pytest.raises(SchemaError, match=table):
        store.source(table, **asked)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="no column 'age'"):
        store.source(table, filter="age > 3")


def test_other_choices_have_other_fingerprints(store: Store, table: str) -> None:
    put(store, table, people(3))
    plain = store.source(table)
    others = [
        store.source(table, filter="id > 1"),
        store.source(table, filter="id > 2"),
        store.source(table, limit=2),
        store.source(table, sample=0.5),
        store.source(table, keys=[1]),
        store.source(table, keys=[2]),
    ]
    assert len({source.fingerprint for source in [plain, *others]}) == 7
    assert store.source(table, filter="id > 1").fingerprint == others[0].fingerprint


def test_a_lookup_keeps_order_and_missing_keys(store: Store, table: str) -> None:
    put(store, table, people(ROWS))
    found = store.lookup(table, [9, 3, -4, 9, 2], ["size"])
    assert found.to_pydict() == {"id": [9, 3, -4, 9, 2], "size": [2.25, 0.75, None, 2.25, None]}
    assert found.schema == pa.schema([SCHEMA.field("id"), SCHEMA.field("size")])
    every = store.lookup(table, pa.array(range(100)))
    assert every.to_pylist() == people(100).to_pylist()
    assert store.lookup(table, []).num_rows == 0
    assert store.lookup(table, [-1, -2]).to_pydict()["name"] == [None, None]


def test_a_lookup_by_several_columns(store: Store, table: str) -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1, 1, 2], "v": [7, None, 9], "b": ["x", "y", "x"]})
    put(store, table, batch, key=("b", "a"))
    found = store.lookup(table, pa.table({"a": [2, 5], "b": ["x", "y"], "other": [0, 0]}))
    assert found.to_pydict() == {"b": ["x", "y"], "a": [2, 5], "v": [9, None]}


def test_lookups_that_cannot_be(store: Store, table: str) -> None:
    with pytest.raises(TableNotFoundError):
        store.lookup(table, [1])
    put(store, table, people(3))
    with pytest.raises(SchemaError, match="'id' of type int64"):
        store.lookup(table, ["one"])
    with pytest.raises(SchemaError, match="no column 'age'"):
        store.lookup(table, [1], ["age"])
    with pytest.raises(SchemaError, match="null"):
        store.lookup(table, [1, None])


def test_rows_are_deleted_by_key(store: Store, table: str) -> None:
    put(store, table, people(100))
    put(store, f"{table}2", people(5))
    assert store.delete(table, [3, 5, 5, 1000]) == 2
    assert store.delete(table, pa.table({"id": range(50, 200)})) == 50
    assert ids(store, table) == [i for i in range(50) if i not in (3, 5)]
    assert get(store, f"{table}2").equals(as_table(people(5)))
    assert store.delete(table, []) == 0


def test_a_dropped_table_is_gone(store: Store, table: str) -> None:
    put(store, table, people(100))
    put(store, f"{table}2", people(5))
    assert store.drop(table) == 100
    with pytest.raises(TableNotFoundError):
        store.schema(table)
    with pytest.raises(TableNotFoundError):
        store.drop(table)
    assert get(store, f"{table}2").equals(as_table(people(5)))
