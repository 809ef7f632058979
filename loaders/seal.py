"""Sealing: a source, through a transform, into shards that make an epoch repeatable."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from connector.digests import digest
from connector.errors import CacheError, OptionError, PlanExpiredError, ShardCorruptError
from connector.scan import Partition
from connector.source import Source
from loaders import cache as caches
from loaders.eviction import Policy, check_policy
from loaders.files import sweep, translated
from loaders.home import Home
from loaders.job import Record, SealJob, keyed
from loaders.manifest import FORMAT, Manifest, total_rows
from loaders.nearby import MARK, Nearby
from loaders.repeats import find
from loaders.shards import ShardedSource
from loaders.splits import Splits
from loaders.stats import CacheStats
from loaders.transforms import Transform

Progress = Callable[[int, int, int], None]
"""Called with the partitions sealed, the partitions planned, and the rows sealed so far."""

_log = logging.getLogger(__name__)


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
        progress: see Progress.

    Raises:
        OptionError: not exactly one of ``version`` and ``max_age_seconds``, a value out of range, or
            splits of a source that has no key, or a limit or an age without a home.
        CacheError: the directory cannot be written, or the transform not be fingerprinted.
        SchemaError: the transform returned different columns for different batches.
    """
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
    if transform is not None and not isinstance(transform, Transform):
        transform = Transform(transform)
    code = transform.fingerprint if transform else ""
    divided = None if splits is None else Splits.parse(splits)
    if divided and not keyed(source).key:
        raise OptionError("splits go by the key of a row, and this source has none")
    definition = digest("seal", FORMAT, source.fingerprint, source.schema, code, divided)
    root = Path(cache).expanduser().absolute() / definition
    if version is not None:
        directory = caches.seal_directory(root, digest(version))
    else:
        assert max_age_seconds is not None
        directory = caches.timed_directory(root, max_age_seconds)
    check_policy(policy, shard_max_age_seconds)
    kept = None
    if home is not None:
        kept = Home.at(home, home_options).inside(definition, directory.name)
    elif limit_bytes is not None or policy != "scan":
        raise OptionError(
            "limit_bytes and policy need home=, from which shards come back that went"
        )
    if home is not None and version is None:
        raise OptionError("home= needs version=, so that machines mean the same seal")
    least = shard_bytes * (processes + 1)
    if limit_bytes is not None and limit_bytes < least:
        raise OptionError(
            f"limit_bytes must be {least} at least, for {processes} processes that write shards of "
            f"{shard_bytes} bytes; it is {limit_bytes}"
        )
    job = SealJob(
        source, transform, directory, version or directory.name, shard_bytes, divided, kept
    )
    nearby = Nearby(Path(cache).expanduser().absolute(), limit_bytes, policy, shard_max_age_seconds)
    return _Sealing(job, nearby, processes, progress).run()


@dataclass
class _Sealing:
    """One call of ``seal``."""

    job: SealJob
    nearby: Nearby
    processes: int
    progress: Progress | None
    written: int = 0
    written_bytes: int = 0

    def run(self) -> ShardedSource:
        caches.prepare(self.job.directory)
        with translated(self.job.directory):
            sweep(self.job.directory)
            if self.job.home:
                (self.job.directory / MARK).touch()
        try:
            manifest = self._whole()
        except PlanExpiredError as error:
            _log.warning("%s; every partition is sealed anew", error)
            self.job.discard()
            manifest = self._whole()
        found = max(len(manifest.shards) - self.written, 0)
        stats = CacheStats(
            hits=found,
            misses=self.written,
            bytes_read=max(manifest.total_bytes - self.written_bytes, 0),
            bytes_written=self.written_bytes,
        )
        job, near = self.job, self.nearby if self.job.home else None
        return ShardedSource(job.directory, manifest, job, stats, home=job.home, nearby=near)

    def _whole(self) -> Manifest:
        """The manifest of a seal of which every shard is there."""
        manifest = self.job.manifest()
        return self._repaired(manifest or self._build())

    def _build(self) -> Manifest:
        job, plan = self.job, self.job.plan()
        records = self._all(plan, range(len(plan)), unique=False)
        if records and all(record.keys for record in records.values()):
            rows = sum(record.rows_read for record in records.values())
            paths = {index: job.key_file(record.keys) for index, record in records.items()}
            try:
                repeats = find(paths, rows)
            except FileNotFoundError as error:  # another process finished first, and swept up
                manifest = job.manifest()
                if manifest is None:
                    raise CacheError(
                        f"the shard cache {job.directory}: {error}; seal again"
                    ) from error
                return manifest
            for index, found in repeats.items():
                found.save(job.repeats_path(index))
            records |= self._all(plan, list(repeats), unique=True)
        ordered = [records[index] for index in sorted(records)]
        schema = job.check_schemas(ordered)
        key = job.source.key if set(schema.names).issuperset(job.source.key) else ()
        shards = tuple(shard for record in ordered for shard in record.shards)
        names = job.splits.names if job.splits else ()
        mine = Manifest(job.name, job.version, schema, key, shards, names)
        stands = job.complete(mine)
        job.sweep(stands)
        return stands

    def _all(
        self, plan: Sequence[Partition], wanted: Sequence[int], *, unique: bool
    ) -> dict[int, Record]:
        """Records of the wanted partitions; those without one are read."""
        known = {index: self.job.record(index, unique=unique) for index in wanted}
        done = {index: record for index, record in known.items() if record is not None}
        missing = [index for index in wanted if index not in done]
        self._report(done, wanted)
        for index, record in self._finished(plan, missing, unique=unique):
            done[index] = record
            self.written += len(record.shards)
            self.written_bytes += sum(shard.bytes for shard in record.shards)
            if self.job.home:
                self.nearby.make_room(0)
            self._report(done, wanted)
        return done

    def _finished(
        self, plan: Sequence[Partition], missing: Sequence[int], *, unique: bool
    ) -> Iterator[tuple[int, Record]]:
        if self.processes == 1 or len(missing) < 2:
            for index in missing:
                yield index, self.job.finish(index, plan[index], unique=unique)
            return
        self._check_pickles()
        context = multiprocessing.get_context("spawn")
        workers = min(self.processes, len(missing))
        with ProcessPoolExecutor(workers, context, initializer=_die_with_parent) as pool:
            tasks = {
                pool.submit(self.job.finish, index, plan[index], unique=unique): index
                for index in missing
            }
            try:
                for task in as_completed(tasks):
                    yield tasks[task], task.result()
            except BrokenProcessPool as error:
                raise CacheError(
                    f"a process sealing into {self.job.directory} died (out of memory, or killed); call "
                    f"seal again: the partitions that were finished are not read again"
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _check_pickles(self) -> None:
        try:
            pickle.dumps(self.job)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise OptionError(
                f"the source and the transform must go to {self.processes} processes, but: {error}; "
                f"define the function at a module's top level, or seal with processes=1"
            ) from error

    def _repaired(self, manifest: Manifest) -> Manifest:
        """The manifest, once shards that are missing or cut short are rebuilt."""
        found = caches.damaged(self.job.directory, manifest)
        if self.job.home:  # what is not here comes when it is wanted
            for shard in found:
                caches.quarantine(self.job.directory, shard)
            return manifest
        bad = {shard.partition: shard for shard in found}
        for shard in bad.values():  # a partition is rebuilt whole
            try:
                self.job.repair(manifest, shard)
            except ShardCorruptError:  # rebuilt in other bytes, under a manifest that tells them
                manifest = caches.load_manifest(self.job.directory) or manifest
        return manifest

    def _report(self, done: dict[int, Record], wanted: Sequence[int]) -> None:
        if self.progress is not None:
            rows = sum(total_rows(record.shards) for record in done.values())
            self.progress(len(done), len(wanted), rows)


def _die_with_parent() -> None:
    """End this process when its parent is gone, even by kill -9."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
