"""Runs one server for one parent process, and ends it when the parent asks or is gone.

``connector.embedded`` runs this file as a script, so it imports nothing but the standard library:

    python -I -S supervisor.py PARENT_PID DIRECTORY COMMAND...

It prints the server's process id, or an empty line where it could not be started, and, when the
server has ended, the end of its log. Before that, the directory is removed.

The parent is known to be gone by either of two signs. The pipe at standard input reports its end at
once, but a forked child of the parent may hold the other end open for ever. The change of this
process's own parent is seen by everyone, but only by looking. (Linux's death signal is no third: it
is tied to the thread that forked, and other systems lack it.)
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

LOG = "server.log"
_LOOK_SECONDS = 0.1
_TAIL_BYTES = 2000  # less than any pipe holds, so that printing it never waits for a reader


def main() -> None:
    """Start the server, wait until it ends or is to be ended, and clear up."""
    parent, directory, command = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit())
    tail = b""
    try:
        tail = _supervise(parent, directory, command)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        _tell(tail)


def _supervise(parent: int, directory: Path, command: list[str]) -> bytes:
    """Run the command for as long as it is wanted; the end of its log."""
    log = directory / LOG
    with log.open("wb") as sink:
        try:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=directory
            )
        except OSError as error:
            return f"\n{error}".encode()
    try:
        _tell(f"{server.pid}\n".encode())
        while server.poll() is None and os.getppid() == parent:
            if select.select([0], [], [], _LOOK_SECONDS)[0]:
                break
    finally:
        server.kill()  # its data is thrown away, so there is nothing to end in order
        server.wait()
    return log.read_bytes()[-_TAIL_BYTES:]


def _tell(text: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(1, text)


if __name__ == "__main__":
    main()
