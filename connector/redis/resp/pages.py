"""Parsing the replies to SCAN."""

from __future__ import annotations

import re

from connector.redis.resp.lines import (
    Lines,
    ProtocolError,
    check_opening,
)
from connector.redis.resp.values import Values, parse_values, walked

_PAGE = [rb"\*2", rb"\$[0-9]+", rb"0|[1-9][0-9]{0,19}", rb"\*(0|[1-9][0-9]{0,8})"]


def parse_page(lines: Lines) -> tuple[int, Values] | None:
    """Parse one reply to SCAN: the next cursor, and the keys as rows of one value.

    Returns:
        Cursor and keys, or None while the reply is not complete. An error reply is a page of one row
        with that error.

    Raises:
        ProtocolError: this is no such reply.
    """
    check_opening(lines, b"*2")
    if lines.errors[:1].any():
        return 0, _walked_or_fail(lines)
    opening = [lines.text(i) for i in range(min(len(lines), len(_PAGE)))]
    right = all(re.fullmatch(kind, text) for kind, text in zip(_PAGE, opening, strict=False))
    if right and len(opening) > 2:
        right = opening[1] == b"$%d" % len(opening[2]) and int(opening[2]) < 1 << 64
    if not right:
        raise ProtocolError(f"expected a page of keys, got {[text[:40] for text in opening]!r}")
    if len(opening) < len(_PAGE):
        return None
    offset = lines.length_after(len(_PAGE))
    rest = Lines(lines.data[offset:], lines.ends[len(_PAGE) :] - offset)
    keys = parse_values(rest, int(opening[3][1:]), 1, None)
    if keys is None:
        return None
    if keys.errors:
        raise ProtocolError(f"expected a key, got the error {next(iter(keys.errors.values()))!r}")
    size = offset + keys.size
    return int(opening[2]), Values(lines.data, keys.starts + offset, keys.lengths, {}, size)


def _walked_or_fail(lines: Lines) -> Values:
    found = walked(lines, 1, 1, None)
    if found is None:
        raise ProtocolError("an error reply does not end")
    return found
