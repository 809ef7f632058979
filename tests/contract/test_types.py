"""Every type that a column may have comes back as it went in, from every store."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from contract.rows import as_table, get, put
from servers import Server

from connector import SchemaError, Store, WriteMode, WriteOptions, open_store
from connector.aerospike import AerospikeStore

UTC = dt.UTC
ODD_TEXT = [
    "",
    "a\r\nb",
    "\r\n",
    "\n",
    "$5\r\nhello\r\n",
    "*2\r\n",
    "näive 🦜",
    "\x00",
    '"\\',
    None,
]
ODD_BYTES = [b"", b"\r\n", b"\x00\xff\xfe", b"$-1\r\n", bytes(range(256)), None]


def limits(bits: int, signed: bool) -> list[int | None]:
    low = -(1 << bits - 1) if signed else 0
    return [low, 0, 1, low + (1 << bits) - 1, None]


COLUMNS: dict[str, pa.Array] = {
    **{f"int{bits}": pa.array(limits(bits, True), f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": pa.array(limits(bits, False), f"uint{bits}") for bits in (8, 16, 32, 64)},
    "float32": pa.array([0.1, -0.0, 3.4e38, 1e-45, float("inf"), None], pa.float32()),
    "float64": pa.array([0.1, 1 / 3, 1.7e308, 5e-324, float("-inf"), None], pa.float64()),
    "decimal": pa.array(
        [Decimal("-0.01"), Decimal("12345678901234567890.12"), None], pa.decimal128(38, 2)
    ),
    "decimal256": pa.array([Decimal(10) ** 60, Decimal(-1), None], pa.decimal256(70, 3)),
    "bool": pa.array([True, False, None]),
    "string": pa.array(ODD_TEXT),
    "binary": pa.array(ODD_BYTES, pa.binary()),
    "fixed binary": pa.array([b"\r\n\x00", b"abc", None], pa.binary(3)),
    "date": pa.array([dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31), None]),
    "timestamp s": pa.array([-1, 0, 1_700_000_000, None], pa.timestamp("s")),
    "timestamp ms": pa.array([-1, 0, 1_700_000_000_123, None], pa.timestamp("ms")),
    "timestamp us": pa.array([-1, 0, 1_700_000_000_123_456, None], pa.timestamp("us")),
    "timestamp ns": pa.array([-1, 0, 1_700_000_000_123_456_789, None], pa.timestamp("ns")),
    "timestamp utc": pa.array([-1, 1_700_000_000_123_456, None], pa.timestamp("us", "UTC")),
    "timestamp zone": pa.array(
        [0, 1_383_458_400_000_000, None], pa.timestamp("us", "America/New_York")
    ),
    "time": pa.array([dt.time(23, 59, 59, 999_999), dt.time(), None]),
    "duration": pa.array([dt.timedelta(days=-3, microseconds=1), None]),
    "numbers": pa.array([[1, -2, 3], [], [2**62], None], pa.list_(pa.int64())),
    "floats": pa.array([[0.1, -0.0], [], None, [1e30]], pa.list_(pa.float32())),
    "bytes": pa.array([[13, 10, 0], [], None], pa.list_(pa.uint8())),
    "vectors": pa.array([[1.5, 2.5], [3.5, 4.5], None], pa.list_(pa.float32(), 2)),
    "short vectors": pa.array([[13, 10], [0, -1], None], pa.list_(pa.int8(), 2)),
    "strings": pa.array([ODD_TEXT, [], [None], None], pa.list_(pa.string())),
    "map": pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int32())),
    "struct": pa.array([{"x": 1, "y": "\r\n"}, {"x": None, "y": None}, None]),
    "nested": pa.array(
        [
            {
                "at": dt.datetime(2013, 1, 1, 5),
                "legs": [{"to": "LAX", "cost": Decimal("9.90")}, None],
            },
            None,
        ],
        pa.struct(
            [
                ("at", pa.timestamp("us")),
                ("legs", pa.list_(pa.struct([("to", pa.string()), ("cost", pa.decimal128(5, 2))]))),
            ]
        ),
    ),
}


def with_ids(values: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(range(len(values)), pa.int64()), values], ["id", "v"]
    )


# What Aerospike refuses, by tests of its own: integers from 2**63 on, and NUL in text.
_TEXT = [text for text in ODD_TEXT if text != "\x00"]
NARROWER = {
    "uint64": pa.array([0, 1, 2**63 - 1, None], pa.uint64()),
    "string": pa.array(_TEXT),
    "strings": pa.array([_TEXT, [], [None], None], pa.list_(pa.string())),
}


def columns_of(store: Store) -> dict[str, pa.Array]:
    return COLUMNS | NARROWER if isinstance(store, AerospikeStore) else COLUMNS


@pytest.mark.parametrize("kind", COLUMNS)
def test_values_round_trip(store: Store, table: str, kind: str) -> None:
    batch = with_ids(columns_of(store)[kind])
    put(store, table, batch)
    found = get(store, table)
    assert found.schema.equals(batch.schema)
    assert found.equals(as_table(batch))


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_nothing_but_nulls(store: Store, table: str, kind: str) -> None:
    batch = with_ids(pa.nulls(3, COLUMNS[kind].type))
    put(store, table, batch)
    assert get(store, table).equals(as_table(batch))


def test_all_types_in_one_table(store: Store, table: str) -> None:
    columns = [pa.array(range(40), pa.int64())]
    columns += [
        pa.concat_arrays([column] * 40).slice(1, 40) for column in columns_of(store).values()
    ]
    batch = pa.RecordBatch.from_arrays(columns, ["id", *COLUMNS])
    put(store, table, batch)
    assert get(store, table).equals(as_table(batch))
    wanted = ["nested", "string", "id", "vectors"]
    assert get(store, table, columns=wanted).equals(as_table(batch).select(wanted))


def test_not_a_number_stays_one(store: Store, table: str) -> None:
    put(store, table, with_ids(pa.array([float("nan"), 1.0, None])))
    text = [str(value) for value in get(store, table).column("v").to_pylist()]
    assert text == ["nan", "1.0", "None"]


def test_slices_are_written_as_such(store: Store, table: str) -> None:
    columns = [pa.array(range(60), pa.int64())]
    columns += [
        pa.concat_arrays([column] * 60).slice(0, 60) for column in columns_of(store).values()
    ]
    batch = pa.RecordBatch.from_arrays(columns, ["id", *COLUMNS]).slice(11, 17)
    put(store, table, batch)
    assert get(store, table).equals(as_table(batch))


KEYS: dict[str, pa.Array] = {
    "int64": pa.array([-5, 0, 2**62]),
    "uint64": pa.array([0, 2**64 - 1], pa.uint64()),
    "string": pa.array(["a", "ключ", "with space", "a\r\nb", "a:b", "100%", "%3A", "*", "🦜"]),
    "binary": pa.array([b"\x00", b"\r\n", b"\xff\xfe", b":", b"%"], pa.binary()),
    "date": pa.array([dt.date(2013, 1, 1), dt.date(2013, 12, 31)]),
    "timestamp": pa.array([0, 1_383_458_400_000_000], pa.timestamp("us", "UTC")),
    "bool": pa.array([True, False]),
    "decimal": pa.array([Decimal("1.50"), Decimal("-2.00")], pa.decimal128(9, 2)),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_round_trip(store: Store, table: str, kind: str) -> None:
    keys = KEYS[kind]
    if kind == "uint64" and isinstance(store, AerospikeStore):
        keys = pa.array([0, 2**63 - 1], pa.uint64())
    batch = pa.RecordBatch.from_arrays([pa.array(range(len(keys))), keys], ["v", "k"])
    for _ in range(2):
        put(store, table, batch, key=["k"])
    found = get(store, table, "v")
    assert found.equals(as_table(batch))


def test_keys_of_several_columns_round_trip(store: Store, table: str) -> None:
    texts = ["a", "a:", ":a", "%", "%3A", "", ":", "::", "a:b", "\r\n", "é"]
    pairs = [(left, right) for left in texts for right in texts]
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([left for left, _ in pairs]),
            pa.array(range(len(pairs))),
            pa.array([right.encode() for _, right in pairs], pa.binary()),
            pa.array([len(left) for left, _ in pairs], pa.int16()),
        ],
        ["left", "v", "right", "n"],
    )
    for _ in range(2):
        put(store, table, batch, key=["left", "n", "right"])
    assert get(store, table, "v").equals(as_table(batch))


@pytest.mark.parametrize("mode", list(WriteMode))
@pytest.mark.parametrize(
    "odd",
    [pa.nulls(2), pa.array([[1, None], [2]])],
    ids=["the type of nulls", "a null inside a vector"],
)
def test_what_a_server_cannot_hold_names_its_column(
    server: Server, table: str, mode: WriteMode, odd: pa.Array
) -> None:
    with (
        open_store(server.url) as store,
        pytest.raises(SchemaError, match="'v'"),
    ):
        store.write(table, [with_ids(odd)], WriteOptions(key=("id",), mode=mode))
