"""What a server says of a stream, and how far a reader has come in it: all as of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.redis.streams.ids import BEGINNING, EntryId


@dataclass(frozen=True)
class StreamState:
    """What XINFO STREAM says.

    Attributes:
        length: how many entries there are.
        first: the ID of the first of them; None where there are none.
        last: the last ID that was ever given.
        added: how many entries were ever added; None on servers before Redis 7.
        deleted: the greatest ID that XDEL removed; None where it removed none, or where servers do
            not tell.
    """

    length: int
    first: EntryId | None
    last: EntryId
    added: int | None = None
    deleted: EntryId | None = None

    @classmethod
    def of_reply(cls, reply: Mapping[str, Any]) -> StreamState:
        """From redis-py's answer to XINFO STREAM."""
        entry = reply["first-entry"]
        deleted = EntryId.parse(reply.get("max-deleted-entry-id", b"0-0"))
        return cls(
            length=int(reply["length"]),
            first=None if entry is None else EntryId.parse(entry[0]),
            last=EntryId.parse(reply["last-generated-id"]),
            added=None if "entries-added" not in reply else int(reply["entries-added"]),
            deleted=None if deleted == BEGINNING else deleted,
        )


@dataclass(frozen=True)
class Position:
    """How far a stream has been read, and what the batch that ends here has of it.

    A batch is described by where it ends alone: so it is the same entries when it is read again.

    Attributes:
        id: every entry up to this ID has been read.
        added: how many entries were ever added up to ``id``, those that are gone included; None where
            that is not known.
        first: the first entry of the batch; None where the batch has none of this stream.
        entries: about how many entries the batch has.
    """

    id: EntryId
    added: int | None = None
    first: EntryId | None = None
    entries: int = 0

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Position:
        """The opposite of ``to_json``."""
        first = found.get("first")
        return cls(
            id=EntryId.parse(found["id"]),
            added=found.get("added"),
            first=None if first is None else EntryId.parse(first),
            entries=found.get("entries", 0),
        )

    def to_json(self) -> dict[str, Any]:
        """As values that JSON knows."""
        first = None if self.first is None else str(self.first)
        return {"id": str(self.id), "added": self.added, "first": first, "entries": self.entries}


@dataclass(frozen=True)
class Loss:
    """Entries that were never read and cannot be any more.

    Attributes:
        why: what happened, as words that follow the stream's name.
        count: how many there are; None where that is not known.
        anew: whether the stream is another one than that which was read.
    """

    why: str
    count: int | None = None
    anew: bool = False


def begun(start: str | EntryId, state: StreamState | None) -> Position:
    """Where reading begins.

    Args:
        start: ``earliest``, ``latest``, or the ID after which to read.
        state: of the stream; None where there is none yet.
    """
    if state is None:
        return Position(start, None) if isinstance(start, EntryId) else Position(BEGINNING, 0)
    before = None if state.added is None else state.added - state.length
    if start == "latest":
        return Position(state.last, state.added)
    if start == "earliest":
        return Position(state.last if state.first is None else state.first.before, before)
    assert isinstance(start, EntryId)
    if start == state.last:
        return Position(start, state.added)
    all_after = start < state.last and (state.first is None or start < state.first)
    return Position(start, before if all_after else None)


def lost(at: Position, state: StreamState) -> Loss | None:
    """What is gone of the entries after a position, as far as the state tells.

    It tells nothing where ``added`` is not known. Entries that were trimmed are found as soon as the
    first one left is behind the position: then all entries left are, and the rest of those added since
    is gone. Entries that XDEL took out of the middle are noticed by the greatest of their IDs.
    """
    if at.added is None or state.added is None:
        return None
    added = state.added - at.added
    if added < 0 or state.last < at.id:
        return Loss("was deleted and made anew", anew=True)
    if state.first is None or state.first > at.id:
        gone = added - state.length
        if gone < 0:
            return Loss("was deleted and made anew", anew=True)
        left = "none is left" if state.first is None else f"the first one left is {state.first}"
        return Loss(f"lost entries behind {at.id}, {left}", gone) if gone else None
    if state.deleted is not None and state.deleted > at.id:
        return Loss(f"lost entries behind {at.id} by XDEL, {state.deleted} among them")
    return None
