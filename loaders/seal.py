"""Sealing: a source, through a transform, into shards that make an epoch repeatable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.digests import digest
from connector.errors import OptionError
from connector.source import Source
from loaders import cache as caches
from loaders.eviction import Policy, check_policy
from loaders.home import Home
from loaders.job import SealJob, keyed
from loaders.manifest import FORMAT
from loaders.nearby import Nearby
from loaders.partitions import Making
from loaders.sealing import Progress, Sealing
from loaders.shard_files import Compression, check_compression
from loaders.shards import ShardedSource
from loaders.splits import Splits
from loaders.transforms import Transform


def seal(
    source: Source,
    *,
    transform: Transform | Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
    cache: str | os.PathLike[str],
    version: str | None = None,
    max_age_seconds: float | None = None,
    splits: Mapping[str, float] | None = None,
    home: str | None = None,
    home_options: Mapping[str, Any] | None = None,
    limit_bytes: int | None = None,
    policy: Policy = "scan",
    shard_max_age_seconds: float | None = None,
    processes: int = 1,
    shard_bytes: int = 64 << 20,
    compression: Compression = "none",
    progress: Progress | None = None,
) -> ShardedSource:
    """Read a source once, and keep its rows in shards; a second call finds them.

    An interrupted seal goes on where it stopped: partitions that were finished are not read again.
    Rows that the source hands over twice are left out by key, where it has one.

    Args:
        source: what to read; planned once, here.
        transform: applied to every batch before it is written.
        cache: directory of all seals.
        version: names the state of the data; another name reads the source again.
        max_age_seconds: instead of a version: a seal begun within this time is used again.
        splits: shares of the keys by name, such as ``{"train": 0.9, "test": 0.1}``, to be had by
            ``split``. The source's key decides; other shares are another seal.
        home: where the shards are kept, as fsspec knows it, such as ``s3://bucket/seals``; machines share it,
            and ``cache`` has what fits of them. None keeps them in ``cache`` alone.
        home_options: for fsspec, such as credentials.
        limit_bytes: most bytes of shards in ``cache``, of all seals there; it needs a home.
        policy: which shards go first, see loaders.eviction: ``scan``, ``lru``, ``fifo``, ``size`` or ``ttl``.
        shard_max_age_seconds: of policy ``ttl``: older shards are brought anew.
        processes: how many read and write partitions at once; 1 works in this process.
        shard_bytes: most bytes of column data in a shard.
        compression: of shards: with ``lz4`` and ``zstd`` they take less disk, and a worker more memory and
            time, as it unpacks the columns that it reads; with ``none`` they are mapped.
        progress: see Progress.

    Raises:
        OptionError: not exactly one of ``version`` and ``max_age_seconds``, a value out of range, or
            splits of a source that has no key, or a limit or an age without a home.
        CacheError: the directory cannot be written, or the transform not be fingerprinted.
        SchemaError: the transform returned different columns for different batches.
    """
    _check(version, max_age_seconds, processes, shard_bytes)
    check_compression(compression)
    transform = Transform.of(transform)
    code = transform.fingerprint if transform else ""
    divided = None if splits is None else Splits.parse(splits)
    if divided and not keyed(source).key:
        raise OptionError("splits go by the key of a row, and this source has none")
    definition = digest(
        "seal", FORMAT, source.fingerprint, source.schema, code, divided, compression
    )
    root = Path(cache).expanduser().absolute()
    if version is not None:
        directory = caches.seal_directory(root / definition, digest(version))
    else:
        assert max_age_seconds is not None
        directory = caches.timed_directory(root / definition, max_age_seconds)
    nearby = Nearby(root, limit_bytes, policy, shard_max_age_seconds)
    _check_limits(nearby, shard_bytes * (processes + 1), home, version)
    kept = Home.at(home, home_options).inside(definition, directory.name) if home else None
    name = version or directory.name
    making = Making(transform, divided, shard_bytes, kept, compression)
    job = SealJob(source, making, directory, name)
    return Sealing(job, nearby, processes, progress).run()


def _check(
    version: str | None, max_age_seconds: float | None, processes: int, shard_bytes: int
) -> None:
    if (version is None) == (max_age_seconds is None):
        raise OptionError(
            "seal needs either version=, which names the state of the data, or max_age_seconds=, "
            "within which an earlier seal is good enough"
        )
    if processes < 1 or shard_bytes < 1:
        raise OptionError(
            f"processes ({processes}) and shard_bytes ({shard_bytes}) must be at least 1"
        )
    if max_age_seconds is not None and max_age_seconds <= 0:
        raise OptionError(f"max_age_seconds must be above 0, got {max_age_seconds}")


def _check_limits(nearby: Nearby, least: int, home: str | None, version: str | None) -> None:
    """Refuse limits that cannot be kept; ``least`` is what sealing has open at once, in bytes."""
    check_policy(nearby.policy, nearby.shard_max_age_seconds)
    if home is not None and version is None:
        raise OptionError("home= needs version=, so that machines mean the same seal")
    if home is None and (nearby.limit_bytes is not None or nearby.policy != "scan"):
        raise OptionError(
            "limit_bytes and policy need home=, from which shards come back that went"
        )
    if nearby.limit_bytes is not None and nearby.limit_bytes < least:
        raise OptionError(
            f"limit_bytes must be {least} at least, for shards of shard_bytes, one for each process and "
            f"one more; it is {nearby.limit_bytes}"
        )
