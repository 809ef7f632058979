"""What written columns are in their bins, as the official client reads them; and what is refused."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from aerospikes import Aerospike
from contract.rows import get

from connector import SchemaError, Store, WriteOptions, open_store
from connector.aerospike.encoding import bin_values, row_operations

BY_ID = WriteOptions(key=("id",))
DAY = dt.date(2013, 1, 1)
MOMENT = dt.datetime(2013, 1, 1, 5, 17)
LEG = pa.struct([("to", pa.string()), ("cost", pa.decimal128(5, 2))])


@pytest.fixture
def store(aerospike_server: Aerospike) -> Iterator[Store]:
    with open_store(aerospike_server.url) as opened:
        yield opened


def bins(server: Aerospike, table: str, key: Any) -> dict[str, Any]:
    found: dict[str, Any] = server.raw.get((server.namespace, table, key))[2]
    return found


def rows(values: pa.Array) -> pa.RecordBatch:
    return pa.record_batch({"id": range(len(values)), "v": values})


STORED: dict[str, tuple[pa.Array, object]] = {
    "bool": (pa.array([True]), True),
    "int8": (pa.array([-128], pa.int8()), -128),
    "int64": (pa.array([-(2**63)]), -(2**63)),
    "uint64": (pa.array([2**63 - 1], pa.uint64()), 2**63 - 1),
    "float16": (pa.array([1.5], pa.float16()), 1.5),
    "float32": (pa.array([0.1], pa.float32()), 0.10000000149011612),
    "float64": (pa.array([-0.0]), -0.0),
    "infinity": (pa.array([math.inf]), math.inf),
    "decimal": (pa.array([Decimal("-1.50")]), "-1.50"),
    "string": (pa.array(["näive 🦜\r\n"]), "näive 🦜\r\n"),
    "empty string": (pa.array([""]), ""),
    "dictionary": (pa.array(["a"]).dictionary_encode(), "a"),
    "binary": (pa.array([b"\x00\xff\r\n"]), b"\x00\xff\r\n"),
    "empty binary": (pa.array([b""]), b""),
    "fixed binary": (pa.array([b"abc"], pa.binary(3)), b"abc"),
    "date": (pa.array([DAY]), 15706),
    "date64": (pa.array([DAY], pa.date64()), 15706 * 86_400_000),
    "timestamp": (pa.array([MOMENT], pa.timestamp("ms")), 1_357_017_420_000),
    "zone": (pa.array([0], pa.timestamp("s", "America/New_York")), 0),
    "time": (pa.array([dt.time(0, 0, 1)], pa.time32("ms")), 1000),
    "duration": (pa.array([dt.timedelta(days=-1)], pa.duration("s")), -86_400),
    "list": (pa.array([[1, None, 3]]), [1, None, 3]),
    "empty list": (pa.array([[]], pa.list_(pa.int64())), []),
    "vector": (pa.array([[0.5, 1.5]], pa.list_(pa.float32(), 2)), [0.5, 1.5]),
    "bools": (pa.array([[True, False]]), [True, False]),
    "blobs": (pa.array([[b"", b"\x00"]]), [b"", b"\x00"]),
    "map": (
        pa.array([[("a", None), ("b", 1)]], pa.map_(pa.string(), pa.int32())),
        {"a": None, "b": 1},
    ),
    "empty map": (pa.array([[]], pa.map_(pa.string(), pa.int32())), {}),
    "map of dates": (pa.array([[(DAY, True)]], pa.map_(pa.date32(), pa.bool_())), {15706: True}),
    "map of bytes": (pa.array([[(b"\x00", 1)]], pa.map_(pa.binary(), pa.int8())), {b"\x00": 1}),
    "struct": (pa.array([{"x": 1}], pa.struct([("x", pa.int8()), ("y", pa.date32())])), {"x": 1}),
    "struct of nulls": (pa.array([{"x": None}], pa.struct([("x", pa.int8())])), {}),
    "nested": (
        pa.array(
            [{"legs": [{"to": "LAX", "cost": None}, None, {"to": None, "cost": Decimal("9.90")}]}],
            pa.struct([("legs", pa.list_(LEG))]),
        ),
        {"legs": [{"to": "LAX"}, None, {"cost": "9.90"}]},
    ),
    "structs in a map": (
        pa.array([[("a", {"to": "x", "cost": None}), ("b", None)]], pa.map_(pa.string(), LEG)),
        {"a": {"to": "x"}, "b": None},
    ),
}


@pytest.mark.parametrize("kind", STORED)
def test_values_in_their_bins(
    aerospike_server: Aerospike, store: Store, table: str, kind: str
) -> None:
    values, expected = STORED[kind]
    store.write(table, [rows(values)], BY_ID)
    found = bins(aerospike_server, table, 0)["v"]
    assert found == expected
    assert type(found) is type(expected)
    assert get(store, table).column("v").to_pylist() == values.to_pylist()


def test_maps_come_back_in_the_order_of_their_keys(store: Store, table: str) -> None:
    given = pa.array([[("b", 1), ("c", 2), ("a", 3)]], pa.map_(pa.string(), pa.int64()))
    store.write(table, [rows(given)], BY_ID)
    assert get(store, table).column("v").to_pylist() == [[("a", 3), ("b", 1), ("c", 2)]]


def test_not_a_number_is_stored_as_one(
    aerospike_server: Aerospike, store: Store, table: str
) -> None:
    store.write(table, [rows(pa.array([math.nan]))], BY_ID)
    assert math.isnan(bins(aerospike_server, table, 0)["v"])


MISFITS = {
    "a NUL": (pa.array(["a\0b"]), "NUL character"),
    "a NUL in a list": (pa.array([["a"], ["b", "\0"]]), "NUL character"),
    "a NUL in a key of a map": (
        pa.array([[("\0", 1)]], pa.map_(pa.string(), pa.int8())),
        "NUL character",
    ),
    "a NUL in a struct": (pa.array([{"x": [{"y": "\0"}]}]), "NUL character"),
    "too large": (pa.array([1, 2**63], pa.uint64()), "9223372036854775808.*cast"),
    "too large in a list": (pa.array([[2**64 - 1]], pa.list_(pa.uint64())), "18446744073709551615"),
    "one key twice": (
        pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8())),
        "map with one key twice",
    ),
    "no UTF-8": (
        pa.StringArray.from_buffers(
            1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
        ),
        "not UTF-8",
    ),
}


@pytest.mark.parametrize("what", MISFITS)
def test_values_that_no_bin_holds(store: Store, table: str, what: str) -> None:
    values, why = MISFITS[what]
    with pytest.raises(SchemaError, match=f"(?s)'v'.*{why}"):
        store.write(table, [rows(values)], BY_ID)


TYPES = {
    "nulls": (pa.null(), "cannot be stored"),
    "keys of doubles": (pa.map_(pa.float64(), pa.int8()), "map with keys .* double"),
    "keys of booleans": (pa.list_(pa.map_(pa.bool_(), pa.int8())), "map with keys .* bool"),
    "keys of lists": (pa.map_(pa.list_(pa.int8()), pa.int8()), "map with keys"),
    "fields of one name": (pa.struct([("x", pa.int8()), ("x", pa.int8())]), "rename"),
    "months": (pa.month_day_nano_interval(), "cannot be stored"),
}


@pytest.mark.parametrize("what", TYPES)
def test_types_that_no_bin_holds_are_refused_before_any_row(
    store: Store, table: str, what: str
) -> None:
    kind, why = TYPES[what]
    schema = pa.schema([("id", pa.int64()), ("v", kind)])
    with pytest.raises(SchemaError, match=f"(?s)'v'.*{why}"):
        store.begin(table, schema, BY_ID)


def test_what_a_slice_leaves_out_does_not_matter() -> None:
    texts = pa.array([["\0"], ["a"], ["\0"]])
    maps = pa.array([[("\0", 1)], [("a", 1)], [("\0", 2)]], pa.map_(pa.string(), pa.int8()))
    assert bin_values("v", texts.slice(1, 1)) == [["a"]]
    assert bin_values("v", maps.slice(1, 1)) == [{"a": 1}]
    assert bin_values("v", maps.slice(1, 0)) == []


def test_every_record_has_a_bin() -> None:
    batch = pa.record_batch({"a": pa.array([1, None, None]), "b": pa.array([None, 2, None])})
    names = {"a": "a", "b": "other"}

    def written(nulls: bool) -> list[dict[str, Any]]:
        return [
            {one["bin"]: one["val"] for one in row}
            for row in row_operations(batch, names, nulls=nulls)
        ]

    assert written(True) == [
        {"a": 1, "other": None},
        {"a": None, "other": 2},
        {"a": None, "other": None, "_kvlake": 1},
    ]
    assert written(False) == [{"a": 1}, {"other": 2}, {"_kvlake": 1}]
    bare = row_operations(batch.select([]), {}, nulls=True)
    assert [[one["bin"] for one in row] for row in bare] == [["_kvlake"]] * 3
