"""Spark DataFrames as sealed shards: written by the executors, not through the driver."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.digests import digest
from connector.errors import CacheError, MissingDependencyError, OptionError, SchemaError
from loaders import cache as caches
from loaders.eviction import Policy, check_policy
from loaders.files import translated, write_once
from loaders.home import Home
from loaders.manifest import FORMAT, Manifest
from loaders.nearby import MARK, Nearby
from loaders.partitions import Making, PartitionWriter
from loaders.records import Record
from loaders.shard_files import Compression, check_compression
from loaders.shards import ShardedSource
from loaders.splits import Splits
from loaders.stats import CacheStats
from loaders.transforms import Transform

try:
    from pyspark import TaskContext
    from pyspark.sql import DataFrame
except ModuleNotFoundError as error:
    raise MissingDependencyError("from_spark needs PySpark: pip install 'kvlake[spark]'") from error


def from_spark(
    df: DataFrame,
    *,
    name: str,
    version: str,
    home: str,
    cache: str | os.PathLike[str],
    key: Sequence[str] = (),
    transform: Transform | Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
    splits: Mapping[str, float] | None = None,
    home_options: Mapping[str, Any] | None = None,
    limit_bytes: int | None = None,
    policy: Policy = "scan",
    shard_max_age_seconds: float | None = None,
    shard_bytes: int = 64 << 20,
    compression: Compression = "none",
) -> ShardedSource:
    """Seal a DataFrame, unless it was; each task writes the shards of one partition to their home.

    Args:
        df: the rows.
        name: of what the DataFrame is: a seal is found by it, the version, the columns and the transform, as
            the plan of a DataFrame cannot be told from another in a way that lasts.
        version: names the state of the data; see ``seal``.
        home: where the shards are kept; driver and executors must reach it: ``s3://``, ``hdfs://``, or a
            directory that all of them share.
        cache: directory on the local disk of the machine that trains; see ``seal``, as for what follows.
        key: the columns that name a row, for splits.
        transform: applied to every batch by the executors.
        splits: shares of the keys by name.
        home_options: for fsspec.
        limit_bytes: most bytes of shards in ``cache``.
        policy: which shards go first.
        shard_max_age_seconds: of policy ``ttl``.
        shard_bytes: most bytes of column data in a shard.
        compression: of shards: with ``lz4`` and ``zstd`` they take less disk, and a worker more memory and
            time, as it unpacks the columns that it reads; with ``none`` they are mapped.

    Raises:
        OptionError: splits without a key, or a value out of range.
        SchemaError: there is no such key column, or the transform returned different columns.
        CacheError: the home cannot be written, or the transform not be fingerprinted.
    """
    if shard_bytes < 1:
        raise OptionError(f"shard_bytes ({shard_bytes}) must be at least 1")
    check_policy(policy, shard_max_age_seconds)
    check_compression(compression)
    if missing := [column for column in key if column not in df.columns]:
        raise SchemaError(
            f"the DataFrame has no column {missing[0]!r}; it has {', '.join(df.columns)}"
        )
    transform = Transform.of(transform)
    divided = None if splits is None else Splits.parse(splits)
    if divided and not key:
        raise OptionError("splits go by the key of a row: name its columns by key=")
    code = transform.fingerprint if transform else ""
    columns = df.schema.json()
    definition = digest("spark", FORMAT, name, columns, code, divided, tuple(key), compression)
    root = Path(cache).expanduser().absolute()
    directory = caches.seal_directory(root / definition, digest(version))
    kept = Home.at(home, home_options).inside(definition, directory.name)
    caches.prepare(directory)
    with translated(directory):
        (directory / MARK).touch()
    path = directory / caches.MANIFEST
    content = kept.read(caches.MANIFEST)
    found = 0
    if content is None:
        making = Making(transform, divided, shard_bytes, kept, compression)
        label = f"{definition}-{directory.name}"
        content = _sealed(df, making, tuple(key), label, version).to_json()
        content = kept.write_once(caches.MANIFEST, content)
        manifest = Manifest.from_json(content, path)
        for unnamed in manifest.unnamed(kept.names()):  # of tasks that were run twice
            kept.remove(unnamed)
    else:
        manifest = Manifest.from_json(content, path)
        found = len(manifest.shards)
    write_once(path, content)
    stats = CacheStats(hits=found, misses=len(manifest.shards) - found)
    nearby = Nearby(root, limit_bytes, policy, shard_max_age_seconds)
    return ShardedSource(directory, manifest, None, stats, home=kept, nearby=nearby)


@dataclass(frozen=True)
class WriteShards:
    """Writes the shards of one partition, in a task, and hands over its record."""

    making: Making
    key: tuple[str, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = TaskContext.get()
        assert task is not None
        index = task.partitionId()
        with tempfile.TemporaryDirectory() as place:
            writer = PartitionWriter(self.making, Path(place), index)
            for batch in batches:
                writer.write(batch, batch.schema.names, self.key)
            record = writer.finish().to_json()
        yield pa.record_batch({"partition": [index], "record": [record]})


def _sealed(
    df: DataFrame, making: Making, key: tuple[str, ...], label: str, version: str
) -> Manifest:
    """The manifest of what the executors have written."""
    told = df.mapInArrow(WriteShards(making, key), "partition long, record binary").collect()
    records = {row[0]: Record.from_json(bytes(row[1]), Path(f"{row[0]}.json")) for row in told}
    if len(records) != len(told):
        raise CacheError(f"{len(told) - len(records)} partitions of the DataFrame were told twice")
    ordered = [records[index] for index in sorted(records)]
    schemas = [record.schema for record in ordered if record.schema is not None]
    if not schemas:
        raise SchemaError("the DataFrame has no rows, by which its shards' columns would be known")
    return making.manifest(label, version, ordered, schemas[0], key)
