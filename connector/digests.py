"""Names for content: equal for equal content, in every process."""

from __future__ import annotations

import hashlib


def digest(*parts: object) -> str:
    """A short stable name for the texts of ``parts``."""
    text = "\x00".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
