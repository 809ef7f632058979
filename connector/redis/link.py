"""Connections for bulk traffic: redis-py makes them, the bytes that pass over them are ours.

Host names, TLS, credentials, HELLO and timeouts stay redis-py's. A Link sends requests that are
built already and cuts the replies out of the received bytes.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import numpy as np
import redis
from redis.connection import Connection

from connector.errors import (
    AuthenticationError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from connector.redis.resp import (
    Arrays,
    Entries,
    Ints,
    Lines,
    ProtocolError,
    Statuses,
    Values,
    line_ends,
    parse_arrays,
    parse_entries,
    parse_page,
    parse_statuses,
    parse_values,
)

T = TypeVar("T")

_MEANING: list[tuple[type[Exception], type[StoreError]]] = [  # most specific first
    (redis.AuthenticationError, AuthenticationError),
    (redis.exceptions.NoPermissionError, AuthenticationError),
    (redis.TimeoutError, StoreTimeoutError),
    (TimeoutError, StoreTimeoutError),
    (redis.ConnectionError, StoreUnavailableError),
    (redis.exceptions.TryAgainError, StoreUnavailableError),
    (redis.exceptions.ClusterDownError, StoreUnavailableError),
    (redis.exceptions.MasterDownError, StoreUnavailableError),
    (OSError, StoreUnavailableError),
    (redis.RedisError, StoreError),
    (ProtocolError, StoreError),
]
_CODES: dict[str, type[StoreError]] = {
    "NOAUTH": AuthenticationError,
    "NOPERM": AuthenticationError,
    "WRONGPASS": AuthenticationError,
    "CLUSTERDOWN": StoreUnavailableError,
    "LOADING": StoreUnavailableError,
    "MASTERDOWN": StoreUnavailableError,
    "READONLY": StoreUnavailableError,
    "TRYAGAIN": StoreUnavailableError,
}
_SEND_BYTES = 256 << 10  # at a time: the timeout counts for each piece, not for the whole request
_RECEIVE_BYTES = 1 << 20
_MOST_BYTES = (1 << 31) - 1 - _RECEIVE_BYTES  # what the offsets of Arrow's arrays can hold

ASKING = memoryview(b"*1\r\n$6\r\nASKING\r\n")
"""Announces one command on a key that is on its way to the node."""


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Re-raise client errors as store errors that say what was being done."""
    try:
        yield
    except (redis.RedisError, OSError, ProtocolError) as error:
        kind = next(ours for theirs, ours in _MEANING if isinstance(error, theirs))
        raise kind(f"{doing}: {error or type(error).__name__}") from error


def reply_error(text: str) -> type[StoreError] | None:
    """Which of our errors an error reply is, by its first word; None for one of the command itself."""
    return _CODES.get(text.partition(" ")[0])


class Link:
    """One connection, borrowed from a pool, over which batches of requests and replies pass.

    Requests may be sent ahead; replies come in the order of the requests. What a call returns lies in
    the link's buffer, and is valid until the next call that receives. A link that failed, or was
    closed with replies outstanding, is disconnected: its connection is never used on out of step.
    """

    def __init__(self, pool: redis.ConnectionPool, doing: str) -> None:
        self._pool = pool
        self._doing = doing
        with translated(doing):
            self._connection: Connection = pool.get_connection()
        self._socket = cast(socket.socket, self._connection._sock)
        self._buffer = np.empty(2 * _RECEIVE_BYTES, np.uint8)
        self._filled = 0
        self._read = 0  # bytes at the front that belong to replies given out already
        self._ends: list[Ints] = []
        self._outstanding = 0
        self.closed = False

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of the server at the other end; no host where it is a Unix socket."""
        connection = self._connection
        return getattr(connection, "host", ""), getattr(connection, "port", 0)

    def send(self, request: memoryview) -> None:
        """Send a request whose replies one later call reads."""
        self._outstanding += 1
        pieces = (request[i : i + _SEND_BYTES] for i in range(0, len(request), _SEND_BYTES))
        with translated(self._doing):
            self._connection.send_packed_command(pieces, check_health=False)  # type: ignore[no-untyped-call]

    def values(self, rows: int, width: int, header: bytes | None) -> Values:
        """The replies to a request for ``rows`` times ``width`` values."""
        return self._receive(lambda lines: parse_values(lines, rows, width, header))

    def arrays(self, rows: int) -> Arrays:
        """The replies to a request for ``rows`` arrays of any length."""
        return self._receive(lambda lines: parse_arrays(lines, rows))

    def entries(self, rows: int) -> Entries:
        """The replies to a request for pages of entries of ``rows`` streams."""
        return self._receive(lambda lines: parse_entries(lines, rows))

    def page(self) -> tuple[int, Values]:
        """The reply to one SCAN."""
        return self._receive(parse_page, size=lambda page: page[1].size)

    def statuses(self, count: int, queued: int = 0) -> Statuses:
        """The replies to a request that writes, or that asks for numbers."""
        return self._receive(lambda lines: parse_statuses(lines, count, queued))

    def asking(self) -> None:
        """Announce one command on a key that is on its way to this node."""
        self.send(ASKING)
        errors = self.statuses(1).errors
        if errors:
            raise StoreError(f"{self._doing}: {errors[0]}")

    def close(self) -> None:
        """Give the connection back; disconnect it where replies are outstanding."""
        if self.closed:
            return
        self.closed = True
        if self._outstanding or self._filled > self._read:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
        self._pool.release(self._connection)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(
        self,
        parse: Callable[[Lines], T | None],
        size: Callable[[T], int] = lambda found: found.size,  # type: ignore[attr-defined]
    ) -> T:
        """Receive until ``parse`` finds its replies complete, and cut them off."""
        self._forget()
        with translated(self._doing):
            found = parse(self._lines())
            while found is None:
                self._fill()
                found = parse(self._lines())
        self._outstanding -= 1
        self._read = size(found)
        return found

    def _lines(self) -> Lines:
        self._ends = [np.concatenate(self._ends)] if len(self._ends) > 1 else self._ends
        ends = self._ends[0] if self._ends else np.empty(0, np.int64)
        return Lines(self._buffer[: self._filled], ends)

    def _fill(self) -> None:
        """Receive what has come, at least a byte, and find its line ends."""
        if len(self._buffer) - self._filled < _RECEIVE_BYTES:
            grown = np.empty(2 * len(self._buffer), np.uint8)
            grown[: self._filled] = self._buffer[: self._filled]
            self._buffer = grown
        if self._filled > _MOST_BYTES:
            raise ProtocolError("an answer is larger than 2 GiB; set max.pipeline.size lower")
        count = self._socket.recv_into(self._buffer[self._filled :].data)
        if not count:
            raise redis.ConnectionError("the server closed the connection")
        seen = max(0, self._filled - 1)  # the CR of a line may have come before its LF
        self._filled += count
        self._ends.append(line_ends(self._buffer[: self._filled], seen))

    def _forget(self) -> None:
        """Move what lies behind the replies that were read to the front of the buffer."""
        if not self._read:
            return
        rest = self._filled - self._read
        ends = self._lines().ends
        self._ends = [ends[np.searchsorted(ends, self._read) :] - self._read]
        self._buffer[:rest] = self._buffer[self._read : self._filled]
        self._filled, self._read = rest, 0
