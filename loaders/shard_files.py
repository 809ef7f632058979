"""Shard files: Arrow IPC files of one record batch; one that is not compressed maps into memory as columns.

A shard's name ends in the checksum of its bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Literal, get_args

import pyarrow as pa

from connector.batching import capped
from connector.errors import MissingDependencyError, OptionError, ShardCorruptError
from loaders.files import private_file, publish, translated
from loaders.home import Home
from loaders.list_sizes import as_fixed
from loaders.manifest import Shard

try:
    import xxhash
except ModuleNotFoundError as error:
    raise MissingDependencyError("sealing needs xxhash: pip install 'kvlake[torch]'") from error


Compression = Literal["none", "lz4", "zstd"]
"""How the columns in a shard are compressed."""


def check_compression(compression: str) -> None:
    """Raise OptionError for one that is not known."""
    if compression not in get_args(Compression):
        known = ", ".join(get_args(Compression))
        raise OptionError(f"compression is {compression!r}; it is one of {known}")


class ShardWriter:
    """Writes one partition's batches as shards near ``shard_bytes``; holds one shard at most."""

    def __init__(
        self,
        directory: Path,
        partition: int,
        shard_bytes: int,
        split: str = "",
        home: Home | None = None,
        compression: Compression = "none",
    ) -> None:
        self.shards: list[Shard] = []
        codec = None if compression == "none" else compression
        self._options = pa.ipc.IpcWriteOptions(compression=codec)
        self._home = home
        self._split = split
        self._directory = directory
        self._partition = partition
        self._shard_bytes = shard_bytes
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows; write a shard when enough are there."""
        for part in capped([batch], batch.num_rows, self._shard_bytes):
            if self._held and self._held_bytes + part.nbytes > self._shard_bytes:
                self._flush()
            self._held.append(part)
            self._held_bytes += part.nbytes

    def finish(self) -> tuple[Shard, ...]:
        """Write the rest; the shards in order."""
        if self._held:
            self._flush()
        return tuple(self.shards)

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._held).unify_dictionaries().combine_chunks()
        self._held, self._held_bytes = [], 0
        (batch,) = table.to_batches()
        with translated(self._directory), private_file(self._directory) as file:
            sink = _Checksummed(file)
            with pa.ipc.new_file(
                pa.PythonFile(sink, "w"), batch.schema, options=self._options
            ) as writer:
                writer.write_batch(batch)
            checksum = sink.sum.hexdigest()
            place = f"{self._partition:05d}-{self._split}{len(self.shards):04d}"
            name = f"{place}-{checksum}.arrow"
            size = file.tell()
            if self._home is not None:  # before it is here, where it may go again
                file.flush()
                self._home.put(name, Path(file.name))
            publish(file, self._directory / name, replace=True)
        made = Shard(name, batch.num_rows, size, checksum, self._partition, self._split)
        self.shards.append(made)


class _Checksummed:
    """A file for Arrow to write to, with the checksum of what was written."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.sum = xxhash.xxh3_64()
        self._file = file

    def write(self, content: bytes) -> int:
        self.sum.update(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Left to the owner of the file, which publishes it first."""


def map_shard(
    path: Path, shard: Shard, schema: pa.Schema, chosen: pa.Schema, *, verify: bool
) -> pa.RecordBatch:
    """Columns of a shard, which lie in the mapped file unless it is compressed.

    Args:
        path: of the file.
        shard: what the manifest says of it.
        schema: of all its columns.
        chosen: those wanted, in order.
        verify: whether to compare its checksum.

    Raises:
        ShardCorruptError: it is missing, has another size or checksum, or other rows or columns.
    """
    try:
        mapped = pa.memory_map(str(path))
    except FileNotFoundError:
        raise ShardCorruptError(f"shard {path} is missing") from None
    except OSError as error:
        raise ShardCorruptError(f"shard {path} cannot be opened: {error}") from error
    if mapped.size() != shard.bytes:
        raise ShardCorruptError(f"shard {path} has {mapped.size()} bytes instead of {shard.bytes}")
    if verify and xxhash.xxh3_64_hexdigest(mapped.read_buffer()) != shard.checksum:
        raise ShardCorruptError(f"shard {path} does not have the checksum {shard.checksum}")
    places = sorted(schema.get_field_index(name) for name in chosen.names)
    try:
        options = pa.ipc.IpcReadOptions(included_fields=places)
        batch = pa.ipc.open_file(mapped, options=options).get_batch(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise ShardCorruptError(f"shard {path} is not an Arrow file: {error}") from error
    batch = as_fixed(batch, schema)
    there = [schema.field(place) for place in places]
    if batch.num_rows != shard.rows or list(batch.schema) != there:
        raise ShardCorruptError(f"shard {path} holds other rows or columns than its manifest says")
    return batch.select(chosen.names)
