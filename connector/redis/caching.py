"""Rows kept between lookups, until the server says that they changed.

redis-py's own client-side caching answers single commands, not pipelines, and of Redis from 7.4 on
alone; so only its connection and its reader of RESP3 are used.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from connector.redis.commands import command
from connector.redis.link import translated
from connector.redis.models.hashes import HashFetch

Row: TypeAlias = "tuple[bytes | None, ...]"

_QUIET_SECONDS = 15
"""A connection is asked so often (PING) whether it is there still: what breaks off need not say so."""

_PUSH = object()


class LookupCache:
    """Rows of hashes that lookups fetched, most recently asked for last.

    A row is fetched over one connection that tracks it (CLIENT TRACKING): the same connection says,
    at some place behind the row, that the row changed. What it says is taken in the order in which it
    says it: a reply is kept as soon as it is read, and an invalidation drops what is kept. So one that
    comes behind a row's reply, however close, finds the row kept and drops it; and as all that has
    come is read before anything is answered, no row is answered whose invalidation has come. It may
    come a moment after who made the change was told that it is made.

    Keys without a row are kept too: the server tracks whatever was asked for. A row that expires is
    kept until the server deletes it, which may be a moment later.

    What is kept is worth no more than its connection: both are given up together. Threads take turns.
    After a fork the child must make another one.

    Args:
        most_rows: most keys to keep rows of; those asked for longest ago are dropped first.
        pool: how the server is reached.
        doing: what is being done, for messages.

    Attributes:
        hits: keys answered by what was kept.
        misses: keys that were fetched.
        invalidations: keys dropped as the server said that they changed, or as all were deleted.
    """

    def __init__(
        self, most_rows: int, pool: Callable[[], redis.ConnectionPool], doing: str
    ) -> None:
        self.hits = 0
        self.misses = 0
        self.invalidations = 0
        self._most_rows = most_rows
        self._pool = pool
        self._doing = doing
        self._turn = threading.Lock()
        self._choices: dict[HashFetch, int] = {}
        self._rows: OrderedDict[bytes, dict[int, Row]] = OrderedDict()
        self._connection: Connection | None = None
        self._answered = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, keys: pa.Array, fetch: HashFetch, window_rows: int) -> list[Row]:
        """The values of each key, from what is kept or from the server.

        Args:
            keys: each once.
            fetch: which fields; at least one.
            window_rows: most keys in a request.

        Raises:
            redis.ResponseError: the server refused a key; the others are kept.
            StoreError: the server cannot be reached, or tracks nothing for this user.
        """
        names = keys.to_pylist()
        with self._turn:
            try:
                with translated(self._doing):
                    connection = self._listening()
                    found = self._kept(names, fetch)
                    missed = [i for i, name in enumerate(names) if name not in found]
                    self.hits += len(found)
                    self.misses += len(missed)
                    refused = None
                    for start in range(0, len(missed), window_rows):
                        asked = keys.take(pa.array(missed[start : start + window_rows]))
                        refused = self._fetch(connection, asked, fetch, found) or refused
            except BaseException:  # whatever it was, replies may be outstanding
                self._forget()
                raise
        if refused is not None:
            raise refused
        return [found[name] for name in names]

    def close(self) -> None:
        """Drop all rows and the connection. Both come again if they are needed."""
        with self._turn:
            self._forget()

    def _kept(self, names: list[bytes], fetch: HashFetch) -> dict[bytes, Row]:
        choice = self._choices.setdefault(fetch, len(self._choices))
        found = {}
        for name in names:
            held = self._rows.get(name)
            if held is not None:
                self._rows.move_to_end(name)
                if choice in held:
                    found[name] = held[choice]
        return found

    def _fetch(
        self, connection: Connection, keys: pa.Array, fetch: HashFetch, found: dict[bytes, Row]
    ) -> redis.ResponseError | None:
        """Ask for rows, and keep each as it comes; return why one was refused."""
        refused, choice = None, self._choices[fetch]
        connection.send_packed_command([fetch.request(keys)], check_health=False)  # type: ignore[no-untyped-call]
        for name in keys.to_pylist():
            try:
                row = tuple(_reply(connection))
            except redis.ResponseError as error:
                refused = error
                continue
            found[name] = row
            self._rows.setdefault(name, {})[choice] = row
            self._rows.move_to_end(name)
            if len(self._rows) > self._most_rows:
                self._rows.popitem(last=False)
        return refused

    def _listening(self) -> Connection:
        """The connection, once all invalidations that have come are read; a new one for a lost one."""
        if self._connection is not None:
            try:
                self._listen(self._connection)
                return self._connection
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                self._forget()
        self._connection = self._connect()
        return self._connection

    def _listen(self, connection: Connection) -> None:
        """Read what has come; ask for a sign of life from time to time."""
        try:
            while connection.can_read():
                connection.read_response(push_request=True, timeout=0, disconnect_on_error=False)
        except redis.TimeoutError:
            pass  # the rest has not come yet
        if time.monotonic() - self._answered > _QUIET_SECONDS:
            connection.send_packed_command([command(b"PING")], check_health=False)  # type: ignore[no-untyped-call]
            _reply(connection)
            self._answered = time.monotonic()

    def _connect(self) -> Connection:
        pool = self._pool()
        settings = {
            **pool.connection_kwargs,
            "protocol": 3,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),  # one that connects anew by itself would track nothing
        }
        connection: Connection = pool.connection_class(**settings)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
            connection._parser.set_invalidation_push_handler(self._invalidated)
            request = command(b"CLIENT", b"TRACKING", b"ON")
            connection.send_packed_command([request], check_health=False)  # type: ignore[no-untyped-call]
            _reply(connection)
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        self._answered = time.monotonic()
        return connection

    def _invalidated(self, push: Sequence[Any]) -> object:
        """Drop the rows that a push names; one that names none is of FLUSHALL or FLUSHDB."""
        names = self._rows.copy() if push[1] is None else push[1]
        for name in names:
            self.invalidations += self._rows.pop(name, None) is not None
        return _PUSH

    def _forget(self) -> None:
        self._rows.clear()
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connection = None


def _reply(connection: Connection) -> Any:
    """The next reply, behind any number of pushes: redis-py would call itself for each of them."""
    found: Any = _PUSH
    while found is _PUSH:
        found = connection.read_response(disable_decoding=True, push_request=True)
    return found
