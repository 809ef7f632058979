"""The side of a peer, on the Python that ``scripts/peers`` made: it works when told to.

A line with versions comes when it is ready. Then each line on standard input, the name of some work,
is answered by a line with the seconds that it took and the number of rows. The end of the input ends it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

Work = Callable[[], int]
"""Does something once, and returns how many rows it was."""


def answer(work: Mapping[str, Work], packages: tuple[str, ...]) -> None:
    """Answer until the input ends."""
    # What a library prints must not look like an answer.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    print(json.dumps({name: version(name) for name in packages}), file=out)
    for line in sys.stdin:
        started = time.perf_counter()
        rows = work[line.strip()]()
        print(time.perf_counter() - started, rows, file=out)
