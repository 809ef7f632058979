"""Contenders that run on another Python: a process that answers each line of its input by a line."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.timing import Contender


@dataclass(frozen=True)
class Asked:
    """A running peer.

    Attributes:
        process: it.
        versions: what it said when it was ready.
    """

    process: subprocess.Popen[str]
    versions: dict[str, object]

    def ask(self, request: str) -> str:
        """What it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return line_of(self.process)

    def rate(self, request: str) -> float:
        """Rows per second of work that is answered by its seconds and rows, as the peer counted them."""
        seconds, rows = map(float, self.ask(request).split())
        return rows / seconds

    def contender(self, request: str) -> Contender:
        return lambda: self.rate(request)


@contextmanager
def started(python: Path, code: str, given: Mapping[str, object]) -> Iterator[Asked]:
    """A script of this directory on another Python, once it is ready; the end of its input ends it."""
    command = [str(python), "-P", str(Path(__file__).with_name(code)), json.dumps(given)]
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=directory
        ) as process,
    ):
        yield Asked(process, json.loads(line_of(process)))


def line_of(process: subprocess.Popen[str], who: str = "the peer") -> str:
    """The next line of a process's output; it is named where there is none, as it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{who} ended; see its log above")
    return line
