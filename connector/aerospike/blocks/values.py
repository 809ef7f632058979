"""The place of an Arrow table in Aerospike: its values are records of a set beside the table's own.

So records that are rows and chunks that are written or left over never meet in one scan, whatever becomes
of a job that changes a table from one model to the other.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import aerospike
import pyarrow as pa
import pyarrow.compute as pc
from aerospike import exception

from connector.aerospike import saved
from connector.aerospike.blocks import index as block_index
from connector.aerospike.connecting import Connection, pairs, translated
from connector.aerospike.deleting import delete_rows
from connector.aerospike.keys import DIGEST
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.overwriting import time_before, truncate
from connector.aerospike.refusals import REASONS, check_request, failure, reason
from connector.aerospike.results import NOT_FOUND
from connector.aerospike.statistics import objects
from connector.arrow_tables.index import Chunk, Index
from connector.errors import WriteRejectedError
from connector.jobs import WriteJob, WriteMode

_BIN = "block"
_NAME = pa.field("name", pa.string())
_DIGEST = pa.field(DIGEST, pa.binary(20))
_AHEAD = 2  # requests in flight: one is worked on while the last is decoded, or the next built
_RECORD_BYTES = 1 << 20  # may a record have where the server does not say
_KEY_BYTES = 1 << 10  # of them are left for the key and what the server keeps beside it


def block_set(table: str) -> str:
    """The set with the chunks of a table."""
    return f"{saved.SET}.{table}"


class BlockWriter:
    """Writes values into a set.

    Args:
        put: stores one.
        pool: the threads to do it in.
    """

    def __init__(self, put: Callable[[str, bytes], None], pool: ThreadPoolExecutor) -> None:
        self._put, self._pool = put, pool
        self._waiting: deque[Future[None]] = deque()

    def put(self, name: str, value: pa.Buffer) -> None:
        """Send a value; the answer may come later."""
        self._await(_AHEAD - 1)
        self._waiting.append(self._pool.submit(self._put, name, value.to_pybytes()))

    def finish(self) -> None:
        """Wait for all answers."""
        self._await(0)

    def _await(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.popleft().result()


@dataclass(frozen=True)
class BlockValues:
    """See ``connector.arrow_tables.values.Values``.

    Attributes:
        table: whose chunks they are.
        connection: to the cluster.
        options: of the store.
        doing: what is being done, for messages.
    """

    table: str
    connection: Connection
    options: AerospikeOptions
    doing: str

    @property
    def most_bytes(self) -> int:
        answers = self.connection.info(f"namespace/{self._namespace}")
        return min(map(_record_bytes, answers), default=_RECORD_BYTES) - _KEY_BYTES

    @property
    def index_place(self) -> str:
        _, name, key = block_index.index_key(self._namespace, self.table)
        return f"{key!r} of set {name!r}"

    def place(self, name: str) -> str:
        return f"chunk {name!r} of set {block_set(self.table)!r}"

    def get(self, names: Sequence[str]) -> Generator[tuple[str, pa.Buffer | None]]:
        client = self.connection.client  # connected here, and not by two threads at once
        waiting: deque[tuple[str, Future[pa.Buffer | None]]] = deque()
        with ThreadPoolExecutor(_AHEAD) as pool:
            for name in names:
                waiting.append((name, pool.submit(self._get, client, name)))
                if len(waiting) > _AHEAD:
                    one, value = waiting.popleft()
                    yield one, value.result()
            for one, value in waiting:
                yield one, value.result()

    @contextlib.contextmanager
    def writing(self) -> Iterator[BlockWriter]:
        client = self.connection.client
        with ThreadPoolExecutor(_AHEAD) as pool:
            yield BlockWriter(functools.partial(self._put, client), pool)

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        found: list[Chunk] = []
        for start in range(0, len(chunks), self.options.batch_max):
            some = chunks[start : start + self.options.batch_max]
            with translated(self.doing):
                answer = self.connection.client.batch_read(
                    [self._key(one.name) for one in some], []
                )
            check_request(self.doing, answer)
            for chunk, record in zip(some, answer.batch_records, strict=True):
                if record.result == NOT_FOUND:
                    found.append(chunk)
                elif record.result:
                    raise failure(self.doing, record.result, record.message)
        return found

    def delete(self, names: Sequence[str]) -> int:
        keys = pa.array([name.encode() for name in names], pa.binary())
        return self._delete(keys, _NAME)

    def clear(self, spared: Callable[[pa.Array], pa.Array], prefix: str = "") -> int:
        names, digests = self._held()
        meant = pc.fill_null(pc.starts_with(names, prefix.encode()), not prefix)
        gone = digests.filter(pc.and_(meant, pc.invert(spared(names))))
        return self._delete(gone, _DIGEST) + (0 if prefix else self._emptied(self.table))

    def load(self) -> tuple[Index | None, int]:
        with translated(self.doing):
            return block_index.load(self.connection, self._namespace, self.table)

    def swap(self, stamp: int, index: Index) -> bool:
        with translated(self.doing):
            return block_index.swap(self.connection, self._namespace, self.table, stamp, index)

    def fence(self) -> set[str]:
        with translated(self.doing):
            return block_index.fence(self.connection, self._namespace, self.table)

    def forget(self) -> None:
        with translated(self.doing):
            block_index.forget(self.connection, self._namespace, self.table)
        self._emptied(block_set(self.table))

    def save(self, job: WriteJob, schema: pa.Schema) -> None:
        if job.options.mode is WriteMode.OVERWRITE:
            saved.replace(self.connection, self._namespace, self.table, schema)
        else:
            saved.extend(self.connection, self._namespace, job)

    @property
    def _namespace(self) -> str:
        return self.options.in_namespace

    def _key(self, name: str) -> tuple[str, str, str]:
        return self._namespace, block_set(self.table), name

    def _get(self, client: Any, name: str) -> pa.Buffer | None:
        with translated(f"{self.doing}: {self.place(name)}"):
            try:
                _, _, bins = client.get(self._key(name))
            except exception.RecordNotFound:
                return None
        value = bins.get(_BIN)
        # What is no blob is not what was written either: the reader finds it too short.
        return pa.py_buffer(value if isinstance(value, bytes) else b"")

    def _put(self, client: Any, name: str, value: bytes) -> None:
        policy = {
            "key": aerospike.POLICY_KEY_SEND,
            "ttl": aerospike.TTL_NEVER_EXPIRE,
            "exists": aerospike.POLICY_EXISTS_CREATE_OR_REPLACE,
        }
        with translated(f"{self.doing}: {self.place(name)}"):
            try:
                client.put(self._key(name), {_BIN: value}, policy=policy)
            except exception.AerospikeError as error:
                if error.code is None or error.code not in REASONS:
                    raise
                raise WriteRejectedError(
                    f"{self.doing}: the server refused {self.place(name)}, of {len(value)} bytes: "
                    f"{reason(error.code)}"
                ) from error

    def _held(self) -> tuple[pa.Array, pa.Array]:
        """Names and digests of all that is in the set; no name where a user key is not text, or not there."""
        keys: list[tuple[Any, ...]] = []
        query = self.connection.client.query(self._namespace, block_set(self.table))
        self.connection.run(
            self.doing,
            lambda: query.foreach(lambda record: keys.append(record[0]), options={"nobins": True}),
        )
        names = [key[2].encode() if isinstance(key[2], str) else None for key in keys]
        return pa.array(names, pa.binary()), pa.array([key[3] for key in keys], pa.binary())

    def _delete(self, keys: pa.Array, key: pa.Field) -> int:
        return delete_rows(self.connection, self.options, block_set(self.table), keys, [key])

    def _emptied(self, name: str) -> int:
        """Delete all records of a set, where there are any; return about how many there were."""
        held = objects(self.connection, self._namespace, name)
        if held:
            before = time_before(self.connection, self.options)
            truncate(self.connection, self.options, name, before)
        return held


def _record_bytes(about_namespace: str) -> int:
    """How many bytes a record may have in a node."""
    told = pairs(about_namespace)
    for name in ("max-record-size", "storage-engine.write-block-size"):
        if int(told.get(name, 0)):
            return int(told[name])
    return _RECORD_BYTES
