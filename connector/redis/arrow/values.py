"""The place of an Arrow table in Redis: its values under keys of the table's prefix."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from connector.arrow_tables.index import Chunk, Index
from connector.jobs import WriteJob, WriteMode
from connector.redis import saved
from connector.redis.arrow import index as arrow_index
from connector.redis.arrow.transfer import ValueWriter, fetch, lengths
from connector.redis.deleting import delete_keys
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace, escaped
from connector.redis.link import translated
from connector.redis.options import RedisOptions
from connector.redis.partitions import partition_keys, whole
from connector.redis.replicas import check_reached
from connector.redis.servers import Servers, single


@dataclass(frozen=True)
class RedisValues:
    """See ``connector.arrow_tables.values.Values``.

    Attributes:
        table: what the keys begin with.
        servers: who has which key.
        options: sizes of requests, replicas.
        doing: what is being done, for messages.
    """

    table: str
    servers: Servers
    options: RedisOptions
    doing: str

    most_bytes = 512 << 20
    """What a server takes at most, unless it was told otherwise."""

    @property
    def index_place(self) -> str:
        return repr(arrow_index.index_key(self.table))

    def place(self, name: str) -> str:
        return f"chunk {self._key(name)!r}"

    def get(self, names: Sequence[str]) -> Generator[tuple[str, pa.Buffer | None]]:
        by_key = {self._key(name): name for name in names}
        with translated(self.doing), Links(self.servers, self.doing, replica=True) as links:
            for key, value in fetch(by_key, self.servers, links, self.doing):
                yield by_key[key], self._of_primary(key) if value is None else value

    @contextlib.contextmanager
    def writing(self) -> Iterator[ValueWriter]:
        with Links(self.servers, self.doing) as links:
            yield ValueWriter(self.table, self.servers, links, self.options, self.doing)

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        keys = [self._key(chunk.name) for chunk in chunks]
        with Links(self.servers, self.doing) as links:
            found = lengths(keys, self.servers, links, self.doing)
        return [chunk for chunk in chunks if found[self._key(chunk.name)] != chunk.size]

    def delete(self, names: Sequence[str]) -> int:
        return self._delete([pa.array(map(self._key, names), pa.binary())])

    def clear(self, spared: Callable[[pa.Array], pa.Array], prefix: str = "") -> int:
        named = self._keyspace.prefix + prefix.encode()
        everything = Keyspace(named, escaped(named) + b"*")
        with Links(self.servers, self.doing) as links:
            keys = partition_keys(
                whole(self.servers, everything),
                everything,
                self.servers,
                links,
                self.options,
                self.doing,
            )
            return self._delete(
                page.filter(pc.invert(spared(self._keyspace.names(page)))) for page in keys
            )

    def load(self) -> tuple[Index | None, arrow_index.Fields]:
        with translated(self.doing):
            return arrow_index.load(self.servers, self.table)

    def swap(self, stamp: arrow_index.Fields, index: Index) -> bool:
        with translated(self.doing):
            return arrow_index.swap(self.servers, self.table, stamp, index)

    def fence(self) -> set[str]:
        with translated(self.doing):
            return arrow_index.fence(self.servers, self.table)

    def forget(self) -> None:
        with translated(self.doing):
            arrow_index.drop(self.servers, self.table)

    def save(self, job: WriteJob, schema: pa.Schema) -> None:
        wait, timeout = self.options.wait_replicas, self.options.timeout_seconds
        with translated(self.doing):
            if wait:
                reached = arrow_index.await_replicas(self.servers, self.table, wait, timeout)
                check_reached(reached, wait, timeout, self.doing)
            if job.options.mode is WriteMode.OVERWRITE:
                saved.replace(self.servers, self.table, schema)
            else:
                saved.extend(self.servers, job)

    @property
    def _keyspace(self) -> Keyspace:
        return Keyspace.of_table(self.table)

    def _key(self, name: str) -> bytes:
        return f"{self.table}:{name}".encode()

    def _of_primary(self, key: bytes) -> pa.Buffer | None:
        """A value that was not there: a replica may not have it yet."""
        value = single(self.servers, key, lambda client: client.get(key))
        return None if value is None else pa.py_buffer(value)

    def _delete(self, pages: Iterable[pa.Array]) -> int:
        rows = self.options.max_pipeline_size
        with translated(self.doing):
            return delete_keys(self.table, pages, self.servers, self.doing, rows)
