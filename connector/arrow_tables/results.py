"""What a task that wrote chunks tells the commit: the chunks, and the keys of their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa

from connector.arrow_tables.index import Chunk
from connector.scan import pack_keys, unpack_keys


def to_item(chunk: Chunk, keys: pa.Array) -> bytes:
    """A chunk and the keys of its rows, as a task's result has them."""
    told = json.dumps([chunk.name, chunk.rows, chunk.size, chunk.crc]).encode()
    return told + b"\n" + pack_keys(keys)


def from_items(items: Iterable[bytes]) -> tuple[list[Chunk], pa.ChunkedArray]:
    """The chunks and all keys of the items that ``to_item`` made."""
    chunks, blocks = [], []
    for item in items:
        told, _, block = item.partition(b"\n")
        chunks.append(Chunk(*json.loads(told)))
        blocks.append(block)
    return chunks, unpack_keys(blocks)
