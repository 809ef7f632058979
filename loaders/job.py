"""What one seal is: its partitions read and written, their records, and damaged shards made again."""

from __future__ import annotations

import contextlib
import logging
import pickle
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from connector.errors import CacheError, PlanExpiredError, ShardCorruptError
from connector.scan import Partition
from connector.source import Source, SupportsKey
from loaders import cache as caches
from loaders.files import private_file, publish, translated, write_once
from loaders.home import Home
from loaders.list_sizes import fits
from loaders.manifest import Manifest, Shard, total_rows
from loaders.partitions import Making, PartitionWriter, keys_of
from loaders.records import Record
from loaders.repeats import KEYS, Repeats, key_batch
from loaders.stats import note

_OWN = (".arrow", ".json", ".keys", ".pickle", ".repeats")

_log = logging.getLogger(__name__)


def keyed(source: Source) -> Source:
    """The source, with its key columns if it can read them."""
    return source.with_key() if isinstance(source, SupportsKey) else source


@dataclass(frozen=True)
class SealJob:
    """What to seal, and where: all that a sealing or repairing process needs."""

    source: Source
    making: Making
    directory: Path
    version: str

    @property
    def home(self) -> Home | None:
        """Where the shards are kept beside here."""
        return self.making.home

    @property
    def name(self) -> str:
        """The seal's key."""
        return f"{self.directory.parent.name}-{self.directory.name}"

    def plan(self) -> Sequence[Partition]:
        """The partitions, planned by whoever came first."""
        path = self.directory / "plan.pickle"
        content = self._known(path)
        if content is None:
            content = self._kept(path, pickle.dumps(list(self.source.partitions())))
        plan: list[Partition] = pickle.loads(content)
        return plan

    def record_path(self, index: int, *, unique: bool) -> Path:
        """Where a partition's record lies: of its first reading, or of that without repeats."""
        return self.directory / f"{index:05d}{'-unique' if unique else ''}.json"

    def repeats_path(self, index: int) -> Path:
        """Where the keys lie that a partition repeats."""
        return self.directory / f"{index:05d}.repeats"

    def keep_repeats(self, index: int, found: Repeats) -> None:
        """Keep what a partition repeats, here and in the home, also for repairs."""
        path = self.repeats_path(index)
        found.save(path)
        if self.home:
            self.home.put(path.name, path)

    def record(self, index: int, *, unique: bool) -> Record | None:
        """A finished partition's record, or None."""
        path = self.record_path(index, unique=unique)
        content = self._known(path)
        return None if content is None else Record.from_json(content, path)

    def manifest(self) -> Manifest | None:
        """The seal's manifest; None until it is complete."""
        path = self.directory / caches.MANIFEST
        content = self._known(path)
        return None if content is None else Manifest.from_json(content, path)

    def complete(self, mine: Manifest) -> Manifest:
        """Publish the manifest; the one that stands then."""
        path = self.directory / caches.MANIFEST
        return Manifest.from_json(self._kept(path, mine.to_json()), path)

    def _known(self, path: Path) -> bytes | None:
        """A file of the seal: from here, or from its home."""
        with translated(self.directory):
            if path.exists():
                return path.read_bytes()
        content = self.home.read(path.name) if self.home else None
        return None if content is None else write_once(path, content)

    def _kept(self, path: Path, content: bytes) -> bytes:
        """Publish a file of the seal here and in its home, unless it is there; what is there then."""
        if self.home:
            content = self.home.write_once(path.name, content)
        return write_once(path, content)

    def key_file(self, name: str) -> Path:
        """The keys of a partition that was finished; another machine's come from the home."""
        path = self.directory / name
        if self.home and not path.exists():
            with translated(self.directory), private_file(self.directory) as file:
                if self.home.fetch(name, file):
                    publish(file, path, replace=True)
        return path

    def finish(self, index: int, partition: Partition, *, unique: bool) -> Record:
        """Seal one partition and publish its record; the record that stands then."""
        mine = self.read(index, partition, unique=unique)
        path = self.record_path(index, unique=unique)
        if self.home and mine.keys:
            self.home.put(mine.keys, self.directory / mine.keys)
        stands = Record.from_json(self._kept(path, mine.to_json()), path)
        kept = {shard.name for shard in stands.shards} | {stands.keys}
        self.remove(({shard.name for shard in mine.shards} | {mine.keys}) - kept - {""})
        return stands

    def read(self, index: int, partition: Partition, *, unique: bool) -> Record:
        """Write one partition's shards, and its keys unless repeats are already known."""
        reading = keyed(self.source)
        repeats = None
        if unique and self._known(self.repeats_path(index)) is not None:
            repeats = Repeats.load(self.repeats_path(index))
        first = self.record(index, unique=False) if repeats else None
        known = self.key_file(first.keys) if first else self.directory
        passed = repeats.filter(known) if repeats else None
        writer = PartitionWriter(self.making, self.directory, index)
        with self._key_file(index, wanted=bool(reading.key) and not unique) as (
            keys_name,
            note_keys,
        ):
            for batch in reading.read(partition):
                if reading.key:
                    keys = keys_of(batch, reading.key)
                    note_keys(keys)
                    batch = passed(batch, keys) if passed else batch
                writer.write(batch, self.source.schema.names, reading.key)
            return writer.finish(keys_name)

    def repair(self, manifest: Manifest, shard: Shard) -> None:
        """Set a damaged shard aside, and seal its partition again.

        Raises:
            CacheError: the partition has other rows by now.
            PlanExpiredError: the partition cannot be read alone any more.
            ShardCorruptError: it has as many rows, but in other bytes; the new shards are in place, and
                readers of the old manifest must start again.
        """
        _log.warning("shard %s in %s is damaged: rebuilding it", shard.name, self.directory)
        caches.quarantine(self.directory, shard)
        if self.home:  # its copy is of no use either
            self.home.remove(shard.name)
        old = [item for item in manifest.shards if item.partition == shard.partition]
        unique = self._known(self.repeats_path(shard.partition)) is not None
        try:
            fresh = self.read(shard.partition, self.plan()[shard.partition], unique=unique)
        except PlanExpiredError as error:
            raise PlanExpiredError(
                f"shard {shard.name} in {self.directory} is damaged, and cannot be rebuilt alone: {error}. "
                f"Call seal again: it seals every partition anew"
            ) from error
        named = {item.name for item in manifest.shards}
        if total_rows(fresh.shards) != total_rows(old) or not fits(fresh.sizes, manifest.schema):
            self.remove(({item.name for item in fresh.shards} - named) | ({fresh.keys} - {""}))
            raise CacheError(
                f"shard {shard.name} in {self.directory} is damaged and cannot be rebuilt: partition "
                f"{shard.partition} has {total_rows(fresh.shards)} rows now, and {total_rows(old)} when "
                f"it was sealed, or lists of other sizes; seal anew under a new version"
            )
        self.remove({fresh.keys} - {""})
        with translated(self.directory):
            note(self.directory, "rebuilt", shard.name)
        if list(fresh.shards) == old:
            return
        others = [item for item in manifest.shards if item.partition != shard.partition]
        shards = sorted([*others, *fresh.shards], key=lambda item: item.partition)
        renewed = replace(manifest, shards=tuple(shards))
        if self.home:
            self.home.write(caches.MANIFEST, renewed.to_json())
        caches.replace_manifest(self.directory, renewed)
        raise ShardCorruptError(
            f"shard {shard.name} in {self.directory} was damaged; its partition was sealed again, but "
            f"its rows came in another order: call seal again and start the epoch anew"
        )

    def discard(self) -> None:
        """Forget the plan, and all that was sealed by it."""
        with translated(self.directory):
            names = {path.name for path in self.directory.iterdir()}
        names |= set(self.home.names()) if self.home else set()
        self.remove({name for name in names if name.endswith(_OWN)})

    def remove(self, names: set[str]) -> None:
        """Remove files of this seal, here and in its home."""
        with translated(self.directory):
            for name in names:
                (self.directory / name).unlink(missing_ok=True)
                if self.home:
                    self.home.remove(name)

    def sweep(self, manifest: Manifest) -> None:
        """Remove shards that the manifest does not name, and the keys."""
        with translated(self.directory):
            there = {path.name for path in self.directory.iterdir()}
        there |= set(self.home.names()) if self.home else set()
        keys = {name for name in there if name.endswith(".keys")}
        self.remove(manifest.unnamed(there) | keys)

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
