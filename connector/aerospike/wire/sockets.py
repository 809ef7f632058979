"""Sockets to nodes: one request at a time, its reply received into one buffer without a copy."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import numpy as np

from connector.aerospike.wire.messages import FRAME_BYTES, HEADER_BYTES, ending, frame_size
from connector.aerospike.wire.nodes import Address
from connector.aerospike.wire.particles import SPARE_BYTES, Bytes
from connector.errors import StoreError

_FIRST_BYTES = 1 << 20
_MOST_BYTES = (1 << 31) - 1  # what the offsets of Arrow's arrays can hold
_IDLE_SECONDS = 50.0  # servers may be configured to close what was idle for a minute


class Buffer:
    """The messages of a reply, one after the other, and room behind them.

    Attributes:
        data: the bytes; what comes behind ``size`` of them means nothing.
        size: how many are messages.
    """

    def __init__(self) -> None:
        self.data: Bytes = np.zeros(_FIRST_BYTES, np.uint8)
        self.size = 0

    def room(self, count: int) -> memoryview:
        """The place for so many bytes behind the messages; more behind it may be written on.

        Raises:
            StoreError: there would be more than Arrow's offsets can tell apart.
        """
        needed = self.size + count + SPARE_BYTES
        if needed > _MOST_BYTES:
            raise StoreError("a page is larger than 2 GiB; read fewer rows in a batch")
        if needed > len(self.data):
            grown = np.zeros(max(needed, 2 * len(self.data)), np.uint8)
            grown[: self.size] = self.data[: self.size]
            self.data = grown
        return self.data[self.size : self.size + count].data


class Sockets:
    """Idle connections to nodes, of one process.

    Args:
        connect_seconds: how long to wait for a connection.
        wait_seconds: how long to wait for the next bytes.
    """

    def __init__(self, connect_seconds: float, wait_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._wait_seconds = wait_seconds
        self._idle: list[tuple[Address, float, socket.socket]] = []

    def ask(self, address: Address, request: bytes, buffer: Buffer) -> int:
        """Send a request, and receive the messages of its reply.

        Args:
            address: the node.
            request: a frame.
            buffer: gets the messages, but for the one that ends the reply.

        Returns:
            The result that the reply ends with.

        Raises:
            OSError, TimeoutError: the connection failed, or the node did not answer in time.
            StoreError: what it sent is no reply, or too large a one.
        """
        buffer.size = 0
        with self._taken(address) as taken:
            taken.sendall(request)
            return _receive(taken, buffer)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop()[2].close()

    def __del__(self) -> None:
        self.close()

    @contextlib.contextmanager
    def _taken(self, address: Address) -> Iterator[socket.socket]:
        """A connection to a node, which is kept if it was used without an error."""
        taken = self._found(address) or self._connected(address)
        try:
            yield taken
        except BaseException:
            taken.close()
            raise
        self._idle.append((address, time.monotonic(), taken))

    def _connected(self, address: Address) -> socket.socket:
        made = socket.create_connection(address, self._connect_seconds)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(self._wait_seconds)
        return made

    def _found(self, address: Address) -> socket.socket | None:
        """An idle connection to a node that is not too old; None where there is none."""
        found = None
        known, self._idle = self._idle, []
        for entry in known:
            where, since, one = entry
            if time.monotonic() - since > _IDLE_SECONDS:
                one.close()
            elif found is None and where == address:
                found = one
            else:
                self._idle.append(entry)
        return found


def _receive(taken: socket.socket, buffer: Buffer) -> int:
    """The messages of a reply; the result of the one that ends it.

    A frame is received together with the head of the next, over which the messages of that one come to
    lie.
    """
    head = memoryview(bytearray(FRAME_BYTES))
    _fill(taken, head)
    while True:
        size = frame_size(head)
        if size == HEADER_BYTES:  # nothing may come after it
            place = buffer.room(size)
            _fill(taken, place)
            if (result := ending(place)) is not None:
                return result
            buffer.size += size
            _fill(taken, head)
            continue
        place = buffer.room(size + FRAME_BYTES)
        _fill(taken, place)
        head[:] = place[size:]
        buffer.size += size


def _fill(taken: socket.socket, place: memoryview) -> None:
    while place:
        count = taken.recv_into(place)
        if not count:
            raise ConnectionResetError("the node closed the connection")
        place = place[count:]
