"""Chunks of an Arrow table: record batches to values and back, sent to the nodes that have them."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from connector.errors import DecodeError, PlanExpiredError, SchemaError, StoreError
from connector.redis.arrow.index import Chunk, chunk_name, index_key, load
from connector.redis.commands import bulk, keyed_request
from connector.redis.exchange import Answer, Exchange, Links
from connector.redis.link import Link
from connector.redis.numbers import key_numbers
from connector.redis.options import ArrowCompression, RedisOptions
from connector.redis.reading import Keys
from connector.redis.replicas import await_replicas
from connector.redis.servers import Rows, Servers, single
from connector.redis.writing import refusal
from connector.schema import conform


@dataclass(frozen=True)
class Value:
    """A value to be written under a key."""

    keys: pa.Array
    value: memoryview

    def take(self, rows: Rows) -> Value:
        return self


@dataclass(frozen=True)
class Stored:
    """Which of some values the server did not take."""

    errors: dict[int, str]


@dataclass(frozen=True)
class Got:
    """Values under some keys, null for one that is gone; which the server refused."""

    values: pa.Array
    errors: dict[int, str]


def to_value(batch: pa.RecordBatch, compression: ArrowCompression) -> pa.Buffer:
    """A batch as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    codec = None if compression is ArrowCompression.NONE else compression.value
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


class ChunkWriter:
    """Writes chunks of one job over the connections of one operation.

    Args:
        table: whose chunks they are.
        job: the job's id, which begins their names.
        servers: who has which key.
        links: the connections to use.
        options: compression, bytes in flight.
        doing: what is being done, for messages.

    Attributes:
        chunks: what was sent, in order.
    """

    def __init__(
        self,
        table: str,
        job: str,
        servers: Servers,
        links: Links,
        options: RedisOptions,
        doing: str,
    ) -> None:
        self.chunks: list[Chunk] = []
        self._table = table
        self._attempt = f"{job}-{secrets.token_hex(4)}"
        self._links, self._options, self._doing = links, options, doing
        self._exchange: Exchange[Value, Stored] = Exchange(
            servers,
            links,
            doing,
            send=_send_value,
            receive=_receive_status,
            limit_bytes=options.inflight_bytes,
            survives=False,
        )

    def write(self, batch: pa.RecordBatch) -> Chunk:
        """Send a batch as a chunk; the answer may come later.

        Raises:
            WriteRejectedError: the server refused an earlier one.
        """
        value = to_value(batch, self._options.arrow_compression)
        name = chunk_name(self._attempt, len(self.chunks))
        chunk = Chunk(name, batch.num_rows, value.size, zlib.crc32(memoryview(value)))
        self.chunks.append(chunk)
        keys = pa.array([chunk.key(self._table)], pa.binary())
        self._check(self._exchange.put(Value(keys, memoryview(value))))
        return chunk

    def drain(self) -> None:
        """Wait for all answers."""
        self._check(self._exchange.drain())

    def await_replicas(self) -> None:
        """Wait until as many replicas as the options say have what was written."""
        options = self._options
        await_replicas(self._links, options.wait_replicas, options.timeout_seconds, self._doing)

    def _check(self, answers: Iterable[Answer[Value, Stored]]) -> None:
        for answer in answers:
            errors = answer.result.errors
            if errors and not answer.postponed:
                raise refusal(self._table, answer.work.keys, errors)


def _send_value(link: Link, work: Value, asked: bool) -> int:
    opening = b"*3\r\n$3\r\nSET\r\n%b$%d\r\n" % (bulk(work.keys[0].as_py()), len(work.value))
    request = memoryview(b"".join([opening, work.value, b"\r\n"]))
    link.send(request)
    return len(request)


def _receive_status(link: Link, work: Value, asked: bool) -> Stored:
    return Stored(link.statuses(1).errors)


@dataclass(frozen=True)
class ChunkReader:
    """Reads chunks, checked against what the index says of them.

    Attributes:
        table: whose chunks they are.
        servers: who has which key.
        links: the connections to use.
        doing: what is being done, for messages.
    """

    table: str
    servers: Servers
    links: Links
    doing: str

    def batches(
        self, chunks: Sequence[Chunk], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[Chunk, pa.RecordBatch]]:
        """Each chunk with those of the columns that it has, by default all; not in order.

        Raises:
            PlanExpiredError: the table has been written since, and a chunk is gone.
            DecodeError: a value is not the one that was written.
        """
        by_key = {chunk.key(self.table): chunk for chunk in chunks}
        exchange: Exchange[Keys, Got] = Exchange(
            self.servers,
            self.links,
            self.doing,
            send=_send_get,
            receive=_receive_value,
            limit_bytes=1 << 62,  # two requests a node are in flight at most, each for one chunk
        )

        def received(
            answers: Iterable[Answer[Keys, Got]],
        ) -> Iterator[tuple[Chunk, pa.RecordBatch]]:
            for answer in answers:
                if answer.postponed:
                    continue
                chunk = by_key[answer.work.keys[0].as_py()]
                if answer.result.errors:
                    raise StoreError(
                        f"{self.doing}: key {chunk.key(self.table)!r}: {answer.result.errors[0]}"
                    )
                yield chunk, self._batch(chunk, answer.result.values, columns)

        for key in by_key:
            yield from received(exchange.put(Keys(pa.array([key], pa.binary()))))
        yield from received(exchange.drain())

    def _batch(
        self, chunk: Chunk, values: pa.Array, columns: Sequence[str] | None
    ) -> pa.RecordBatch:
        value = values.buffers()[2] if values.null_count == 0 else self._again(chunk)
        key = chunk.key(self.table)
        if value is None or value.size != chunk.size or zlib.crc32(memoryview(value)) != chunk.crc:
            raise DecodeError(
                f"{self.doing}: key {key!r} does not hold the {chunk.size} bytes that were written to "
                f"it; overwrite the table"
            )
        try:
            names = pa.ipc.open_stream(value).schema.names
            wanted = [i for i, name in enumerate(names) if columns is None or name in columns]
            options = pa.ipc.IpcReadOptions(included_fields=wanted)
            batch = pa.ipc.open_stream(value, options=options).read_next_batch()
        except (pa.ArrowException, OSError, StopIteration) as error:
            raise DecodeError(f"{self.doing}: key {key!r} is no record batch: {error}") from error
        if batch.num_rows != chunk.rows:
            raise DecodeError(
                f"{self.doing}: key {key!r} holds {batch.num_rows} rows in place of {chunk.rows}"
            )
        return batch

    def _again(self, chunk: Chunk) -> pa.Buffer:
        """Ask the primary for a chunk that was not there: a replica may not have it yet."""
        key = chunk.key(self.table)
        value = single(self.servers, key, lambda client: client.get(key))
        if value is not None:
            return pa.py_buffer(value)
        index = load(self.servers, self.table)
        if index is None or chunk.name not in index.chunks:
            raise PlanExpiredError(
                f"{self.doing}: the table has been written since this was planned, and chunk {key!r} "
                f"is gone: plan again"
            )
        raise StoreError(
            f"{self.doing}: chunk {key!r} is gone, though {index_key(self.table)!r} lists it: it was "
            f"deleted or evicted; overwrite the table"
        )


def _send_get(link: Link, work: Keys, asked: bool) -> int:
    request = keyed_request(b"GET", work.keys)
    link.send(request)
    return len(request)


def _receive_value(link: Link, work: Keys, asked: bool) -> Got:
    found = link.values(1, 1, None)
    return Got(found.columns()[0], found.errors)


def lengths(
    table: str, chunks: Sequence[Chunk], servers: Servers, links: Links, doing: str
) -> dict[bytes, int]:
    """How many bytes are under the key of each chunk; 0 for one that is gone."""

    def refused(keys: pa.Array, errors: dict[int, str]) -> Exception:
        row, text = next(iter(errors.items()))
        return StoreError(f"{doing}: key {keys[row].as_py()!r}: {text}")

    names = pa.array([chunk.key(table) for chunk in chunks], pa.binary())
    answers = key_numbers(
        b"STRLEN",
        [names],
        servers,
        links,
        doing,
        request_rows=max(1, len(names)),
        refusal=refused,
    )
    return {
        key: int(number)
        for keys, numbers in answers
        for key, number in zip(keys.to_pylist(), numbers, strict=True)
    }


def fitted(table: str, key: bytes, batch: pa.RecordBatch, output: pa.Schema) -> pa.RecordBatch:
    """A chunk's batch as a scan wants it: columns that came to the table later are null.

    Raises:
        DecodeError: a column does not have the wanted type, and does not cast to it.
    """
    lacking = [item for item in output if item.name not in batch.schema.names]
    for item in lacking:
        batch = batch.append_column(item, pa.nulls(batch.num_rows, item.type))
    try:
        return conform(batch, output)
    except SchemaError as error:
        raise DecodeError(f"reading table {table!r}: chunk {key!r}: {error}") from error
