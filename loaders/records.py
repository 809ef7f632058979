"""Records of finished partitions, by which a broken-off seal goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from connector.errors import CacheError
from loaders.list_sizes import ListSizes
from loaders.manifest import Shard, schema_of, schema_text


@dataclass(frozen=True)
class Record:
    """One finished partition.

    Attributes:
        rows_read: rows before the transform.
        schema: of the shards; None where there are none.
        shards: in order.
        keys: name of the file with the keys of the rows read; empty where there is no key.
        sizes: of the lists in the shards.
    """

    rows_read: int
    schema: pa.Schema | None
    shards: tuple[Shard, ...]
    keys: str
    sizes: ListSizes

    def to_json(self) -> bytes:
        schema = None if self.schema is None else schema_text(self.schema)
        return json.dumps({**asdict(replace(self, schema=None)), "schema": schema}).encode()

    @classmethod
    def from_json(cls, content: bytes, path: Path) -> Record:
        try:
            found = json.loads(content)
            schema = None if found["schema"] is None else schema_of(found["schema"])
            shards = tuple(Shard(**shard) for shard in found["shards"])
            sizes = {name: (least, most) for name, (least, most) in found["sizes"].items()}
            return cls(found["rows_read"], schema, shards, found["keys"], sizes)
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowInvalid) as error:
            raise CacheError(
                f"record {path} does not parse: {error}; delete it to seal anew"
            ) from error
