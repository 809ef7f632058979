"""Asking a number of many keys, each at the node that has it, such as how long a value is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connector.redis.commands import keyed_request
from connector.redis.exchange import Answer, Exchange, Links
from connector.redis.link import Link
from connector.redis.reading import Keys
from connector.redis.resp import Ints
from connector.redis.servers import Servers


@dataclass(frozen=True)
class _Numbers:
    numbers: Ints
    errors: dict[int, str]


def key_numbers(
    command: bytes,
    pages: Iterable[pa.Array],
    servers: Servers,
    links: Links,
    doing: str,
    *,
    request_rows: int,
    refusal: Callable[[pa.Array, dict[int, str]], Exception],
) -> Iterator[tuple[pa.Array, Ints]]:
    """What a command answers for each key; every key comes once, not in order.

    Args:
        command: takes a key alone and answers an integer.
        pages: the keys, ``pa.binary()``.
        servers: who has which key.
        links: the connections to use.
        doing: what is being done, for messages.
        request_rows: most keys in a request.
        refusal: the error to raise for keys that were refused, and why by their places.
    """

    def send(link: Link, work: Keys, asked: bool) -> int:
        request = keyed_request(command, work.keys)
        link.send(request)
        return len(request)

    def receive(link: Link, work: Keys, asked: bool) -> _Numbers:
        answer = link.statuses(len(work.keys))
        return _Numbers(answer.numbers, answer.errors)

    def told(answer: Answer[Keys, _Numbers]) -> tuple[pa.Array, Ints]:
        keys, found = answer.work.keys, answer.result
        refused = {row: found.errors[row] for row in found.errors if row not in answer.postponed}
        if refused:
            raise refusal(keys, refused)
        here = np.ones(len(keys), np.bool_)
        here[list(answer.postponed)] = False
        return keys.filter(pa.array(here)), found.numbers[here]

    exchange: Exchange[Keys, _Numbers] = Exchange(
        servers, links, doing, send=send, receive=receive, limit_bytes=1 << 62
    )
    for page in pages:
        for start in range(0, len(page), request_rows):
            yield from map(told, exchange.put(Keys(page.slice(start, request_rows))))
    yield from map(told, exchange.drain())
