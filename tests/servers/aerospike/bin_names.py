"""Names of bins."""

from __future__ import annotations

from .protocol import Refused, Result

MAX_BYTES = 15


def check_name(name: bytes) -> None:
    """Refuse a bin name that the server would."""
    if len(name) > MAX_BYTES or b"\0" in name:
        raise Refused(Result.BIN_NAME)
