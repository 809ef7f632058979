"""Deleting rows by their keys, each at the node that has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from connector.redis.exchange import Links
from connector.redis.numbers import key_numbers
from connector.redis.servers import Servers
from connector.redis.writing import refusal

_COMMIT_KEYS = 1 << 18  # least keys to look up at once: each look-up hashes all written keys


def delete_keys(
    table: str, pages: Iterable[pa.Array], servers: Servers, doing: str, request_rows: int
) -> int:
    """Delete the rows under these keys, and return how many there were.

    Raises:
        WriteRejectedError: the server refused to delete some.
    """
    with Links(servers, doing) as links:
        answers = key_numbers(
            b"UNLINK",
            pages,
            servers,
            links,
            doing,
            request_rows=request_rows,
            refusal=partial(refusal, table),
        )
        deleted = sum(int(numbers.sum()) for _, numbers in answers)
        links.confirm()
    return deleted


def others(pages: Iterable[pa.Array], written: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Those of a table's keys that are not among the written ones."""
    for keys in _joined(pages, max(_COMMIT_KEYS, len(written))):
        stale = keys.filter(pc.invert(pc.is_in(keys, value_set=written)))
        if len(stale):
            yield stale


def _joined(pages: Iterable[pa.Array], keys: int) -> Iterator[pa.Array]:
    """Join pages to arrays of at least ``keys`` keys; the last may be shorter."""
    held: list[pa.Array] = []
    count = 0
    for page in pages:
        held.append(page)
        count += len(page)
        if count >= keys:
            yield pa.concat_arrays(held)
            held, count = [], 0
    if held:
        yield pa.concat_arrays(held)
