"""The columnar wire's parser: side by side it finds what going from message to message finds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from servers.aerospike import protocol

from connector import DecodeError, StoreError
from connector.aerospike.wire.messages import frame_size
from connector.aerospike.wire.particles import SPARE_BYTES, Particles, decode, decode_user_keys
from connector.aerospike.wire.records import Records, parse_records
from connector.aerospike.wire.sockets import Buffer

NAMES = ("a", "long_bin_name_x", "c")
Bin = tuple[str, int, bytes]
INTEGER, DOUBLE, STRING, BLOB, BOOLEAN, HLL, MAP, LIST, GEOJSON = 1, 2, 3, 4, 17, 18, 19, 20, 23


def message(
    bins: list[Bin],
    digest: bytes = bytes(20),
    *,
    set_name: bytes = b"t",
    key: bytes | None = b"\x03k",
    generation: int = 1,
    void_time: int = 0,
) -> bytes:
    """A record as a node sends it."""
    fields = [protocol.field(0, b"test"), protocol.field(4, digest)]
    fields += [protocol.field(1, set_name)] if set_name else []
    fields += [protocol.field(2, key)] if key is not None else []
    head = protocol.header(
        0,
        generation=generation,
        void_time=void_time,
        n_fields=len(fields),
        n_operations=len(bins),
    )
    packed = [protocol.operation(name.encode(), kind, value) for name, kind, value in bins]
    return head + b"".join([*fields, *packed])


def refusal(partition: int, result: int) -> bytes:
    """What a node sends of a partition that it cannot read."""
    return protocol.header(result, more=protocol.More.PARTITION_DONE, generation=partition)


def parsed(data: bytes, names: tuple[str, ...] = NAMES, after: bytes = b"") -> Records:
    """The records in messages, behind which there is whatever was there before."""
    room = np.frombuffer((data + after).ljust(len(data) + SPARE_BYTES, b"\0"), np.uint8)
    return parse_records(room, len(data), names)


def rows(found: Records) -> list[tuple[Any, ...]]:
    """Everything that was found, record by record."""
    columns = [found.sets, found.keys, *found.bins]
    values = [[*zip(one.kinds.tolist(), one.binary().to_pylist(), strict=True)] for one in columns]
    return [
        (found.digest(row), generation, void_time, *cells)
        for row, (generation, void_time, *cells) in enumerate(
            zip(found.generations.tolist(), found.void_times.tolist(), *values, strict=True)
        )
    ]


def walked(data: bytes, names: tuple[str, ...] = NAMES) -> list[tuple[Any, ...]]:
    """The same, found by going from each message to the next."""
    found, at = [], 0
    while at < len(data):
        one = protocol._HEADER.unpack_from(data, at)
        *_, generation, void_time, _, n_fields, n_operations = one
        fields, at = protocol.parse_fields(data, at + protocol.HEADER_BYTES, n_fields)
        operations, at = protocol.parse_operations(data, at, n_operations)
        if not n_fields:
            continue
        bins = {each.name.decode("latin1"): (each.type, each.value) for each in operations}
        key = (fields[2][0], fields[2][1:]) if 2 in fields else (0, None)
        cells = [(3, fields[1]) if 1 in fields else (0, None), key]
        cells += [bins.get(name, (0, None)) for name in names]
        found.append((fields[4], generation, void_time, *cells))
    return found


# Values that look like messages, or like the begin or the middle of one, among others.
traps = st.sampled_from(
    [
        message([("a", INTEGER, bytes(8))]),
        message([("a", INTEGER, bytes(8))])[:30],
        refusal(7, 11),
        b"\x16",
        b"\x16" + bytes(21),
        bytes(17) + b"\x16",
        b"\x16\0\0\0\0\0\0\x01" + bytes(10) + b"\0\x01\0\0" + bytes(5),
    ]
)
texts = st.binary(max_size=40) | traps | st.builds(bytes.__add__, traps, traps)
numbers = st.integers(0, 2**64 - 1).map(lambda n: n.to_bytes(8, "big")) | st.sampled_from(
    [b"\x16" + bytes(7), bytes(7) + b"\x16", bytes(2) + b"\x16" + bytes(5)]
)
cells = st.tuples(st.just(INTEGER), numbers) | st.tuples(st.sampled_from([STRING, BLOB]), texts)
bins = st.dictionaries(st.sampled_from([*NAMES, "d", "long_bin_name_y"]), cells, max_size=5).map(
    lambda given: [(name, *cell) for name, cell in given.items()]
)
records = st.builds(
    message,
    bins,
    st.binary(min_size=20, max_size=20),
    set_name=st.sampled_from([b"", b"t", b"\x16"]),
    key=st.none() | st.tuples(st.sampled_from([b"\x01", b"\x03"]), numbers).map(b"".join),
    generation=st.integers(1, 65535),
    void_time=st.integers(0, 2**32 - 1),
)
messages = st.lists(
    records | st.builds(refusal, st.integers(0, 4095), st.just(11)), max_size=12
).map(b"".join)


@given(messages, st.binary(max_size=SPARE_BYTES))
@example(b"", b"")
def test_every_record_is_found(data: bytes, after: bytes) -> None:
    assert rows(parsed(data, after=after)) == walked(data)


@given(st.lists(st.tuples(numbers, texts), min_size=1, max_size=30))
def test_records_that_are_alike(given: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(message([("a", INTEGER, n), ("c", BLOB, text)]) for n, text in given)
    found = parsed(data, ("c", "a"))
    assert found.bins[0].binary().to_pylist() == [text for _, text in given]
    assert found.bins[1].numbers().tolist() == [*struct.unpack(f">{len(given)}q", _join(given))]
    assert rows(parsed(data, ())) == walked(data, ())


@given(messages.filter(len), st.data())
def test_damaged_messages_are_refused_or_are_others(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    cut = draw.draw(st.booleans())
    damaged = data[:at] if cut else data[:at] + b"\xff" + data[at + 1 :]
    try:
        found = rows(parsed(damaged))
    except StoreError:
        return
    assert found == walked(damaged)


def test_what_tells_of_partitions() -> None:
    data = message([]) + refusal(4095, 11) + message([]) + refusal(3, 0) + refusal(0, 11)
    found = parsed(data)
    assert len(found) == 2
    assert found.failed == {4095: 11, 0: 11}
    assert len(parsed(refusal(1, 11))) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\x16",
        bytes(22),
        b"\x16" + bytes(21),
        message([])[:-1],
        message([]) + b"x",
        message([]) * 2 + bytes(30),
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(StoreError, match="no message at byte"):
        parsed(data)


def test_a_record_without_a_digest() -> None:
    field = protocol.field(0, b"test")
    with pytest.raises(StoreError, match="digest"):
        parsed(protocol.header(0, n_fields=1) + field)


def test_partitions_of_digests() -> None:
    digests = [bytes([1, 0xF2]) + bytes(18), bytes([0xFF, 0xFF]) + bytes(18)]
    found = parsed(b"".join(message([], digest) for digest in digests))
    assert found.partitions().tolist() == [0x201, 0xFFF]


@pytest.mark.parametrize(
    "head",
    [
        bytes(8),
        b"\x02\x01" + bytes(5) + b"\x16",
        b"\x02\x04" + bytes(5) + b"\x20",
        b"\x02\x03" + bytes(5) + b"\x15",
    ],
)
def test_what_is_no_frame(head: bytes) -> None:
    with pytest.raises(StoreError, match="no frame"):
        frame_size(head)


def test_a_page_that_offsets_cannot_tell_apart() -> None:
    buffer = Buffer()
    buffer.size = 2**31 - 100
    with pytest.raises(StoreError, match="larger than 2 GiB"):
        buffer.room(80)


def particles(*values: tuple[int, bytes]) -> Particles:
    """Values of one bin, where a record has it."""
    data = b"".join(message([("a", *one)] if one[0] else []) for one in values)
    return parsed(data, ("a",)).bins[0]


def number(value: int) -> tuple[int, bytes]:
    return INTEGER, struct.pack(">q", value)


def double(value: float) -> tuple[int, bytes]:
    return DOUBLE, struct.pack(">d", value)


ABSENT, TRUE, FALSE = (0, b""), (BOOLEAN, b"\1"), (BOOLEAN, b"\0")
GEO = b"\0\0\x02" + bytes(16) + b'{"type":"Point"}'


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.int64(), [number(-1), ABSENT, number(2**63 - 1)], [-1, None, 2**63 - 1]),
        (pa.int8(), [number(-128), number(127)], [-128, 127]),
        (pa.uint64(), [number(5)], [5]),
        (pa.float64(), [double(0.5), ABSENT, number(3)], [0.5, None, 3.0]),
        (pa.float32(), [double(0.5)], [0.5]),
        (pa.bool_(), [TRUE, number(0), ABSENT, number(1), FALSE], [True, False, None, True, False]),
        (pa.string(), [(STRING, "é".encode()), ABSENT, (STRING, b"")], ["é", None, ""]),
        (pa.string(), [(STRING, b"x"), (GEOJSON, GEO)], ["x", '{"type":"Point"}']),
        (
            pa.binary(),
            [(BLOB, b"\xff"), (HLL, b"h"), (9, b"py"), ABSENT],
            [b"\xff", b"h", b"py", None],
        ),
        (pa.binary(2), [(BLOB, b"ab")], [b"ab"]),
        (pa.string(), [], []),
        (pa.int32(), [ABSENT, ABSENT], [None, None]),
        (pa.string(), [ABSENT], [None]),
    ],
)
def test_columns(kind: pa.DataType, values: list[Any], expected: list[Any]) -> None:
    found = decode("a", particles(*values), kind)
    assert found.type == kind
    assert found.to_pylist() == expected
    found.validate(full=True)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (pa.int64(), double(1.0), "values of type float"),
        (pa.float64(), (STRING, b"1"), "values of type str"),
        (pa.int8(), number(128), "int8"),
        (pa.bool_(), number(2), "the integer 2, which is no boolean"),
        (pa.string(), (LIST, b"\x90"), "values of type list"),
        (pa.string(), (MAP, b"\x80"), "values of type dict"),
        (pa.string(), (BLOB, b"x"), "values of type bytes"),
        (pa.string(), (STRING, b"\xff"), "UTF8|UTF-8"),
        (pa.binary(), (STRING, b"x"), "values of type str"),
        (pa.binary(2), (BLOB, b"x"), "fixed_size_binary"),
        (pa.decimal128(5, 2), (STRING, b"x"), "decimal"),
        (pa.int64(), (INTEGER, b"\1"), "other than 8 bytes"),
    ],
)
def test_values_that_do_not_fit(kind: pa.DataType, value: tuple[int, bytes], said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        decode("a", particles(ABSENT, value), kind)


def test_user_keys() -> None:
    assert decode_user_keys(particles(number(1), number(-2)), pa.int64()).to_pylist() == [1, -2]
    assert decode_user_keys(particles((STRING, b"x")), pa.string()).to_pylist() == ["x"]
    assert decode_user_keys(particles((BLOB, b"\0")), pa.binary()).to_pylist() == [b"\0"]
    with pytest.raises(DecodeError, match="not stored"):
        decode_user_keys(particles(number(1), ABSENT), pa.int64())
    with pytest.raises(DecodeError, match="of type str"):
        decode_user_keys(particles((STRING, b"x")), pa.int64())


def _join(given: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(n for n, _ in given)
