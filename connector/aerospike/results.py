"""Result codes of servers and of the official client, and which errors they are."""

from __future__ import annotations

from connector.errors import (
    AuthenticationError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)

OK = 0
NOT_FOUND = 2
"""The result of a record that is not there."""

FILTERED_OUT = 27
"""The result of a record that a condition leaves out."""

_TIMEOUT = {9, 212}
_UNAVAILABLE = {-15, -14, -12, -10, -9, -8, -7, 7, 11, 14, 15, 18, 83, 152, 210, 211}
"""No connection or answer, no node or one too few, a partition that nobody has, a cluster that changes, a
busy record, an overloaded device, a quota or a queue that is full, a query that was ended."""
_AUTHENTICATION = {51, 52, 60, 62, 63, 65, 66, 80, 81, 82}


def error_of(code: int | None) -> type[StoreError]:
    """Which of our errors a code of the client or the server is."""
    if code in _TIMEOUT:
        return StoreTimeoutError
    if code in _UNAVAILABLE:
        return StoreUnavailableError
    if code in _AUTHENTICATION:
        return AuthenticationError
    return StoreError
