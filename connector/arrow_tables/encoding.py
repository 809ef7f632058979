"""Chunks as values: record batches to bytes and back, checked against what the index says of them."""

from __future__ import annotations

import contextlib
import secrets
import zlib
from collections.abc import Generator, Iterator, Sequence

import pyarrow as pa

from connector.arrow_tables.index import Chunk, chunk_name
from connector.arrow_tables.values import Values, Writer
from connector.errors import DecodeError, PlanExpiredError, SchemaError, StoreError
from connector.schema import conform


def to_value(batch: pa.RecordBatch, codec: str | None) -> pa.Buffer:
    """A batch as one Arrow IPC stream.

    Args:
        batch: the rows.
        codec: ``lz4``, ``zstd``, or None not to compress.
    """
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def to_values(
    batch: pa.RecordBatch, codec: str | None, most_bytes: int
) -> Iterator[tuple[int, pa.Buffer]]:
    """A batch as values of at most ``most_bytes``, each with its count of rows.

    A row that is larger alone is left to the server to refuse.
    """
    value = to_value(batch, codec)
    if value.size <= most_bytes or batch.num_rows == 1:
        yield batch.num_rows, value
        return
    middle = batch.num_rows // 2
    yield from to_values(batch.slice(0, middle), codec, most_bytes)
    yield from to_values(batch.slice(middle), codec, most_bytes)


class ChunkWriter:
    """Writes chunks of one job.

    Args:
        writer: where to.
        job: the job's id, which begins their names.
        codec: how they are compressed.
        most_bytes: most bytes in one.
        chunks: what is sent is added to it.
    """

    def __init__(
        self, writer: Writer, job: str, codec: str | None, most_bytes: int, chunks: list[Chunk]
    ) -> None:
        self._chunks = chunks
        self._attempt = f"{job}-{secrets.token_hex(4)}"
        self._writer, self._codec, self._most_bytes = writer, codec, most_bytes

    def write(self, batch: pa.RecordBatch) -> list[Chunk]:
        """Send a batch, as one chunk where it fits; the answers may come later."""
        before = len(self._chunks)
        for rows, value in to_values(batch, self._codec, self._most_bytes):
            name = chunk_name(self._attempt, len(self._chunks))
            self._chunks.append(Chunk(name, rows, value.size, zlib.crc32(memoryview(value))))
            self._writer.put(name, value)
        return self._chunks[before:]


def read_chunks(
    values: Values, chunks: Sequence[Chunk], columns: Sequence[str] | None = None
) -> Generator[tuple[Chunk, pa.RecordBatch]]:
    """Each chunk with those of the columns that it has, by default all; not in order.

    Raises:
        PlanExpiredError: the table has been written since, and a chunk is gone.
        DecodeError: a value is not the one that was written.
    """
    by_name = {chunk.name: chunk for chunk in chunks}
    with contextlib.closing(values.get([*by_name])) as found:
        for name, value in found:
            if value is None:
                raise _gone(values, name)
            yield by_name[name], _decoded(values, by_name[name], value, columns)


def fitted(
    values: Values, chunk: Chunk, batch: pa.RecordBatch, output: pa.Schema
) -> pa.RecordBatch:
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
        raise DecodeError(f"{values.doing}: {values.place(chunk.name)}: {error}") from error


def _decoded(
    values: Values, chunk: Chunk, value: pa.Buffer, columns: Sequence[str] | None
) -> pa.RecordBatch:
    if value.size != chunk.size or zlib.crc32(memoryview(value)) != chunk.crc:
        raise DecodeError(
            f"{values.doing}: {values.place(chunk.name)} does not hold the {chunk.size} bytes that were "
            f"written to it; overwrite the table"
        )
    try:
        names = pa.ipc.open_stream(value).schema.names
        wanted = [i for i, name in enumerate(names) if columns is None or name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=wanted)
        batch = pa.ipc.open_stream(value, options=options).read_next_batch()
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise DecodeError(
            f"{values.doing}: {values.place(chunk.name)} is no record batch: {error}"
        ) from error
    if batch.num_rows != chunk.rows:
        raise DecodeError(
            f"{values.doing}: {values.place(chunk.name)} holds {batch.num_rows} rows in place of "
            f"{chunk.rows}"
        )
    return batch


def _gone(values: Values, name: str) -> StoreError:
    index, _ = values.load()
    if index is None or name not in index.chunks:
        return PlanExpiredError(
            f"{values.doing}: the table has been written since this was planned, and {values.place(name)} "
            f"is gone: plan again"
        )
    return StoreError(
        f"{values.doing}: {values.place(name)} is gone, though {values.index_place} lists it: it was "
        f"deleted or evicted; overwrite the table"
    )
