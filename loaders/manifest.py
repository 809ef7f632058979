"""The manifest of a seal: which shards it has, in which order, with which rows and checksums."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from connector.digests import digest
from connector.errors import CacheError, OptionError

FORMAT = 2
"""Version of shard files and manifests; another one is never served."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard file: its name, rows, bytes, xxh3 checksum, and the source partition and split it is of."""

    name: str
    rows: int
    bytes: int
    checksum: str
    partition: int
    split: str = ""


@dataclass(frozen=True)
class Manifest:
    """What one seal holds.

    Attributes:
        seal: the seal's key: digest of all that the rows depend on.
        version: the data version.
        schema: of every shard.
        key: columns of ``schema`` that name a row, where they are known.
        shards: in order of source partition, then of split, then of rows.
        splits: their names; none where rows are not divided.
    """

    seal: str
    version: str
    schema: pa.Schema
    key: tuple[str, ...]
    shards: tuple[Shard, ...]
    splits: tuple[str, ...] = ()

    def of_split(self, name: str) -> Manifest:
        """The manifest with the shards of one split alone.

        Raises:
            OptionError: there is no such split.
        """
        if name not in self.splits:
            known = f"they have {', '.join(self.splits)}" if self.splits else "seal with splits="
            raise OptionError(f"the shards have no split {name!r}; {known}")
        return replace(self, shards=tuple(each for each in self.shards if each.split == name))

    def unnamed(self, files: Iterable[str]) -> set[str]:
        """Of some files, the shards that are not among those of the seal."""
        return {name for name in files if name.endswith(".arrow")} - {
            shard.name for shard in self.shards
        }

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def total_bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    @cached_property
    def digest(self) -> str:
        """Equal for equal rows in equal order."""
        return digest(
            FORMAT, self.seal, *(f"{shard.rows}:{shard.checksum}" for shard in self.shards)
        )

    def to_json(self) -> bytes:
        fields = {
            "format": FORMAT,
            "seal": self.seal,
            "version": self.version,
            "rows": self.rows,
            "key": list(self.key),
            "columns": {item.name: str(item.type) for item in self.schema},
            "schema": schema_text(self.schema),
            "splits": list(self.splits),
            "shards": [asdict(shard) for shard in self.shards],
        }
        return json.dumps(fields, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, path: Path) -> Manifest:
        """Parse a manifest.

        Raises:
            CacheError: it is damaged, or of another format version.
        """
        try:
            found = json.loads(content)
            manifest = cls(
                seal=found["seal"],
                version=found["version"],
                schema=schema_of(found["schema"]),
                key=tuple(found["key"]),
                shards=tuple(Shard(**shard) for shard in found["shards"]),
                splits=tuple(found["splits"]),
            )
            whole = found["format"] == FORMAT and found["rows"] == manifest.rows
        except (ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
            raise CacheError(
                f"manifest {path} does not parse: {error}; delete it to seal anew"
            ) from error
        if not whole:
            raise CacheError(
                f"manifest {path} has another format or row count; delete it to seal anew"
            )
        return manifest


def schema_text(schema: pa.Schema) -> str:
    """A schema as text that ``schema_of`` reads."""
    return base64.b64encode(schema.serialize()).decode()


def schema_of(text: str) -> pa.Schema:
    """The opposite of ``schema_text``."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def total_rows(shards: Iterable[Shard]) -> int:
    """Rows of the shards together."""
    return sum(shard.rows for shard in shards)
