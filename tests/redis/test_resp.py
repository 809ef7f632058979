"""The wire decoder: the right values, or an error, never wrong values."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.redis.resp import (
    Lines,
    ProtocolError,
    Values,
    line_ends,
    parse_arrays,
    parse_page,
    parse_statuses,
    parse_values,
)

# Bytes that look like protocol are what a decoder gets wrong.
TRICKY = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"",
            b"\r\n",
            b"\r",
            b"\n",
            b"$-1",
            b"$-1\r\n",
            b"$3\r\nabc",
            b"*2",
            b"*2\r\n",
            b"-ERR x",
            b":1",
            b"-5",
            b"x\r\n$1\r\ny",
            b"\r\n\r\n",
            b"$",
            b"0",
            b"a" * 1000,
        ]
    ),
)
VALUES = st.one_of(st.none(), TRICKY)
PLAIN = st.one_of(st.none(), st.text("abc01-", max_size=9).map(str.encode))


def lines(data: bytes) -> Lines:
    array = np.frombuffer(data, np.uint8)
    return Lines(array, line_ends(array))


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def reply(row: list[bytes | None] | str) -> bytes:
    if isinstance(row, str):
        return f"-{row}\r\n".encode()
    return b"*%d\r\n" % len(row) + b"".join(map(bulk, row))


def rows_of(found: Values) -> list[list[bytes | None]]:
    return [
        list(row) for row in zip(*(column.to_pylist() for column in found.columns()), strict=True)
    ]


@st.composite
def tables(draw: st.DrawFn, values: st.SearchStrategy[bytes | None]) -> list[list[bytes | None]]:
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=8))


@settings(max_examples=500)
@given(tables(st.one_of(VALUES, PLAIN)), st.binary(max_size=20))
def test_values_are_read_back_whatever_they_hold_and_whatever_follows(
    table: list[list[bytes | None]], following: bytes
) -> None:
    data = b"".join(map(reply, table))
    found = parse_values(lines(data + following), len(table), len(table[0]), b"*%d" % len(table[0]))
    assert found is not None
    assert rows_of(found) == table
    assert found.size == len(data)


@settings(max_examples=200)
@given(tables(VALUES))
def test_a_cut_reply_is_incomplete_at_every_byte(table: list[list[bytes | None]]) -> None:
    data = b"".join(map(reply, table))
    for end in range(len(data)):
        cut = lines(data[:end])
        assert parse_values(cut, len(table), len(table[0]), b"*%d" % len(table[0])) is None


@given(tables(VALUES), st.data())
def test_errors_among_the_replies_are_told_apart(
    table: list[list[bytes | None]], data: st.DataObject
) -> None:
    width = len(table[0])
    bad = data.draw(st.sets(st.integers(0, len(table) - 1), min_size=1))
    replies = ["WRONGTYPE it is not" if i in bad else row for i, row in enumerate(table)]
    found = parse_values(lines(b"".join(map(reply, replies))), len(table), width, b"*%d" % width)
    assert found is not None
    assert found.errors == dict.fromkeys(bad, "WRONGTYPE it is not")
    expected = [[None] * width if i in bad else row for i, row in enumerate(table)]
    assert rows_of(found) == expected


@given(st.lists(VALUES, max_size=9), st.integers(0, 2**64 - 1))
def test_a_page_of_keys_is_read_back(keys: list[bytes | None], cursor: int) -> None:
    text = b"%d" % cursor
    data = b"*2\r\n%b*%d\r\n%b" % (bulk(text), len(keys), b"".join(map(bulk, keys)))
    found = parse_page(lines(data + b"*2\r\n$1"))
    assert found is not None
    assert found[0] == cursor
    assert [row[0] for row in rows_of(found[1])] == keys if keys else not len(found[1].starts)
    assert found[1].size == len(data)
    for end in range(len(data)):
        assert parse_page(lines(data[:end])) is None


@given(st.lists(st.one_of(st.integers(-9, 10**9), st.just("OOM no"), st.just("+OK")), max_size=20))
def test_statuses_are_read_back(replies: list[int | str]) -> None:
    texts = [f":{r}" if isinstance(r, int) else r if r[0] == "+" else f"-{r}" for r in replies]
    data = "".join(f"{text}\r\n" for text in texts).encode()
    found = parse_statuses(lines(data + b":7\r\n"), len(replies))
    assert found is not None
    assert found.size == len(data)
    assert found.errors == {i: "OOM no" for i, r in enumerate(replies) if r == "OOM no"}
    assert found.numbers.tolist() == [r if isinstance(r, int) else 0 for r in replies]


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_refused_transactions_are_shorter(refused: list[bool]) -> None:
    done = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:5\r\n"
    stopped = b"+OK\r\n+QUEUED\r\n-OOM no memory\r\n-EXECABORT discarded\r\n"
    data = b"".join(stopped if bad else done for bad in refused)
    for end in range(len(data)):
        assert parse_statuses(lines(data[:end]), 6 * len(refused), queued=2) is None
    found = parse_statuses(lines(data + done), 6 * len(refused), queued=2)
    assert found is not None
    assert found.size == len(data)
    assert {i // 6 for i in found.errors} == {i for i, bad in enumerate(refused) if bad}


def test_garbled_replies_are_an_error_or_the_right_rows() -> None:
    """A flipped byte may give another value of the same length, but never other lengths or rows."""
    random.seed(7)
    table: list[list[bytes | None]] = [[b"abc", None, b"12"], [b"x\r\ny", b"", b"-5"]] * 3
    data = b"".join(map(reply, table))
    for _ in range(10_000):
        garbled = bytearray(data)
        for _ in range(random.choice([1, 1, 2, 5])):
            garbled[random.randrange(len(garbled))] = random.choice(b"$*-:+\r\n019ax\x00\xff")
        try:
            found = parse_values(lines(bytes(garbled)), len(table), 3, b"*3")
        except ProtocolError:
            continue
        if found is None or found.errors:
            continue
        # Whatever was accepted, writing it as RESP gives those very bytes again.
        again = b"".join(map(reply, rows_of(found)))
        assert again == re.sub(rb"(?<=\$)0+(?=\d)", b"", bytes(garbled[: found.size]))


def test_other_kinds_of_reply_are_refused() -> None:
    with pytest.raises(ProtocolError):
        parse_values(lines(b"%1\r\n$1\r\na\r\n$1\r\nb\r\n+x\r\n+y\r\n"), 1, 1, b"*1")
    with pytest.raises(ProtocolError):
        parse_statuses(lines(b"$1\r\na\r\n"), 2)
    with pytest.raises(ProtocolError):
        parse_page(lines(b"*3\r\n$1\r\n0\r\n*0\r\n"))


@settings(max_examples=300)
@given(st.lists(st.lists(TRICKY, max_size=4) | st.just("ERR no"), max_size=5), st.data())
@example([[b"ab\r\n*9\r\nxy"], [b"c"]], None)
def test_arrays_are_read_back_as_soon_as_they_are_there(
    replies: list[list[bytes] | str], data: st.DataObject | None
) -> None:
    def sent(reply: list[bytes] | str) -> bytes:
        if isinstance(reply, str):
            return b"-%b\r\n" % reply.encode()
        values = b"".join(b"$%d\r\n%b\r\n" % (len(value), value) for value in reply)
        return b"*%d\r\n%b" % (len(reply), values)

    stream = b"".join(map(sent, replies))
    received = np.frombuffer(stream, np.uint8)
    found = parse_arrays(Lines(received, line_ends(received)), len(replies))
    assert found is not None and found.size == len(stream)
    kept = [[] if isinstance(reply, str) else reply for reply in replies]
    assert found.counts.tolist() == list(map(len, kept))
    if replies:
        assert found.flat().to_pylist() == [value for reply in kept for value in reply]
    assert found.errors == {i: r for i, r in enumerate(replies) if isinstance(r, str)}
    if stream and data is not None:
        cut = received[: data.draw(st.integers(0, len(stream) - 1))]
        assert parse_arrays(Lines(cut, line_ends(cut)), len(replies)) is None
