"""Requests for keys, each sent to the node that has them, and kept alive while keys and roles move.

Requests are in flight to every node at once. Where a node answers that a key has moved, or does not
answer any more, all that is in flight is received first, and then what was refused is sent again, in
its old order: so of two rows of one key the later still wins.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
import redis

from connector.errors import StoreError, StoreTimeoutError, StoreUnavailableError
from connector.redis.link import Link, translated
from connector.redis.servers import REPLACED, Rows, Servers, is_moving, pauses, told_by

_AHEAD = (
    2  # requests in flight to a node: it works on one while the next is built, or the last decoded
)
_FAILED = (StoreUnavailableError, StoreTimeoutError)


class Work(Protocol):
    """Keys, and whatever belongs to each of them."""

    @property
    def keys(self) -> pa.Array: ...

    def take(self, rows: Rows) -> Self:
        """Some of the keys, in this order."""
        ...


class Result(Protocol):
    """What a node answered for keys; ``errors`` are the refused ones, and why."""

    @property
    def errors(self) -> dict[int, str]: ...


W = TypeVar("W", bound=Work)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Answer(Generic[W, R]):
    """One answered request.

    Attributes:
        work: the keys it was for.
        result: what the node said.
        postponed: which of the keys come again in a later answer, as they were moving.
    """

    work: W
    result: R
    postponed: frozenset[int] = frozenset()


class Links:
    """The connections of one operation: one to each node, made when first needed."""

    def __init__(self, servers: Servers, doing: str, replica: bool = False) -> None:
        self._servers = servers
        self._doing = doing
        self._replica = replica
        self._open: dict[tuple[str, str], Link] = {}

    @property
    def nodes(self) -> int:
        """How many nodes there are links to."""
        return len({node for node, _ in self._open})

    def __iter__(self) -> Iterator[Link]:
        return iter(self._open.values())

    def to(self, node: str, purpose: str = "") -> Link:
        """The link to a node; another one for each ``purpose``."""
        found = self._open.get((node, purpose))
        if found is None or found.closed:
            found = Link(self._servers.pool(node, self._replica), self._doing)
            self._open[node, purpose] = found
        return found

    def drop(self, node: str) -> None:
        """Give up every link to a node; what was outstanding on them is lost."""
        for place in [place for place in self._open if place[0] == node]:
            self._open.pop(place).close()

    def confirm(self) -> None:
        """Make sure, after writing, that the servers written to are the ones to write to still.

        Raises:
            StoreUnavailableError: one was replaced meanwhile: what it acknowledged may be lost. No
                connection to it is kept, as it may go on taking writes for seconds.
        """
        try:
            with translated(self._doing):
                self._servers.confirm({link.peer for link in self})
        except StoreUnavailableError:
            self.close()
            self._servers.refresh()
            raise

    def close(self) -> None:
        """Give every connection back."""
        for link in self:
            link.close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Flight(Generic[W]):
    """A request that was sent; ``place`` is that of its work among all that was put."""

    place: int
    node: str
    link: Link
    work: W
    size: int


@dataclass(frozen=True)
class _Refused(Generic[W]):
    """Work that has to be sent again, its place among all that was put, and why."""

    place: int
    work: W
    text: str


class Exchange(Generic[W, R]):
    """Sends work to the nodes that have its keys, and receives what they answer.

    Args:
        servers: who has which key.
        links: the connections to use.
        doing: what is being done, for messages.
        send: sends work over a link, and returns the request's size in bytes. Where it is told that
            the node has to be asked first (ASKING), the work is one key, and only one command, or one
            transaction, may be sent.
        receive: receives the answer to the oldest work sent over a link; told whether it was asked.
        limit_bytes: most bytes of requests in flight, beyond one request.
        survives: whether work goes on where a server is lost, as long as another may take its place.
            Where it wrote, what the lost one had acknowledged may be lost too: then that is an error.
    """

    def __init__(
        self,
        servers: Servers,
        links: Links,
        doing: str,
        *,
        send: Callable[[Link, W, bool], int],
        receive: Callable[[Link, W, bool], R],
        limit_bytes: int,
        survives: bool = True,
    ) -> None:
        self._servers = servers
        self._links = links
        self._doing = doing
        self._send = send
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._survives = survives
        self._flying: deque[_Flight[W]] = deque()
        self._refused: list[_Refused[W]] = []
        self._places = 0
        self._reached: set[str] = set()

    def put(self, work: W) -> Iterator[Answer[W, R]]:
        """Send work; yield answers to earlier work as room in flight is needed."""
        self._put(self._places, work)
        self._places += 1
        while self._full() or self._refused:
            yield from self._next()

    def drain(self) -> Iterator[Answer[W, R]]:
        """Yield the answers to everything that was put."""
        while self._flying or self._refused:
            yield from self._next()

    def _full(self) -> bool:
        flying = len(self._flying)
        held = sum(flight.size for flight in self._flying)
        return flying >= _AHEAD * max(1, self._links.nodes) or (
            flying > 1 and held > self._limit_bytes
        )

    def _put(self, place: int, work: W) -> None:
        try:
            parts = self._servers.split(work.keys)
        except StoreUnavailableError as error:  # a slot is nobody's while a node is replaced
            self._refused.append(_Refused(place, work, str(error)))
            return
        for node, rows in parts:
            part = work if rows is None else work.take(rows)
            try:
                link = self._links.to(node)
                size = self._send(link, part, False)
            except _FAILED as error:
                self._lost(place, node, part, error)
            else:
                self._reached.add(node)
                self._flying.append(_Flight(place, node, link, part, size))

    def _next(self) -> Iterator[Answer[W, R]]:
        """Receive the oldest answer; if something moves, settle everything that is in flight."""
        if self._flying:
            yield from self._oldest()
        if not self._refused:
            return
        last = ""
        for _ in pauses(self._servers.patience_seconds):
            yield from self._settle()
            refused = sorted(self._refused, key=lambda each: each.place)
            self._refused = []
            if not refused:
                return
            last = refused[0].text
            self._refresh([each.text for each in refused])
            yield from self._again(refused)
        yield from self._settle()
        if self._refused:
            raise StoreUnavailableError(
                f"{self._doing}: given up after {self._servers.patience_seconds:g} seconds: {last}"
            )

    def _settle(self) -> Iterator[Answer[W, R]]:
        """Receive everything that is in flight."""
        while self._flying:
            yield from self._oldest()

    def _again(self, refused: list[_Refused[W]]) -> Iterator[Answer[W, R]]:
        """Send refused work once more; behind one that is refused again, the rest waits its turn."""
        for i, each in enumerate(refused):
            asked = each.text.startswith("ASK ")
            if asked:  # what it asks would be answered behind what is in flight on the same link
                yield from self._settle()
            if self._refused:
                self._refused += refused[i:]
                return
            if asked:
                yield from self._asked(each)
            else:
                self._put(each.place, each.work)

    def _refresh(self, texts: list[str]) -> None:
        """Look for the new places; where nobody tells, the old ones are tried again."""
        if any(not text.startswith("ASK ") for text in texts):
            with contextlib.suppress(redis.RedisError, OSError):
                self._servers.refresh(told_by(texts))

    def _oldest(self) -> Iterator[Answer[W, R]]:
        flight = self._flying.popleft()
        if flight.link.closed:
            self._refused.append(_Refused(flight.place, flight.work, "the connection was lost"))
            return
        try:
            result = self._receive(flight.link, flight.work, False)
        except _FAILED as error:
            self._lost(flight.place, flight.node, flight.work, error)
            return
        yield self._sifted(flight.place, flight.work, result)

    def _asked(self, refused: _Refused[W]) -> Iterator[Answer[W, R]]:
        """Keys on their way to another node: ask that one, key by key, as each has to be asked for."""
        node = refused.text.split()[2]
        for row in range(len(refused.work.keys)):
            one = refused.work.take(np.array([row]))
            try:
                link = self._links.to(node)
                link.asking()
                self._send(link, one, True)
                result = self._receive(link, one, True)
            except _FAILED as error:
                self._lost(refused.place, node, one, error)
            else:
                self._reached.add(node)
                yield self._sifted(refused.place, one, result)

    def _sifted(self, place: int, work: W, result: R) -> Answer[W, R]:
        """Note what has to be sent again: by what was answered, as it may be asked of many nodes."""
        moving = {row: text for row, text in result.errors.items() if is_moving(text)}
        if not moving:
            return Answer(work, result)
        replaced = [text for text in moving.values() if text.startswith(REPLACED)]
        if not self._servers.patience_seconds or (replaced and not self._survives):
            text = next(iter(replaced or moving.values()))
            raise StoreUnavailableError(f"{self._doing}: {text}")
        if any(not text.startswith(("MOVED ", "ASK ")) for text in moving.values()):
            text = next(iter(moving.values()))
            self._refused.append(_Refused(place, work.take(np.array(list(moving))), text))
        else:
            texts: dict[str, list[int]] = {}
            for row, text in moving.items():
                kind, _, rest = text.partition(" ")
                texts.setdefault(f"{kind} 0 {rest.rpartition(' ')[2]}", []).append(row)
            for text, rows in texts.items():
                self._refused.append(_Refused(place, work.take(np.array(rows)), text))
        return Answer(work, result, frozenset(moving))

    def _lost(self, place: int, node: str, work: W, error: StoreError) -> None:
        if not self._servers.patience_seconds:
            raise error
        if not self._survives and node in self._reached:
            raise type(error)(
                f"{error}; rows that the server had acknowledged may be lost with it: write again"
            ) from error
        self._links.drop(node)
        self._refused.append(_Refused(place, work, str(error)))
