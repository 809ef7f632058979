"""Keeping to a rate."""

from __future__ import annotations

import time


class Pace:
    """Lets through at most so many rows a second, on average since it was made.

    Args:
        rows_per_second: the rate; None for any.
    """

    def __init__(self, rows_per_second: int | None) -> None:
        self._rate = rows_per_second
        self._free = time.monotonic()

    def wait(self, rows: int) -> None:
        """Wait until the rows before are paid for, and take these."""
        if self._rate is None:
            return
        now = time.monotonic()
        if self._free > now:
            time.sleep(self._free - now)
        self._free = max(self._free, now) + rows / self._rate
