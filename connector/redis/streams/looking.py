"""Questions to the servers about streams: how they stand, where an entry is, how far a group is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from connector.errors import SchemaError
from connector.redis.link import translated
from connector.redis.reading import is_wrong_type
from connector.redis.servers import Servers, single
from connector.redis.streams.ids import EntryId, IdRange
from connector.redis.streams.state import Position, StreamState

_NO_KEY = "no such key"


@dataclass(frozen=True)
class Sight:
    """A stream as it stood at one moment.

    Attributes:
        state: of the stream; None where there is no such key.
        first: the first entry behind the ID that was asked for; None where there is none.
    """

    state: StreamState | None
    first: EntryId | None = None


def look(servers: Servers, key: str, after: EntryId) -> Sight:
    """How a stream stands, and what comes first behind an ID, in one transaction.

    Raises:
        SchemaError: the key holds another type.
        StoreError: the server cannot be reached, or refuses.
    """

    def ask(client: redis.Redis) -> list[Any]:
        with client.pipeline(transaction=True) as pipeline:
            pipeline.xinfo_stream(key)
            pipeline.xrange(key, min=f"({after}", count=1)
            return pipeline.execute(raise_on_error=False)

    with translated(f"looking at stream {key!r}"):
        info, entries = single(servers, key.encode(), ask)
        for reply in (info, entries):
            if isinstance(reply, redis.ResponseError) and _NO_KEY not in str(reply):
                raise _refused(key, reply)
    if isinstance(info, redis.ResponseError):
        return Sight(None)
    first = EntryId.parse(entries[0][0]) if entries else None
    return Sight(StreamState.of_reply(info), first)


def first_of(servers: Servers, key: str, wanted: Sequence[IdRange]) -> list[EntryId | None]:
    """The first entry in each of some ranges of one stream; None for one that is empty."""

    def ask(client: redis.Redis) -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            for each in wanted:
                pipeline.xrange(key, min=str(each.first), max=str(each.last), count=1)
            return pipeline.execute()

    with translated(f"looking for entries of stream {key!r}"):
        found = single(servers, key.encode(), ask)
    return [EntryId.parse(entries[0][0]) if entries else None for entries in found]


def acknowledge(servers: Servers, key: str, group: str, at: Position) -> None:
    """Move a consumer group forward to a position, and make the group where there is none.

    Raises:
        StoreError: the server cannot be reached, or refuses.
    """

    def move(client: redis.Redis) -> None:
        found = {bytes(item["name"]): item for item in client.xinfo_groups(key)}
        mine = found.get(group.encode())
        if mine is None:
            client.xgroup_create(key, group, id=str(at.id), entries_read=at.added)
        elif EntryId.parse(mine["last-delivered-id"]) < at.id:
            client.xgroup_setid(key, group, id=str(at.id), entries_read=at.added)

    with translated(f"acknowledging entries of stream {key!r} for group {group!r}"):
        try:
            single(servers, key.encode(), move)
        except redis.ResponseError as error:
            if _NO_KEY not in str(error):
                raise


def _refused(key: str, reply: redis.ResponseError) -> Exception:
    if is_wrong_type(str(reply)):
        return SchemaError(f"key {key!r} holds no stream: {reply}")
    return reply
