"""One backoff policy, as a value."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from connector.errors import ConnectorError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """Repeat a retryable failure with exponential backoff and full jitter.

    Attributes:
        attempts: how often to try in all; 1 means no retry.
        first_seconds: upper bound of the first pause; each next bound is twice as long.
        limit_seconds: upper bound of any pause.
    """

    attempts: int = 4
    first_seconds: float = 0.05
    limit_seconds: float = 2.0

    def pause_seconds(self, attempt: int) -> float:
        """The longest pause after failure number ``attempt``, counted from 0."""
        return min(self.limit_seconds, self.first_seconds * 2.0**attempt)

    def call(self, action: Callable[[], T]) -> T:
        """Run ``action``, again after each error whose class says it is retryable.

        Raises:
            ConnectorError: the last one, when it is not retryable or the attempts are used up.
        """
        for attempt in range(self.attempts - 1):
            try:
                return action()
            except ConnectorError as error:
                if not error.retryable:
                    raise
                time.sleep(random.uniform(0, self.pause_seconds(attempt)))
        return action()
