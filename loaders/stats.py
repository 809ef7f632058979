"""What a shard cache did: statistics of one seal, and the events that all processes add to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from connector.errors import CacheError

_EVENTS = "events"


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache did for one sealed source.

    Attributes:
        hits: shards that ``seal`` found.
        misses: shards that it had to read from the source and write.
        bytes_read: bytes of the shards found.
        bytes_written: bytes of the shards written.
        quarantined: damaged shards set aside, by any process, since the first seal.
        rebuilt: shards put back from the source, likewise.
    """

    hits: int = 0
    misses: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    quarantined: int = 0
    rebuilt: int = 0


def note(directory: Path, event: str, name: str) -> None:
    """Add to the seal's events, which every process counts alike."""
    with open(directory / _EVENTS, "a") as file:
        file.write(f"{event} {name}\n")


def with_events(stats: CacheStats, directory: Path) -> CacheStats:
    """The statistics with the events of the seal so far."""
    try:
        events = [line.partition(" ")[0] for line in (directory / _EVENTS).read_text().splitlines()]
    except FileNotFoundError:
        return stats
    except OSError as error:
        raise CacheError(f"the shard cache {directory}: {error}") from error
    return replace(stats, quarantined=events.count("quarantined"), rebuilt=events.count("rebuilt"))
