"""Values of any size under keys, sent to the nodes that have them and fetched from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from connector.errors import StoreError
from connector.redis.commands import bulk, keyed_request
from connector.redis.exchange import Answer, Exchange, Links
from connector.redis.link import Link
from connector.redis.numbers import key_numbers
from connector.redis.options import RedisOptions
from connector.redis.reading import Keys
from connector.redis.replicas import confirm_written
from connector.redis.servers import Rows, Servers
from connector.redis.writing import refusal


@dataclass(frozen=True)
class Value:
    """A value to be written under a key."""

    keys: pa.Array
    value: memoryview

    def take(self, rows: Rows) -> Value:
        return self


@dataclass(frozen=True)
class Stored:
    """Which of some values the server did not take."""

    errors: dict[int, str]


@dataclass(frozen=True)
class Got:
    """Values under some keys, null for one that is gone; which the server refused."""

    values: pa.Array
    errors: dict[int, str]


class ValueWriter:
    """Writes values under a table's keys, over the connections of one operation.

    Args:
        table: what the keys begin with.
        servers: who has which key.
        links: the connections to use.
        options: bytes in flight, replicas to wait for.
        doing: what is being done, for messages.
    """

    def __init__(
        self, table: str, servers: Servers, links: Links, options: RedisOptions, doing: str
    ) -> None:
        self._table, self._links = table, links
        self._options, self._doing = options, doing
        self._exchange: Exchange[Value, Stored] = Exchange(
            servers,
            links,
            doing,
            send=_send_value,
            receive=_receive_status,
            limit_bytes=options.inflight_bytes,
            survives=False,
        )

    def put(self, name: str, value: pa.Buffer) -> None:
        """Send a value; the answer may come later.

        Raises:
            WriteRejectedError: the server refused an earlier one.
        """
        keys = pa.array([f"{self._table}:{name}".encode()], pa.binary())
        self._check(self._exchange.put(Value(keys, memoryview(value))))

    def finish(self) -> None:
        """Wait for all answers, and until as many replicas as the options say have the values.

        Raises:
            WriteRejectedError: the server refused a value.
            StoreUnavailableError: too few replicas have them, or a server was replaced meanwhile.
        """
        self._check(self._exchange.drain())
        confirm_written(self._links, self._options, self._doing)

    def _check(self, answers: Iterable[Answer[Value, Stored]]) -> None:
        for answer in answers:
            errors = answer.result.errors
            if errors and not answer.postponed:
                raise refusal(self._table, answer.work.keys, errors)


def _send_value(link: Link, work: Value, asked: bool) -> int:
    opening = b"*3\r\n$3\r\nSET\r\n%b$%d\r\n" % (bulk(work.keys[0].as_py()), len(work.value))
    request = memoryview(b"".join([opening, work.value, b"\r\n"]))
    link.send(request)
    return len(request)


def _receive_status(link: Link, work: Value, asked: bool) -> Stored:
    return Stored(link.statuses(1).errors)


def fetch(
    keys: Iterable[bytes], servers: Servers, links: Links, doing: str
) -> Iterator[tuple[bytes, pa.Buffer | None]]:
    """The value under each key, None where there is none; not in order.

    A value lies in the buffer of its link, and is valid until the next is asked for.

    Raises:
        StoreError: a server refused a key.
    """
    exchange: Exchange[Keys, Got] = Exchange(
        servers,
        links,
        doing,
        send=_send_get,
        receive=_receive_value,
        limit_bytes=1 << 62,  # two requests a node are in flight at most, each for one value
    )

    def received(answers: Iterable[Answer[Keys, Got]]) -> Iterator[tuple[bytes, pa.Buffer | None]]:
        for answer in answers:
            if answer.postponed:
                continue
            key, values = answer.work.keys[0].as_py(), answer.result.values
            if answer.result.errors:
                raise StoreError(f"{doing}: key {key!r}: {answer.result.errors[0]}")
            yield key, None if values.null_count else values.buffers()[2]

    for key in keys:
        yield from received(exchange.put(Keys(pa.array([key], pa.binary()))))
    yield from received(exchange.drain())


def _send_get(link: Link, work: Keys, asked: bool) -> int:
    request = keyed_request(b"GET", work.keys)
    link.send(request)
    return len(request)


def _receive_value(link: Link, work: Keys, asked: bool) -> Got:
    found = link.values(1, 1, None)
    return Got(found.columns()[0], found.errors)


def lengths(keys: Sequence[bytes], servers: Servers, links: Links, doing: str) -> dict[bytes, int]:
    """How many bytes are under each key; 0 for one that is not there."""

    def refused(keys: pa.Array, errors: dict[int, str]) -> Exception:
        row, text = next(iter(errors.items()))
        return StoreError(f"{doing}: key {keys[row].as_py()!r}: {text}")

    answers = key_numbers(
        b"STRLEN",
        [pa.array(keys, pa.binary())],
        servers,
        links,
        doing,
        request_rows=max(1, len(keys)),
        refusal=refused,
    )
    return {
        key: int(number)
        for page, numbers in answers
        for key, number in zip(page.to_pylist(), numbers, strict=True)
    }
