"""Which chunks an Arrow table consists of: a hash beside the table, switched in one transaction.

A chunk that the index does not name is no part of the table, whoever wrote it and whatever became of
its job. The schema of the chunks is in the index too, so that both change at the same moment.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector.errors import StoreError
from connector.redis import saved
from connector.redis.keyspace import RESERVED
from connector.redis.options import ModelName
from connector.redis.servers import Servers, single

SPEC = ModelName.ARROW.value
"""What is saved with a table that is kept so."""

_SCHEMA = b"schema"
_FENCE = b"aborted"  # is there within one transaction alone: it makes pending switches fail
_SWITCHES = b"switches"  # counted where a switch has to reach replicas

_RUNNING_SECONDS = 86_400  # how long a job may take before an overwrite takes its chunks for lost
_NAME = r"^[0-9a-f]{32}-[0-9a-f]{8}-(?P<seconds>[0-9a-f]{8})-[0-9]{6,}$"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a table: one value, immutable.

    Attributes:
        name: what its key has behind the table's prefix; no other chunk ever has it.
        rows: how many rows it holds.
        size: of the value, in bytes.
        crc: CRC-32 of the value.
    """

    name: str
    rows: int
    size: int
    crc: int

    def key(self, table: str) -> bytes:
        """Where it lies."""
        return f"{table}:{self.name}".encode()

    def to_text(self) -> bytes:
        return json.dumps({"rows": self.rows, "bytes": self.size, "crc32": self.crc}).encode()

    @staticmethod
    def from_text(name: bytes, text: bytes) -> Chunk:
        found = json.loads(text)
        return Chunk(name.decode(), int(found["rows"]), int(found["bytes"]), int(found["crc32"]))


def chunk_name(attempt: str, number: int) -> str:
    """A name for a chunk that is written now.

    Args:
        attempt: the job, and which try of which task; its own for every one.
        number: of the chunk in it.
    """
    return f"{attempt}-{int(time.time()):08x}-{number:06d}"


def fresh(names: pa.Array, now_seconds: float) -> pa.Array:
    """Which names are those of chunks that a running job may have written.

    Args:
        names: ``pa.binary()``; what keys have behind the table's prefix.
        now_seconds: the time, since 1970.
    """
    found = pc.struct_field(pc.extract_regex(names, _NAME), "seconds")
    distinct = pc.unique(found.drop_null())
    limit = now_seconds - _RUNNING_SECONDS
    young = [text for text in distinct.to_pylist() if int(text, 16) > limit]
    return pc.is_in(found, value_set=pa.array(young, found.type))


@dataclass(frozen=True)
class Index:
    """What an index says.

    Attributes:
        schema: of the table, with its key.
        chunks: by name.
        fields: as they are stored.
    """

    schema: pa.Schema
    chunks: dict[str, Chunk]
    fields: Mapping[bytes, bytes] = field(repr=False)

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return sum(chunk.rows for chunk in self.chunks.values())

    @staticmethod
    def of(schema: pa.Schema, chunks: Iterable[Chunk]) -> Index:
        """The index of these chunks."""
        listed = {chunk.name: chunk for chunk in chunks}
        fields = {name.encode(): chunk.to_text() for name, chunk in listed.items()}
        return Index(schema, listed, {_SCHEMA: saved.to_text(schema).encode(), **fields})


def index_key(table: str) -> bytes:
    """Where a table's index lies: outside of the table's own prefix."""
    return f"{RESERVED}chunks:{table}".encode()


def load(servers: Servers, table: str) -> Index | None:
    """The index of a table; None where there is none.

    Raises:
        StoreError: it was damaged, or written by something else.
    """
    key = index_key(table)
    fields: dict[bytes, bytes] = single(servers, key, lambda client: client.hgetall(key))  # type: ignore[arg-type,return-value]
    if _SCHEMA not in fields:
        return None
    try:
        own = {name: text for name, text in fields.items() if name not in (_SCHEMA, _SWITCHES)}
        chunks = [Chunk.from_text(name, text) for name, text in own.items()]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the index of table {table!r}, saved under {key!r}, cannot be read: {error}; overwrite "
            f"the table"
        ) from error
    schema = saved.from_text(table, fields[_SCHEMA])
    return Index(schema, {chunk.name: chunk for chunk in chunks}, {**own, _SCHEMA: fields[_SCHEMA]})


def swap(servers: Servers, table: str, before: Index | None, after: Index) -> bool:
    """Put an index in place of another, if that is still there, in one transaction."""
    return single(
        servers, index_key(table), functools.partial(_swap, table, before=before, after=after)
    )


def _swap(table: str, client: redis.Redis, *, before: Index | None, after: Index) -> bool:
    key = index_key(table)
    old = {} if before is None else before.fields
    with client.pipeline() as pipeline:
        try:
            pipeline.watch(key)  # type: ignore[no-untyped-call]
            found: Any = pipeline.hgetall(key)
            if {name: found[name] for name in found if name != _SWITCHES} != old:
                return False
            gone = [name for name in old if name not in after.fields]
            new = {name: text for name, text in after.fields.items() if old.get(name) != text}
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
    """Make every switch fail that has begun and not ended; return the chunks that are listed then.

    What is not among them can be deleted, unless somebody begins another switch to it.
    """
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

    A connection waits for its own writes alone, hence the count: it comes after the switch.
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
