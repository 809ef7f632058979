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

import pyarrow as pa

from connector.digests import digest
from connector.errors import CacheError, OptionError, PlanExpiredError, ShardCorruptError
from connector.scan import Partition
from connector.source import Source
from loaders import cache as caches
from loaders.files import sweep, translated, write_once
from loaders.job import Record, SealJob, keyed
from loaders.manifest import FORMAT, Manifest, total_rows
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
        processes: how many read and write partitions at once; 1 works in this process.
        shard_bytes: most bytes of column data in a shard.
        progress: see Progress.

    Raises:
        OptionError: not exactly one of ``version`` and ``max_age_seconds``, a value out of range, or
            splits of a source that has no key.
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
    job = SealJob(source, transform, directory, version or directory.name, shard_bytes, divided)
    return _Sealing(job, processes, progress).run()


@dataclass
class _Sealing:
    """One call of ``seal``."""

    job: SealJob
    processes: int
    progress: Progress | None
    written: int = 0
    written_bytes: int = 0

    def run(self) -> ShardedSource:
        caches.prepare(self.job.directory)
        with translated(self.job.directory):
            sweep(self.job.directory)
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
        return ShardedSource(self.job.directory, manifest, self.job, stats)

    def _whole(self) -> Manifest:
        """The manifest of a seal of which every shard is there."""
        manifest = caches.load_manifest(self.job.directory)
        return self._repaired(manifest or self._build())

    def _build(self) -> Manifest:
        job, plan = self.job, self.job.plan()
        records = self._all(plan, range(len(plan)), unique=False)
        if records and all(record.keys for record in records.values()):
            rows = sum(record.rows_read for record in records.values())
            paths = {index: job.directory / record.keys for index, record in records.items()}
            try:
                repeats = find(paths, rows)
            except FileNotFoundError as error:  # another process finished first, and swept up
                manifest = caches.load_manifest(job.directory)
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
        path = job.directory / caches.MANIFEST
        stands = Manifest.from_json(write_once(path, mine.to_json()), path)
        named = {shard.name for shard in stands.shards}
        with translated(job.directory):
            left = {path.name for path in job.directory.glob("*.arrow")} - named
            job.remove(left | {path.name for path in job.directory.glob("*.keys")})
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
        bad = {shard.partition: shard for shard in caches.damaged(self.job.directory, manifest)}
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
