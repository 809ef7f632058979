"""How chunks are compressed."""

from __future__ import annotations

import enum


class ArrowCompression(enum.Enum):
    """How the record batches of a table are compressed: not at all, fast, or small."""

    NONE = "none"
    LZ4 = "lz4"
    ZSTD = "zstd"

    @property
    def codec(self) -> str | None:
        """As Arrow names it."""
        return None if self is ArrowCompression.NONE else self.value
