"""The server's clock. Times are stored from the first of January 2010, UTC."""

from __future__ import annotations

import time

EPOCH_SECONDS = 1262304000


def now_ms() -> int:
    """Milliseconds since 2010."""
    return time.time_ns() // 1_000_000 - EPOCH_SECONDS * 1000


def now_seconds() -> int:
    """Seconds since 2010."""
    return int(time.time()) - EPOCH_SECONDS


def unix_ns(ms: int) -> int:
    """Nanoseconds since 1970 of milliseconds since 2010."""
    return (ms + EPOCH_SECONDS * 1000) * 1_000_000


def from_unix_ns(ns: int) -> int:
    """Milliseconds since 2010 of nanoseconds since 1970, 0 for what is before."""
    return max(0, ns // 1_000_000 - EPOCH_SECONDS * 1000)
