"""One call of ``seal``: partitions read by processes, their records, and the manifest."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from connector.errors import CacheError, OptionError, PlanExpiredError, ShardCorruptError
from connector.scan import Partition
from loaders import cache as caches
from loaders.files import sweep, translated
from loaders.job import SealJob
from loaders.manifest import Manifest, total_rows
from loaders.nearby import MARK, Nearby
from loaders.records import Record
from loaders.repeats import find
from loaders.shards import ShardedSource
from loaders.stats import CacheStats

Progress = Callable[[int, int, int], None]
"""Called with the partitions sealed, the partitions planned, and the rows sealed so far."""

_log = logging.getLogger(__name__)


@dataclass
class Sealing:
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
                job.keep_repeats(index, found)
            records |= self._all(plan, list(repeats), unique=True)
        ordered = [records[index] for index in sorted(records)]
        source = job.source
        mine = job.making.manifest(job.name, job.version, ordered, source.schema, source.key)
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
                manifest = self.job.manifest() or manifest
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
