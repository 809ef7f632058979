"""What is encoded decodes to the same, and what cannot be is refused by name."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from core.arrays import any_type, arrays, flat, numbers
from hypothesis import example, given
from hypothesis import strategies as st

from connector import DecodeError, SchemaError
from connector.codecs import decode, decode_keys, encode, encode_keys, stored_type, unparsable

texts = st.text(max_size=6) | st.sampled_from([":", "%", "%3A", "%25", "a:b", "\r\n", ""])


@given(arrays(any_type))
def test_round_trip(values: pa.Array) -> None:
    stored = encode("c", values)
    assert stored.type == pa.binary()
    assert stored.null_count == values.null_count
    stored.validate(full=True)
    found = decode("c", stored, values.type)
    found.validate(full=True)
    assert found.type == stored_type("c", values.type) == values.type
    assert found.equals(values)


@given(arrays(any_type))
def test_round_trip_of_what_a_wire_hands_over(values: pa.Array) -> None:
    """Read values are slices at odd addresses: nothing may depend on offsets or alignment."""
    stored = pa.concat_arrays([pa.array([b"odd"]), encode("c", values), pa.array([b"ends"])])
    assert decode("c", stored.slice(1, len(values)), values.type).equals(values)


@given(arrays(flat), st.data())
def test_the_plain_type_of_views_and_large_types_and_dictionaries(
    values: pa.Array, data: st.DataObject
) -> None:
    kind = values.type
    other = data.draw(st.sampled_from(_relatives(kind)))
    assert stored_type("c", other) == kind
    assert decode("c", encode("c", values.cast(other)), kind).equals(values)


def _relatives(kind: pa.DataType) -> list[pa.DataType]:
    more = {
        pa.string(): [pa.large_string(), pa.string_view()],
        pa.binary(): [pa.large_binary(), pa.binary_view()],
    }
    words = [pa.dictionary(pa.int32(), kind)] if kind in more else []
    return [kind, *more.get(kind, []), *words]


def test_large_lists_and_dictionaries_inside_lists() -> None:
    kind = pa.large_list(pa.dictionary(pa.int8(), pa.large_string()))
    assert stored_type("c", kind) == pa.list_(pa.string())
    values = pa.array([["a", "b"], None, []], pa.list_(pa.string()))
    assert decode("c", encode("c", values.cast(kind)), pa.list_(pa.string())).equals(values)


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (pa.array([1, -2]), [b"1", b"-2"]),
        (pa.array([0.5, 1e300]), [b"0.5", b"1e+300"]),
        (pa.array([True, False]), [b"true", b"false"]),
        (pa.array(["é"]), ["é".encode()]),
        (pa.array([dt.date(2013, 1, 2)]), [b"2013-01-02"]),
        (pa.array([0], pa.timestamp("ms", "Asia/Tokyo")), [b"1970-01-01 00:00:00.000Z"]),
        (pa.array([[1, 256]], pa.list_(pa.int16())), [b"\x01\x00\x00\x01"]),
        (pa.array([["a", None]]), [b'["a",null]']),
        (pa.array([{"x": 1, "y": "é"}]), ['{"x":1,"y":"é"}'.encode()]),
    ],
    ids=lambda it: str(it.type) if isinstance(it, pa.Array) else "",
)
def test_what_is_stored_is_what_other_clients_expect(values: pa.Array, stored: list[bytes]) -> None:
    assert encode("c", values).to_pylist() == stored


@pytest.mark.parametrize(
    "kind", [pa.null(), pa.month_day_nano_interval(), pa.list_(pa.int8(), 0)], ids=str
)
def test_types_that_cannot_be_stored(kind: pa.DataType) -> None:
    for inside in (kind, pa.list_(kind), pa.struct([("a", kind)]), pa.map_(pa.string(), kind)):
        with pytest.raises(SchemaError, match="column 'c'.* cannot be stored"):
            stored_type("c", inside)


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.list_(pa.float64(), 2)], ids=str)
def test_a_null_inside_a_vector_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(SchemaError, match="column 'c'.* null inside a list"):
        encode("c", pa.array([[1, 2], [None, 3]], kind))


def test_a_null_that_a_slice_or_a_null_row_hides_is_not_refused() -> None:
    lists = pa.array([[None, 1], [2, 3], [None, 4]], pa.list_(pa.int32()))
    assert encode("c", lists.slice(1, 1)).to_pylist() == [b"\2\0\0\0\3\0\0\0"]
    whole = pa.FixedSizeListArray.from_arrays(
        pa.array([1, 2, None, 4], pa.int8()), 2, mask=pa.array([False, True])
    )
    assert encode("c", whole).to_pylist() == [b"\1\2", None]


@pytest.mark.parametrize("day", [2_932_897, -719_529 - 366], ids=["year 10000", "year -1"])
def test_years_that_text_cannot_hold_are_refused(day: int) -> None:
    dates = pa.array([0, day], pa.int32()).view(pa.date32())
    for values in (dates, dates.cast(pa.timestamp("s")), dates.cast(pa.timestamp("us", "UTC"))):
        with pytest.raises(SchemaError, match="column 'c' has a year outside"):
            encode("c", values)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"seven", pa.int64()),
        (b"", pa.int64()),
        (b"300", pa.uint8()),
        (b"1.5", pa.int32()),
        (b"maybe", pa.bool_()),
        (b"1,5", pa.float64()),
        (b"\xff", pa.string()),
        (b"\xff", pa.int64()),
        (b"2013-02-30", pa.date32()),
        (b"noon", pa.timestamp("us")),
        (b"12.345", pa.decimal128(9, 2)),
        (b"abcd", pa.binary(3)),
        (b"123", pa.list_(pa.float32())),
        (b"1234", pa.list_(pa.float32(), 2)),
        (b"[1", pa.list_(pa.string())),
        (b"[1]", pa.list_(pa.string())),
        (b'{"a":"x"}', pa.struct([("a", pa.int32())])),
        (b'{"a":1}{"a":2}', pa.struct([("a", pa.int32())])),
        (b"", pa.list_(pa.string())),
        (b"nonsense", pa.list_(pa.string())),
        (b'["0g"]', pa.list_(pa.binary())),
        (b'["abc"]', pa.list_(pa.binary())),
        (b"\xff", pa.list_(pa.string())),
        (b'[{"key":null,"value":1}]', pa.map_(pa.string(), pa.int32())),
        (b'{"a":[1,2,3]}', pa.struct([("a", pa.list_(pa.int8(), 2))])),
        (b'{"a":70000}', pa.struct([("a", pa.int16())])),
    ],
)
def test_what_does_not_parse_names_its_column_and_its_place(text: bytes, kind: pa.DataType) -> None:
    good = encode("c", pa.nulls(1, kind)).to_pylist()
    stored = pa.array([*good, *good, text, *good], pa.binary())
    with pytest.raises(DecodeError, match="column 'c' does not parse as"):
        decode("c", stored, kind)
    assert unparsable(stored, lambda some: decode("c", some, kind)) == [2]


@given(st.lists(st.none() | st.integers(-5, 5).map(str) | st.sampled_from(["x", ""]), max_size=40))
def test_all_that_does_not_parse_is_found(texts: list[str | None]) -> None:
    stored = pa.array(texts, pa.string()).view(pa.binary())
    expected = [i for i, text in enumerate(texts) if text in ("x", "")]
    assert unparsable(stored, lambda some: decode("c", some, pa.int8())) == expected


@given(arrays(flat))
def test_a_key_of_one_column_is_stored_as_it_is(values: pa.Array) -> None:
    keys = encode_keys([values])
    assert keys.equals(encode("c", values))
    (found,) = decode_keys(keys, [pa.field("c", values.type)])
    assert found.equals(values)


@given(st.lists(st.tuples(texts, texts, st.integers(-9, 9), st.binary(max_size=4)), max_size=8))
@example([("a:", "b", 0, b""), ("a", ":b", 0, b"")])
def test_keys_of_several_columns_come_apart_again(rows: list[tuple[str, str, int, bytes]]) -> None:
    kinds = [pa.string(), pa.string(), pa.int16(), pa.binary()]
    columns = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    keys = encode_keys(columns)
    assert len(set(keys.to_pylist())) == len(set(rows))
    found = decode_keys(keys, [pa.field(f"k{i}", kind) for i, kind in enumerate(kinds)])
    assert all(ours.equals(theirs) for ours, theirs in zip(found, columns, strict=True))


def test_keys_with_a_null_part_are_null() -> None:
    assert encode_keys([pa.array([1, None, 3]), pa.array(["a", "b", None])]).to_pylist() == [
        b"1:a",
        None,
        None,
    ]


def test_keys_that_do_not_come_apart() -> None:
    fields = [pa.field("day", pa.date32()), pa.field("n", pa.int64())]
    for key in (b"2013-01-01", b"2013-01-01:1:2", b""):
        with pytest.raises(DecodeError, match="2 parts"):
            decode_keys(pa.array([b"2013-01-01:1", key]), fields)
    with pytest.raises(DecodeError, match="column 'n' does not parse"):
        decode_keys(pa.array([b"2013-01-01:one"]), fields)


def test_nested_keys_are_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="column 'legs' of type list"):
        encode_keys([pa.array([[1]])], ["legs"])


@given(numbers)
def test_vectors_are_views(kind: pa.DataType) -> None:
    values = pa.array([np.arange(3), np.arange(2)], pa.list_(kind))
    stored = encode("c", values)
    assert stored.buffers()[2].address == values.values.buffers()[1].address
    assert (
        decode("c", stored, values.type).values.buffers()[1].address == stored.buffers()[2].address
    )


def test_the_first_second_of_nanoseconds_is_refused_as_it_does_not_parse_back() -> None:
    first = -9_223_372_036 * 10**9
    kind = pa.timestamp("ns")
    kept = pa.array([first], kind)
    assert decode("at", encode("at", kept), kind).equals(kept)
    with pytest.raises(SchemaError, match="1677"):
        encode("at", pa.array([first - 1], kind))
