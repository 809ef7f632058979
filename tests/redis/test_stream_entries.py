"""Parsing pages of stream entries: the right ones, or an error, and never a wait for what has come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.redis.resp import Lines, ProtocolError, line_ends, parse_entries

TRICKY = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b"*2", b"*0", b"*", b"\r\n", b"x\r\n*2\r\n$1", b"$1", b"-ERR x", b"*2\r\n$1\r\na\r\n*2"]
    ),
)
PAGES = st.lists(
    st.tuples(TRICKY, st.lists(st.tuples(TRICKY, TRICKY), min_size=1, max_size=3)), max_size=4
)


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def reply(page: list[tuple[bytes, list[tuple[bytes, bytes]]]] | None) -> bytes:
    if page is None:
        return b"-WRONGTYPE no stream\r\n"
    made = b"*%d\r\n" % len(page)
    for entry, fields in page:
        flat = b"".join(bulk(name) + bulk(value) for name, value in fields)
        made += b"*2\r\n" + bulk(entry) + b"*%d\r\n" % (2 * len(fields)) + flat
    return made


def lines(data: bytes) -> Lines:
    array = np.frombuffer(data, np.uint8)
    return Lines(array, line_ends(array))


@settings(max_examples=100)
@given(
    pages=st.lists(st.one_of(PAGES, PAGES, st.none()), min_size=1, max_size=4),
    rest=st.sampled_from([b"", b"*1\r\n*2\r\n", b"*0\r\n", b"-ERR\r\n", b"*"]),
)
def test_pages_are_parsed_whole_or_not_at_all(pages: list[Any], rest: bytes) -> None:
    data = b"".join(map(reply, pages))
    found = parse_entries(lines(data + rest), len(pages))
    assert found is not None and found.size == len(data)
    assert set(found.errors) == {row for row, page in enumerate(pages) if page is None}
    assert found.counts.tolist() == [len(page or []) for page in pages]
    entries = [entry for page in pages for entry in page or []]
    assert found.widths.tolist() == [2 * len(fields) for _, fields in entries]
    flat = [
        text for entry, fields in entries for text in (entry, *(t for pair in fields for t in pair))
    ]
    assert found.values.columns()[0].to_pylist() == flat
    for cut in range(len(data)):
        assert parse_entries(lines(data[:cut]), len(pages)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"+OK\r\n",
        b"$1\r\na\r\n",
        b"*1\r\n*3\r\n$1\r\na\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n*2\r\n$1\r\na\r\n*1\r\n$1\r\na\r\n",
        b"*1\r\n*2\r\n$1\r\nab\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n*2\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*-1\r\n",
        b"*01\r\n*2\r\n$1\r\na\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
    ],
)
def test_what_is_no_page_is_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_entries(lines(data), 1)
