"""What a shard cache did: statistics of one seal, and the events that all processes add to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from connector.errors import CacheError

_EVENTS = "events"


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache did for one sealed source: this call of ``seal``, and all its readers so far.

    Attributes:
        hits: shards that were there when they were wanted.
        misses: shards that had to be read from the source, or brought from their home.
        bytes_read: bytes of the hits.
        bytes_written: bytes of the misses.
        evictions: shards that went, to keep the limit.
        bytes_evicted: bytes of these.
        quarantined: damaged shards set aside.
        rebuilt: shards put back from the source.
    """

    hits: int = 0
    misses: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    evictions: int = 0
    bytes_evicted: int = 0
    quarantined: int = 0
    rebuilt: int = 0


def note(directory: Path, event: str, name: str, size: int = 0) -> None:
    """Add to the seal's events, which every process counts alike."""
    with open(directory / _EVENTS, "a") as file:
        file.write(f"{event} {size} {name}\n")


def with_events(stats: CacheStats, directory: Path) -> CacheStats:
    """The statistics with the events of the seal so far."""
    try:
        lines = (directory / _EVENTS).read_text().splitlines()
    except FileNotFoundError:
        return stats
    except OSError as error:
        raise CacheError(f"the shard cache {directory}: {error}") from error
    times: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for line in lines:
        event, size, _ = line.split(" ", 2)
        times[event] += 1
        sizes[event] += int(size)
    return replace(
        stats,
        hits=stats.hits + times["hit"],
        misses=stats.misses + times["fetched"],
        bytes_read=stats.bytes_read + sizes["hit"],
        bytes_written=stats.bytes_written + sizes["fetched"],
        evictions=times["evicted"],
        bytes_evicted=sizes["evicted"],
        quarantined=times["quarantined"],
        rebuilt=times["rebuilt"],
    )
