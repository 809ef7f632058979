"""How far the next batch reads in each stream, and how it is cut into partitions: arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from connector.redis.streams.ids import IdRange, cut
from connector.redis.streams.state import Position, StreamState

_LEAST_ENTRIES = 1000  # in a partition: to start a task takes as long as to read some hundreds


def pending(at: Position, state: StreamState) -> int:
    """How many entries there are behind a position; rather too many where the state does not tell."""
    if state.last <= at.id:
        return 0
    if state.first is None or state.first > at.id:
        return state.length
    known = at.added is not None and state.added is not None
    return min(state.length, state.added - at.added) if known else state.length  # type: ignore[operator]


def shares(wanted: Mapping[str, int], limit: int) -> dict[str, int]:
    """Divide ``limit`` among streams by what each has.

    A stream that has entries gets one at least, as far as the limit goes: so none waits for ever
    behind another that always has more.
    """
    total = sum(wanted.values())
    if total <= limit:
        return dict(wanted)
    least = {key: min(1, count) for key, count in wanted.items()}
    if sum(least.values()) > limit:
        least = dict.fromkeys(wanted, 0)
    limit -= sum(least.values())
    total -= sum(least.values())
    parts = {key: divmod(limit * (wanted[key] - least[key]), total) for key in wanted}
    found = {key: least[key] + whole for key, (whole, _) in parts.items()}
    over = limit - sum(whole for whole, _ in parts.values())
    for key in sorted(wanted, key=lambda key: (-parts[key][1], key))[:over]:
        found[key] += 1
    return found


def to_last(at: Position, state: StreamState, read: IdRange | None) -> Position:
    """The end of a batch that reads all there is in a stream.

    Args:
        at: where it begins.
        state: of the stream, or of the stream as it was when the query should end.
        read: what there is to read; None for nothing.
    """
    if read is not None:
        return Position(read.last, state.added, read.first, max(1, pending(at, state)))
    if state.last > at.id:
        return Position(state.last, state.added)
    return replace(at, first=None, entries=0)


def to_entry(at: Position, state: StreamState, read: IdRange, entries: int) -> Position:
    """The end of a batch that reads some of a stream's entries, and has been found to be so many."""
    added = None
    all_left = state.first is not None and state.first > at.id
    if state.added is not None and all_left:
        later = state.deleted is not None and state.deleted > read.last
        added = None if later else state.added - (state.length - entries)
    elif at.added is not None and (state.deleted is None or state.deleted <= at.id):
        added = at.added + entries
    return Position(read.last, added, read.first, entries)


def ranges(end: Mapping[str, Position], parts: int) -> list[IdRange]:
    """The ranges of a batch, each stream's in order: about ``parts`` in all, at least one a stream."""
    read = {key: at for key, at in end.items() if at.first is not None}
    total = sum(at.entries for at in read.values())
    found: list[IdRange] = []
    for key, at in read.items():
        assert at.first is not None
        mine = min(round(parts * at.entries / max(1, total)), -(-at.entries // _LEAST_ENTRIES))
        found += cut(IdRange(key, at.first, at.id), max(1, mine))
    return found


def gathered(found: Sequence[IdRange], parts: int) -> list[tuple[IdRange, ...]]:
    """The ranges in at most ``parts`` groups: so many streams may be read by one task."""
    parts = min(parts, len(found))
    return [tuple(found[i::parts]) for i in range(parts)]
