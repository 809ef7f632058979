"""Sealing: a source, through a transform, into shards that make an epoch repeatable."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from connector.codecs import encode_keys
from connector.errors import CacheError, OptionError, SchemaError, ShardCorruptError
from connector.scan import Partition
from connector.source import Source, StoreSource, digest
from loaders import cache as caches
from loaders.files import private_file, publish, sweep, translated, write_once
from loaders.repeats import KEYS, Repeats, find, key_batch
from loaders.shards import (
    FORMAT,
    CacheStats,
    Manifest,
    Shard,
    ShardedSource,
    ShardWriter,
    schema_of,
    schema_text,
    total_rows,
)
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
        processes: how many read and write partitions at once; 1 works in this process.
        shard_bytes: most bytes of column data in a shard.
        progress: see Progress.

    Raises:
        OptionError: not exactly one of ``version`` and ``max_age_seconds``, or a value out of range.
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
    definition = digest("seal", FORMAT, source.fingerprint, source.schema, code)
    root = Path(cache).expanduser().absolute() / definition
    if version is not None:
        directory = caches.seal_directory(root, digest(version))
    else:
        assert max_age_seconds is not None
        directory = caches.timed_directory(root, max_age_seconds)
    job = SealJob(source, transform, directory, version or directory.name, shard_bytes)
    return _Sealing(job, processes, progress).run()


@dataclass(frozen=True)
class Record:
    """One finished partition.

    Attributes:
        rows_read: rows before the transform.
        schema: of the shards; None where there are none.
        shards: in order.
        keys: name of the file with the keys of the rows read; empty where there is no key.
    """

    rows_read: int
    schema: pa.Schema | None
    shards: tuple[Shard, ...]
    keys: str

    def to_json(self) -> bytes:
        schema = None if self.schema is None else schema_text(self.schema)
        return json.dumps({**asdict(replace(self, schema=None)), "schema": schema}).encode()

    @classmethod
    def from_json(cls, content: bytes, path: Path) -> Record:
        try:
            found = json.loads(content)
            schema = None if found["schema"] is None else schema_of(found["schema"])
            shards = tuple(Shard(**shard) for shard in found["shards"])
            return cls(found["rows_read"], schema, shards, found["keys"])
        except (ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
            raise CacheError(
                f"record {path} does not parse: {error}; delete it to seal anew"
            ) from error


@dataclass(frozen=True)
class SealJob:
    """What to seal, and where: all that a sealing or repairing process needs."""

    source: Source
    transform: Transform | None
    directory: Path
    version: str
    shard_bytes: int

    @property
    def name(self) -> str:
        """The seal's key."""
        return f"{self.directory.parent.name}-{self.directory.name}"

    def plan(self) -> Sequence[Partition]:
        """The partitions, planned by whoever came first."""
        path = self.directory / "plan.pickle"
        with translated(self.directory):
            content = path.read_bytes() if path.exists() else None
        if content is None:
            content = write_once(path, pickle.dumps(list(self.source.partitions())))
        plan: list[Partition] = pickle.loads(content)
        return plan

    def record_path(self, index: int, *, unique: bool) -> Path:
        """Where a partition's record lies: of its first reading, or of that without repeats."""
        return self.directory / f"{index:05d}{'-unique' if unique else ''}.json"

    def repeats_path(self, index: int) -> Path:
        """Where the keys lie that a partition repeats."""
        return self.directory / f"{index:05d}.repeats"

    def record(self, index: int, *, unique: bool) -> Record | None:
        """A finished partition's record, or None."""
        path = self.record_path(index, unique=unique)
        with translated(self.directory):
            if not path.exists():
                return None
            return Record.from_json(path.read_bytes(), path)

    def finish(self, index: int, partition: Partition, *, unique: bool) -> Record:
        """Seal one partition and publish its record; the record that stands then."""
        mine = self.read(index, partition, unique=unique)
        path = self.record_path(index, unique=unique)
        stands = Record.from_json(write_once(path, mine.to_json()), path)
        kept = {shard.name for shard in stands.shards} | {stands.keys}
        self.remove(({shard.name for shard in mine.shards} | {mine.keys}) - kept - {""})
        return stands

    def read(self, index: int, partition: Partition, *, unique: bool) -> Record:
        """Write one partition's shards, and its keys unless repeats are already known."""
        reading = self.source.with_key() if isinstance(self.source, StoreSource) else self.source
        repeats = Repeats.load(self.repeats_path(index)) if unique else None
        passed = repeats.filter() if repeats else None
        writer = ShardWriter(self.directory, index, self.shard_bytes)
        schema: pa.Schema | None = None
        rows = 0
        with self._key_file(index, wanted=bool(reading.key) and not unique) as (
            keys_name,
            note_keys,
        ):
            for batch in reading.read(partition):
                if reading.key:
                    names = [batch.column(name) for name in reading.key]
                    keys = encode_keys(names, reading.key)
                    note_keys(keys)
                    batch = passed(batch, keys) if passed else batch
                rows += batch.num_rows
                if batch.schema.names != self.source.schema.names:
                    batch = batch.select(self.source.schema.names)
                batch = self._transformed(batch)
                if schema is not None and not batch.schema.equals(schema):
                    raise self._changed(schema, batch.schema)
                schema = batch.schema
                if batch.num_rows:
                    writer.write(batch)
            shards = writer.finish()
        return Record(rows, schema, shards, keys_name)

    def repair(self, manifest: Manifest, shard: Shard) -> None:
        """Set a damaged shard aside, and seal its partition again.

        Raises:
            CacheError: the partition has other rows by now.
            ShardCorruptError: it has as many rows, but in other bytes; the new shards are in place, and
                readers of the old manifest must start again.
        """
        _log.warning("shard %s in %s is damaged: rebuilding it", shard.name, self.directory)
        caches.quarantine(self.directory, shard)
        old = [item for item in manifest.shards if item.partition == shard.partition]
        unique = self.repeats_path(shard.partition).exists()
        fresh = self.read(shard.partition, self.plan()[shard.partition], unique=unique)
        named = {item.name for item in manifest.shards}
        if total_rows(fresh.shards) != total_rows(old):
            self.remove(({item.name for item in fresh.shards} - named) | ({fresh.keys} - {""}))
            raise CacheError(
                f"shard {shard.name} in {self.directory} is damaged and cannot be rebuilt: partition "
                f"{shard.partition} has {total_rows(fresh.shards)} rows now, and {total_rows(old)} when "
                f"it was sealed; seal anew under a new version"
            )
        self.remove({fresh.keys} - {""})
        with translated(self.directory):
            caches.note(self.directory, "rebuilt", shard.name)
        if list(fresh.shards) == old:
            return
        others = [item for item in manifest.shards if item.partition != shard.partition]
        shards = sorted([*others, *fresh.shards], key=lambda item: item.partition)
        caches.replace_manifest(self.directory, replace(manifest, shards=tuple(shards)))
        raise ShardCorruptError(
            f"shard {shard.name} in {self.directory} was damaged; its partition was sealed again, but "
            f"its rows came in another order: call seal again and start the epoch anew"
        )

    def remove(self, names: set[str]) -> None:
        """Remove files of this seal."""
        with translated(self.directory):
            for name in names:
                (self.directory / name).unlink(missing_ok=True)

    def _transformed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        result = self.transform(batch) if self.transform else batch
        return result.replace_schema_metadata(None)

    def _changed(self, first: pa.Schema, other: pa.Schema) -> SchemaError:
        name = self.transform.name if self.transform else "none"
        differ = [item for item in other if item not in list(first)] or list(other)
        return SchemaError(
            f"transform {name!r} returned different columns for different batches: {first.names}, and "
            f"then {', '.join(f'{item.name} {item.type}' for item in differ)}; cast them in the transform"
        )

    def empty_schema(self) -> pa.Schema:
        """The shards' schema where there are no rows to tell it."""
        batch = pa.RecordBatch.from_pylist([], schema=self.source.schema)
        return self._transformed(batch).schema

    def check_schemas(self, records: Sequence[Record]) -> pa.Schema:
        """The one schema of all partitions."""
        schemas = [record.schema for record in records if record.schema is not None]
        for schema in schemas:
            if not schema.equals(schemas[0]):
                raise self._changed(schemas[0], schema)
        return schemas[0] if schemas else self.empty_schema()

    @contextlib.contextmanager
    def _key_file(
        self, index: int, *, wanted: bool
    ) -> Iterator[tuple[str, Callable[[pa.Array], None]]]:
        if not wanted:
            yield "", lambda keys: None
            return
        name = f"{index:05d}-{uuid.uuid4().hex}.keys"
        with contextlib.ExitStack() as stack:
            with translated(self.directory):
                file = stack.enter_context(private_file(self.directory))
                writer = pa.ipc.new_stream(pa.PythonFile(file, "w"), KEYS)

            def note_keys(keys: pa.Array) -> None:
                with translated(self.directory):
                    writer.write_batch(key_batch(keys))

            yield name, note_keys
            with translated(self.directory):
                writer.close()
                publish(file, self.directory / name, replace=True)


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
        manifest = caches.load_manifest(self.job.directory)
        if manifest is None:
            manifest = self._build()
        manifest = self._repaired(manifest)
        found = max(len(manifest.shards) - self.written, 0)
        stats = CacheStats(
            hits=found,
            misses=self.written,
            bytes_read=max(manifest.total_bytes - self.written_bytes, 0),
            bytes_written=self.written_bytes,
        )
        return ShardedSource(self.job.directory, manifest, self.job, stats)

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
        mine = Manifest(job.name, job.version, schema, key, shards)
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
            with contextlib.suppress(ShardCorruptError):
                self.job.repair(manifest, shard)
                continue
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
