"""A TCP proxy between a client and a server that fails in the way a test asks for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

Tamper = Callable[[bytes, int], bytes | None]
"""From a piece of the server's answer, and the number of bytes answered before it, to what is passed
on; None cuts the connection."""


@dataclass
class Proxy:
    """A listening proxy.

    Attributes:
        url: the server's URL, by way of the proxy.
        tamper: what to do to the server's answers; may be changed while the proxy runs.
        answered: bytes of answers passed on so far.
    """

    url: str
    tamper: Tamper
    answered: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    def _serve(self, listener: socket.socket, target: tuple[str, int]) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(target)
            self._open += [client, server]
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(
                    target=self._pass, args=(source, sink, answers), daemon=True
                ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                changed = self.tamper(data, self.answered) if answers else data
                if changed is None:
                    break
                if answers:
                    self.answered += len(data)
                sink.sendall(changed)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxied(url: str, tamper: Tamper = lambda data, _: data) -> Iterator[Proxy]:
    """Run a proxy to the server at ``url``."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        netloc = f"127.0.0.1:{listener.getsockname()[1]}"
        proxy = Proxy(urlunsplit((parts.scheme, netloc, parts.path, "", "")), tamper)
        target = (parts.hostname, parts.port)
        threading.Thread(target=proxy._serve, args=(listener, target), daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for opened in proxy._open:
                opened.close()
