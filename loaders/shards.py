"""Sealed shards, by the manifest that lists them, as a Source."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from connector.batching import capped
from connector.errors import CacheError, SchemaError, ShardCorruptError
from connector.scan import Partition
from loaders.cache import quarantine
from loaders.home import Home
from loaders.manifest import Manifest, Shard
from loaders.nearby import Nearby, Pin, reading, used
from loaders.shard_files import map_shard
from loaders.stats import CacheStats, with_events

_TRIES = 5


class Origin(Protocol):
    """Where shards came from, and can come from again."""

    def repair(self, manifest: Manifest, shard: Shard) -> None:
        """Set a damaged shard aside and rebuild it, or raise CacheError."""
        ...


@dataclass(frozen=True, slots=True)
class ShardPartition(Partition):
    """One shard as a partition; ``index`` is its place in the manifest."""

    name: str


@dataclass(frozen=True)
class ShardedSource:
    """Sealed shards, or one split of them, as a Source, one partition a shard.

    Every shard's size and checksum are verified when it is first opened in a process; a damaged one
    is set aside and rebuilt from where it came.
    """

    directory: Path
    sealed: Manifest
    origin: Origin | None = field(default=None, repr=False, compare=False)
    seen: CacheStats = field(default=CacheStats(), repr=False, compare=False)
    split_name: str | None = None
    home: Home | None = None
    nearby: Nearby | None = field(default=None, repr=False, compare=False)
    batch_rows: int = 16_384
    batch_bytes: int = 32 << 20
    _verified: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _readers: list[Pin] = field(default_factory=list, init=False, repr=False, compare=False)

    @cached_property
    def manifest(self) -> Manifest:
        """The shards that are read."""
        return self.sealed if self.split_name is None else self.sealed.of_split(self.split_name)

    def split(self, name: str) -> ShardedSource:
        """The rows of one of the splits that were sealed.

        Raises:
            OptionError: there is no such split.
        """
        found = replace(self, split_name=name)
        found.manifest  # noqa: B018  refuses an unknown name here
        return found

    @property
    def schema(self) -> pa.Schema:
        return self.manifest.schema

    @property
    def key(self) -> tuple[str, ...]:
        return self.manifest.key

    @property
    def fingerprint(self) -> str:
        return self.manifest.digest

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return self.manifest.rows

    @property
    def shard_rows(self) -> tuple[int, ...]:
        """Rows of each shard."""
        return tuple(shard.rows for shard in self.manifest.shards)

    @property
    def stats(self) -> CacheStats:
        """What the cache did so far."""
        return with_events(self.seen, self.directory)

    def chosen(self, columns: Sequence[str] | None) -> pa.Schema:
        """The schema of some columns, in order; None for all.

        Raises:
            SchemaError: there is no such column.
        """
        names = self.schema.names if columns is None else columns
        if missing := [name for name in names if name not in self.schema.names]:
            raise SchemaError(
                f"the shards have no column {missing[0]!r}; they have {', '.join(self.schema.names)}"
            )
        return pa.schema([self.schema.field(name) for name in names])

    def partitions(self) -> Sequence[Partition]:
        return [ShardPartition(i, shard.name) for i, shard in enumerate(self.manifest.shards)]

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, ShardPartition)
        yield from capped([self.open(partition.index)], self.batch_rows, self.batch_bytes)

    def open(self, index: int) -> pa.RecordBatch:
        """All rows of one shard, lying in the mapped file.

        Raises:
            ShardCorruptError: it is damaged, and nothing is known to rebuild it from.
            CacheError: it is damaged, and could not be rebuilt as it was.
        """
        return self.pinned(index)[0]

    def pinned(
        self, index: int, columns: Sequence[str] | None = None
    ) -> tuple[pa.RecordBatch, Pin | None]:
        """Some columns of one shard, or all, and what keeps its file from going; see ``open``."""
        shard = self.manifest.shards[index]
        schema = self.chosen(columns)
        try:
            return self._near(shard, schema)
        except ShardCorruptError:
            if self.origin is None:
                raise
            self.origin.repair(self.sealed, shard)
            return self._near(shard, schema)

    def _near(self, shard: Shard, schema: pa.Schema) -> tuple[pa.RecordBatch, Pin | None]:
        """A shard, which is brought first if it is not here."""
        if self.home is None or self.nearby is None:
            return self._map(shard, schema), None
        path = self.directory / shard.name
        if not self._readers and (pin := reading(self.directory)) is not None:
            self._readers.append(pin)
        for _ in range(_TRIES):
            if path.exists():
                used(path)
            else:
                self._verified.discard(shard.name)
                self.nearby.fetch(self.home, self.directory, shard)
            with contextlib.suppress(FileNotFoundError):
                pin = Pin(path)
                if path.exists():  # it did not go before it was pinned
                    try:
                        return self._map(shard, schema), pin
                    except ShardCorruptError:
                        quarantine(self.directory, shard)
        raise CacheError(f"shard {path} goes as soon as it comes: raise limit_bytes")

    def _map(self, shard: Shard, schema: pa.Schema) -> pa.RecordBatch:
        fresh = shard.name not in self._verified
        batch = map_shard(self.directory / shard.name, shard, self.schema, schema, verify=fresh)
        self._verified.add(shard.name)
        return batch

    def __getstate__(self) -> dict[str, Any]:
        # Without its origin a shard can still be read: a lambda must not keep it from workers.
        origin = self.origin if _pickles(self.origin) else None
        return {**self.__dict__, "origin": origin, "_verified": set(), "_readers": []}


def _pickles(value: object) -> bool:
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True
