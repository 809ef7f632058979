"""Where the index of an Arrow table lies: a hash beside the table, swapped in one transaction."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import redis

from connector.arrow_tables.index import Chunk, Index
from connector.errors import StoreError
from connector.redis import saved
from connector.redis.keyspace import RESERVED
from connector.redis.options import ModelName
from connector.redis.servers import Servers, single

SPEC = ModelName.ARROW.value
"""What is saved with a table that is kept so."""

Fields: TypeAlias = Mapping[bytes, bytes]

_SCHEMA = b"schema"
_FENCE = b"aborted"  # is there within one transaction alone: it makes pending swaps fail
_SWITCHES = b"switches"  # counted where a swap has to reach replicas


def index_key(table: str) -> bytes:
    """Where a table's index lies: outside of the table's own prefix."""
    return f"{RESERVED}chunks:{table}".encode()


def load(servers: Servers, table: str) -> tuple[Index | None, Fields]:
    """The index of a table, None where there is none; and its fields, by which it is known again.

    Raises:
        StoreError: it was damaged, or written by something else.
    """
    key = index_key(table)
    found: dict[bytes, bytes] = single(servers, key, lambda client: client.hgetall(key))  # type: ignore[arg-type,return-value]
    found.pop(_SWITCHES, None)
    if _SCHEMA not in found:
        return None, found
    try:
        own = [_chunk(name, text) for name, text in found.items() if name != _SCHEMA]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the index of table {table!r}, saved under {key!r}, cannot be read: {error}; overwrite "
            f"the table"
        ) from error
    return Index.of(saved.from_text(table, found[_SCHEMA]), own), found


def swap(servers: Servers, table: str, before: Fields, index: Index) -> bool:
    """Put an index in place of the one with these fields, if that is still there, in one transaction."""
    after = {_SCHEMA: saved.to_text(index.schema).encode()}
    after |= {name.encode(): _text(chunk) for name, chunk in index.chunks.items()}
    run = functools.partial(_swap, index_key(table), before=before, after=after)
    return single(servers, index_key(table), run)


def _swap(key: bytes, client: redis.Redis, *, before: Fields, after: Fields) -> bool:
    with client.pipeline() as pipeline:
        try:
            pipeline.watch(key)  # type: ignore[no-untyped-call]
            found: Any = pipeline.hgetall(key)
            if {name: found[name] for name in found if name != _SWITCHES} != before:
                return False
            gone = [name for name in before if name not in after]
            new = {name: text for name, text in after.items() if before.get(name) != text}
            pipeline.multi()
            if gone:
                pipeline.hdel(key, *gone)
            if new:
                pipeline.hset(key, mapping=new)  # type: ignore[arg-type]
            pipeline.execute()
        except redis.WatchError:
            return False
    return True


def fence(servers: Servers, table: str) -> set[str]:
    """Make every swap fail that has begun and not ended; return the fields that are there then."""
    key = index_key(table)
    return single(servers, key, functools.partial(_fence, key))


def _fence(key: bytes, client: redis.Redis) -> set[str]:
    with client.pipeline() as pipeline:
        pipeline.hset(key, _FENCE, b"")
        pipeline.hdel(key, _FENCE)
        pipeline.hkeys(key)
        *_, names = pipeline.execute()
    return {name.decode() for name in names}


def await_replicas(servers: Servers, table: str, replicas: int, timeout_seconds: float) -> int:
    """Wait until replicas of the index's node have the index; return how many do.

    A connection waits for its own writes alone, hence the count: it comes after the swap.
    """
    key = index_key(table)
    milliseconds = max(1, int(timeout_seconds * 1000) - 500)

    def run(client: redis.Redis) -> int:
        with client.pipeline() as pipeline:
            pipeline.watch(key)  # type: ignore[no-untyped-call]
            pipeline.hincrby(key, _SWITCHES, 1)
            return int(pipeline.execute_command("WAIT", replicas, milliseconds))  # type: ignore[no-untyped-call]

    return single(servers, key, run)


def drop(servers: Servers, table: str) -> None:
    """Forget the index of a table that is kept in another way now."""
    key = index_key(table)
    single(servers, key, lambda client: client.delete(key))


def _text(chunk: Chunk) -> bytes:
    return json.dumps({"rows": chunk.rows, "bytes": chunk.size, "crc32": chunk.crc}).encode()


def _chunk(name: bytes, text: bytes) -> Chunk:
    found = json.loads(text)
    return Chunk(name.decode(), int(found["rows"]), int(found["bytes"]), int(found["crc32"]))
