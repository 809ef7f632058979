"""Records for the tests of server expressions, and what of them a filter wants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import aerospike
import pyarrow as pa
import pyarrow.types as pt
from aerospikes import Aerospike

from connector.filters import Filter, evaluate

SEND = {"key": aerospike.POLICY_KEY_SEND}
POINT = '{"type": "Point", "coordinates": [1.0, 2.0]}'
GEO = aerospike.GeoJSON(POINT)
NOTHING = object()
FAR = 2**63 - 1


def put(server: Aerospike, table: str, values: Sequence[Any], bin: str = "c") -> None:
    """Records 0, 1, 2... with these values in a bin; none for NOTHING."""
    for at, value in enumerate(values):
        bins = {"other": 1} | ({} if value is NOTHING else {bin: value})
        server.raw.put((server.namespace, table, at), bins, policy=SEND)


def passed(server: Aerospike, table: str, expression: Any) -> set[Any]:
    """The user keys of the records that a scan gives with an expression."""
    policy = {} if expression is None else {"expressions": expression.compile()}
    found = server.raw.query(server.namespace, table).results(policy)
    return {bytes(key[2]) if isinstance(key[2], bytearray) else key[2] for key, _, _ in found}


def decoded(value: Any, kind: pa.DataType) -> pa.Array | None:
    """One stored value as the column has it; None for a bad field. Written apart from the store."""
    if value is NOTHING:
        return pa.nulls(1, kind)
    whole = type(value) is int
    if pt.is_boolean(kind):
        good = type(value) is bool or (whole and value in (0, 1))
        return pa.array([bool(value)], kind) if good else None
    if pt.is_floating(kind):
        good = whole or type(value) is float
        return pa.array([float(value)], pa.float64()).cast(kind) if good else None
    if pt.is_string(kind):
        text = str(value) if isinstance(value, aerospike.GeoJSON) else value
        return pa.array([text], kind) if isinstance(text, str) else None
    carrier: pa.DataType
    if pt.is_decimal(kind):
        good, carrier = isinstance(value, str), pa.string()
    elif pt.is_binary(kind) or pt.is_fixed_size_binary(kind):
        good, carrier = isinstance(value, bytes | bytearray), pa.binary()
    else:
        good, carrier = whole, pa.int32() if kind.bit_width == 32 else pa.int64()
        carrier = kind if pt.is_integer(kind) else carrier
    try:
        return pa.array([value], carrier).cast(kind) if good else None
    except (pa.ArrowInvalid, OverflowError):
        return None


def wanted(filter: Filter, columns: pa.Schema, rows: Iterable[tuple[Any, Sequence[Any]]]) -> set:
    """The keys of rows that pass a bound filter, of those without a bad field."""
    found = set()
    for key, values in rows:
        arrays = [decoded(value, field.type) for value, field in zip(values, columns, strict=True)]
        if None not in arrays:
            batch = pa.RecordBatch.from_arrays(arrays, schema=columns)
            if evaluate(filter, batch)[0].as_py():
                found.add(key)
    return found


INTEGERS = [0, 1, -1, 2, 7, 127, 128, -128, 255, 2**31, 2**53, 2**53 + 1, FAR, -FAR - 1, -FAR]
FLOATS = [
    0.0, -0.0, 1.0, 1.5, 0.1, -2.5, math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324, 2.0**53,
    3.4028235677973366e38, 65519.99, 65520.0, 16777217.0, 0.10000000149011612, 2.0**63, 9.5e18,
]  # fmt: skip
TEXTS = [
    "", "a", "ab", "abc", "b", "a.c", "a+", "(a)", "a|b", "a\nb", "a b", "A", "é", "éa", "aé", "日本",
    "😀", "a😀b", "\U0010ffff", "\U0010ffffa", "\ud7ff", "\ue000", "%", "_", "\\", "a\\b", "a_c", "^a",
    "a$", "[a]", "{a}", "*", "?", "{", "}", "1", "1.5", "zz", "x" * 3000,
]  # fmt: skip
BLOBS = [b"", b"a", b"ab", b"\x00", b"a\x00", b"a\x00b", b"\xff", b"\xff\xff", b"\xffa", b"b"]
DECIMALS = [
    "1.5", "1.50", "+1.5", "01.50", "1.500", "15e-1", "0", "-0", "0.0", "00", ".0", "0.", "1", "1.", "-1.50",
    "10", "100", "1E2", "0.01", ".01", "-.01", "00.010", "999.99", "1.505", "x", " 1.5", "", "+", "1.05",
]  # fmt: skip
NUMBERS = [*INTEGERS, *FLOATS]
WRONG = [*NUMBERS[:4], 1.5, "a", b"a", True, False, [1], {"a": 1}, GEO]


def stored_values(kind: pa.DataType) -> list[Any]:
    if pt.is_floating(kind):
        return [NOTHING, *NUMBERS, *WRONG]
    if pt.is_string(kind):
        return [NOTHING, *TEXTS, *WRONG]
    if pt.is_decimal(kind):
        return [NOTHING, *DECIMALS, *WRONG]
    if pt.is_binary(kind) or pt.is_fixed_size_binary(kind):
        return [NOTHING, *BLOBS, *WRONG]
    if pt.is_temporal(kind):
        per_day = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400 * 10**9}
        day = 1 if pt.is_date32(kind) else per_day["ms" if pt.is_date64(kind) else kind.unit]
        near = [15_736 * day + off for off in (-day, -1, 0, 1, 999, 1000, day)]
        return [NOTHING, *near, 0, 1, -1, *WRONG]
    return [NOTHING, *INTEGERS, *WRONG]


STRUCT = pa.struct(
    {
        "n": pa.int64(),
        "x": pa.float64(),
        "s": pa.string(),
        "b": pa.bool_(),
        "t": pa.timestamp("ms"),
        "in": pa.struct({"n": pa.int32(), "deep": pa.struct({"s": pa.string()})}),
    }
)
STRUCTS: list[dict[str, Any] | None] = [
    None,
    {},
    {"n": 5, "x": 1.5, "s": "a", "b": True, "t": 1_359_590_400_000, "in": {"n": 1, "deep": {"s": "x"}}},
    {"n": None, "x": math.nan, "s": "", "b": False, "in": None},
    {"n": -1, "x": -0.0, "s": "é", "t": 0, "in": {"n": None, "deep": None}},
    {"n": FAR, "x": math.inf, "in": {"deep": {"s": None}}},
    {"n": 7, "x": 2.0, "s": "{z", "in": {"n": 7, "deep": {"s": "abc"}}},
]  # fmt: skip
