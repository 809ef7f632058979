"""Deleting rows by their keys, each at the node that has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from connector.redis.commands import keyed_request
from connector.redis.exchange import Answer, Exchange, Links
from connector.redis.link import Link, translated
from connector.redis.reading import Keys
from connector.redis.servers import Servers
from connector.redis.writing import refusal

_COMMIT_KEYS = 1 << 18  # least keys to look up at once: each look-up hashes all written keys


@dataclass(frozen=True)
class Deleted:
    """How many of some keys were there, and which the server refused to delete."""

    rows: int
    errors: dict[int, str]


def delete_keys(
    table: str, pages: Iterable[pa.Array], servers: Servers, doing: str, request_rows: int
) -> int:
    """Delete the rows under these keys, and return how many there were.

    Raises:
        WriteRejectedError: the server refused to delete some.
    """
    deleted = 0

    def take(answers: Iterable[Answer[Keys, Deleted]]) -> None:
        nonlocal deleted
        for answer in answers:
            errors = answer.result.errors
            refused = {row: errors[row] for row in errors if row not in answer.postponed}
            if refused:
                raise refusal(table, answer.work.keys, refused)
            deleted += answer.result.rows

    with Links(servers, doing) as links:
        exchange: Exchange[Keys, Deleted] = Exchange(
            servers, links, doing, send=_send, receive=_receive, limit_bytes=1 << 62
        )
        for page in pages:
            for start in range(0, len(page), request_rows):
                take(exchange.put(Keys(page.slice(start, request_rows))))
        take(exchange.drain())
        with translated(doing):
            servers.confirm({link.peer for link in links})
    return deleted


def _send(link: Link, work: Keys, asked: bool) -> int:
    request = keyed_request(b"UNLINK", work.keys)
    link.send(request)
    return len(request)


def _receive(link: Link, work: Keys, asked: bool) -> Deleted:
    answer = link.statuses(len(work.keys))
    return Deleted(int(answer.numbers.sum()), answer.errors)


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
