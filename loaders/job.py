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

from connector.codecs import encode_keys
from connector.errors import CacheError, PlanExpiredError, SchemaError, ShardCorruptError
from connector.scan import Partition
from connector.source import Source, SupportsKey
from loaders import cache as caches
from loaders.files import private_file, publish, translated, write_once
from loaders.home import Home
from loaders.list_sizes import ListSizes, fits, fixed, joined, list_sizes
from loaders.manifest import Manifest, Shard, total_rows
from loaders.records import Record
from loaders.repeats import KEYS, Repeats, key_batch
from loaders.shard_files import ShardWriter
from loaders.splits import Splits
from loaders.stats import note
from loaders.transforms import Transform

_OWN = (".arrow", ".json", ".keys", ".pickle", ".repeats")

_log = logging.getLogger(__name__)


def keyed(source: Source) -> Source:
    """The source, with its key columns if it can read them."""
    return source.with_key() if isinstance(source, SupportsKey) else source


def _keys(batch: pa.RecordBatch, source: Source) -> pa.Array:
    return encode_keys([batch.column(name) for name in source.key], source.key)


@dataclass(frozen=True)
class SealJob:
    """What to seal, and where: all that a sealing or repairing process needs."""

    source: Source
    transform: Transform | None
    directory: Path
    version: str
    shard_bytes: int
    splits: Splits | None = None
    home: Home | None = None

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
        repeats = Repeats.load(self.repeats_path(index)) if unique else None
        first = self.record(index, unique=False) if repeats else None
        passed = repeats.filter(self.directory / (first.keys if first else "")) if repeats else None
        names = self.splits.names if self.splits else ("",)
        writers = {
            name: ShardWriter(self.directory, index, self.shard_bytes, name, self.home)
            for name in names
        }
        schema: pa.Schema | None = None
        rows = 0
        sizes: ListSizes = {}
        with self._key_file(index, wanted=bool(reading.key) and not unique) as (
            keys_name,
            note_keys,
        ):
            for batch in reading.read(partition):
                if reading.key:
                    keys = _keys(batch, reading)
                    note_keys(keys)
                    batch = passed(batch, keys) if passed else batch
                rows += batch.num_rows
                for split, part in self._divided(batch, reading):
                    part = self._transformed(part.select(self.source.schema.names))
                    if schema is not None and not part.schema.equals(schema):
                        raise self._changed(schema, part.schema)
                    schema = part.schema
                    if part.num_rows:
                        writers[split].write(part)
                        sizes = joined([sizes, list_sizes(part)])
            shards = tuple(shard for writer in writers.values() for shard in writer.finish())
        return Record(rows, schema, shards, keys_name, sizes)

    def _divided(
        self, batch: pa.RecordBatch, reading: Source
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """A batch by split; before the transform, which need not keep the key."""
        if self.splits is None:
            yield "", batch
            return
        for split, chosen in self.splits.rows(_keys(batch, reading)).items():
            yield split, batch.filter(chosen)

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
        old = [item for item in manifest.shards if item.partition == shard.partition]
        unique = self.repeats_path(shard.partition).exists()
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
        named = {shard.name for shard in manifest.shards}
        with translated(self.directory):
            there = {path.name for path in self.directory.iterdir()}
        there |= set(self.home.names()) if self.home else set()
        shards = {name for name in there if name.endswith(".arrow")}
        self.remove((shards - named) | {name for name in there if name.endswith(".keys")})

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
        """The one schema of all partitions; lists that have one size in all of them are of that size."""
        schemas = [record.schema for record in records if record.schema is not None]
        for schema in schemas:
            if not schema.equals(schemas[0]):
                raise self._changed(schemas[0], schema)
        schema = schemas[0] if schemas else self.empty_schema()
        return fixed(schema, joined(record.sizes for record in records))

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
