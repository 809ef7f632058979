"""The sockets: one thread per connection, one lock around the data."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator

from . import batches, protocol, queries
from .commands import Commands, Faults
from .indexes import Indexes
from .info import Info
from .protocol import Field, Message, Refused, Result
from .records import Namespace

CHUNK_BYTES = 128 << 10
_SECURITY = 2
_SECURITY_NOT_SUPPORTED = 51


class Server:
    """Listens on a loopback port and answers clients as a server of this build."""

    def __init__(
        self, port: int = 0, namespace: str = "test", build: queries.Build = queries.BUILD
    ) -> None:
        self.build = build
        self.namespace = Namespace(namespace)
        self.indexes = Indexes()
        self.faults = Faults()
        self._lock = threading.RLock()
        self._connections: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listening.getsockname()[1]
        told = ".".join(map(str, build))
        self._commands = Commands(self.namespace, self.faults)
        self._info = Info(self.namespace, self.indexes, f"127.0.0.1:{self.port}", told)

    def serve_forever(self) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = self._listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def drop_connections(self) -> None:
        """Cut every connection that there is now."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):  # it may have ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def _converse(self, connection: socket.socket) -> None:
        try:
            while head := _received(connection, protocol.PROTO_BYTES):
                _, kind, size = protocol.parse_proto(head)
                if size > protocol.MAX_BODY_BYTES:
                    return
                body = _received(connection, size)
                self._answer(connection, kind, body)
        except OSError:
            pass
        finally:
            self._connections.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, kind: int, body: bytes) -> None:
        if self.faults.delay_seconds:
            time.sleep(self.faults.delay_seconds)
        if kind == protocol.INFO:
            with self._lock:
                names = [name for name in body.decode().split("\n") if name]
                answers = [(name, self._info.answer(name)) for name in names]
            connection.sendall(protocol.proto(protocol.INFO, protocol.info_reply(answers)))
        elif kind == protocol.DATA:
            message = protocol.parse(body)
            if batches.is_batch(message):
                with self._lock:
                    bodies = list(batches.answered(message, self._commands))
                for chunk in _chunks(bodies):
                    connection.sendall(protocol.proto(protocol.DATA, chunk))
            elif Field.DIGEST in message.fields:
                with self._lock:
                    reply = self._commands.answer(message)
                connection.sendall(protocol.proto(protocol.DATA, reply.packed()))
            else:
                self._query(connection, message)
        elif kind == protocol.COMPRESSED:
            refusal = protocol.Reply(Result.ENTERPRISE_ONLY).packed()
            connection.sendall(protocol.proto(protocol.DATA, refusal))
        elif kind == _SECURITY:
            refusal = bytes([0, _SECURITY_NOT_SUPPORTED]) + bytes(14)
            connection.sendall(protocol.proto(_SECURITY, refusal))
        else:
            connection.close()

    def _query(self, connection: socket.socket, message: Message) -> None:
        result = Result.OK
        try:
            if message.fields.get(Field.NAMESPACE) != self.namespace.name.encode():
                raise Refused(Result.NAMESPACE)
            query = queries.Query.of(message, self.indexes, self.build)
            bodies = self._paced(self._found(query), query.records_per_second)
            one_by_one = self.faults.end_scans
            for chunk in _chunks(bodies, limit_bytes=1 if one_by_one else CHUNK_BYTES):
                connection.sendall(protocol.proto(protocol.DATA, chunk))
                if one_by_one:
                    self._count_down()
        except Refused as refused:
            result = refused.result
        connection.sendall(protocol.proto(protocol.DATA, protocol.last(result)))

    def _found(self, query: queries.Query) -> Iterator[bytes]:
        found = queries.answered(query, self.namespace, lambda: self.faults.unavailable)
        while True:
            with self._lock:
                bodies = next(found, None)
            if bodies is None:
                return
            yield from bodies

    def _paced(self, bodies: Iterator[bytes], per_second: int) -> Iterator[bytes]:
        begin = time.monotonic()
        for count, body in enumerate(bodies):
            if per_second and (ahead := count / per_second - (time.monotonic() - begin)) > 0:
                time.sleep(ahead)
            yield body

    def _count_down(self) -> None:
        """End as the test has ordered for after so many scanned records."""
        faults = self.faults
        if faults.kill_after is not None:
            faults.kill_after -= 1
            if faults.kill_after <= 0:
                os._exit(9)
        if faults.cut_after is not None:
            faults.cut_after -= 1
            if faults.cut_after <= 0:
                faults.cut_after = None
                raise ConnectionAbortedError


def _chunks(bodies: Iterable[bytes], limit_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for body in bodies:
        chunk.append(body)
        size += len(body)
        if size >= limit_bytes:
            yield b"".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)


def _received(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes; none where the connection ends."""
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
