"""What a run of a benchmark case is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How much to measure, and beside whom.

    Attributes:
        rows: rows of the table, for a case that grows several tables; empty for the case's own.
        repeats: counted rounds, after some to warm up.
        peers: what ``scripts/peers`` made; None to leave those peers out.
        url: of a server that runs already, for a case that starts none.
    """

    rows: tuple[int, ...] = ()
    repeats: int = 5
    peers: Path | None = None
    url: str | None = None

    def rows_or(self, default: int) -> int:
        """The one number of rows that was asked for, or the default.

        Raises:
            SystemExit: several were given.
        """
        if len(self.rows) > 1:
            raise SystemExit("this case takes one number of rows; growth takes several")
        return self.rows[0] if self.rows else default

    @property
    def loaders_python(self) -> Path:
        """The Python of the other loaders, which ``scripts/peers`` makes."""
        assert self.peers is not None
        return self.peers.resolve() / "loaders" / "bin" / "python"

    @property
    def has_loaders(self) -> bool:
        """Whether it made them."""
        return self.peers is not None and self.loaders_python.exists()
