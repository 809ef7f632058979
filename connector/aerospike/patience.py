"""How long a scan goes on asking a cluster in which nodes fail."""

from __future__ import annotations

import time

_PAUSE_SECONDS = 0.2  # until the cluster is looked at again


class Patience:
    """The time that a cluster has to replace what failed, from the first failure since there was progress.

    Args:
        seconds: how long that is.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def renew(self) -> None:
        """There was progress."""
        self._until = None

    def wait(self) -> bool:
        """After a failure: pause before the next attempt; False where the time is over."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        if now >= self._until:
            return False
        time.sleep(_PAUSE_SECONDS)
        return True
