"""Which chunks an Arrow table consists of.

A chunk that the index does not name is no part of the table, whoever wrote it and whatever became of
its job. The schema of the chunks is in the index too, so that both change at the same moment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

_RUNNING_SECONDS = 86_400  # how long a job may take before an overwrite takes its chunks for lost
_NAME = r"^[0-9a-f]{32}-[0-9a-f]{8}-(?P<seconds>[0-9a-f]{8})-[0-9]{6,}$"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a table: one value, immutable.

    Attributes:
        name: what it is kept under in the table's place; no other chunk ever has it.
        rows: how many rows it holds.
        size: of the value, in bytes.
        crc: CRC-32 of the value.
    """

    name: str
    rows: int
    size: int
    crc: int


@dataclass(frozen=True)
class Index:
    """What an index says.

    Attributes:
        schema: of the table, with its key.
        chunks: by name.
    """

    schema: pa.Schema
    chunks: dict[str, Chunk]

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return sum(chunk.rows for chunk in self.chunks.values())

    @staticmethod
    def of(schema: pa.Schema, chunks: Iterable[Chunk]) -> Index:
        """The index of these chunks."""
        return Index(schema, {chunk.name: chunk for chunk in chunks})


def chunk_name(attempt: str, number: int) -> str:
    """A name for a chunk that is written now.

    Args:
        attempt: the job, and which try of which task; its own for every one.
        number: of the chunk in it.
    """
    return f"{attempt}-{int(time.time()):08x}-{number:06d}"


def fresh(names: pa.Array, now_seconds: float) -> pa.Array:
    """Which names are those of chunks that a running job may have written.

    Args:
        names: ``pa.binary()``; of anything that is kept in the table's place.
        now_seconds: the time, since 1970.
    """
    found = pc.struct_field(pc.extract_regex(names, _NAME), "seconds")
    distinct = pc.unique(found.drop_null())
    limit = now_seconds - _RUNNING_SECONDS
    young = [text for text in distinct.to_pylist() if int(text, 16) > limit]
    return pc.is_in(found, value_set=pa.array(young, found.type))
