"""What a model has to say, so that connector/redis/reading.py and writing.py can do the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import redis

from connector.redis.link import Link
from connector.redis.steps import Step

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Found:
    """What the server has under some keys.

    Attributes:
        columns: what is stored for each column that was asked for, to be decoded by the model; one
            value a row.
        errors: the keys that were refused, and why; their values are null.
        size: bytes received.
        missing: keys that are certainly gone; shape (keys,), None for none of them.
        doubtful: keys without any value, which may be gone or may just have none; shape (keys,).
        rows: how many rows each key has, where that is not one; shape (keys,).
        after: where to go on, for keys that have more rows than these; null for the others, and None
            where there is no such key. Only a ``PagedFetch`` finds it.
    """

    columns: dict[str, pa.Array]
    errors: dict[int, str]
    size: int
    missing: Flags | None = None
    doubtful: Flags | None = None
    rows: Counts | None = None
    after: pa.Array | None = None


class Fetch(Protocol):
    """How the values of some columns are asked for.

    Attributes:
        presence: the command that answers 0 for a key that is gone, and another number for one that is
            of the model's type.
    """

    presence: ClassVar[bytes]

    def request(self, keys: pa.Array) -> memoryview:
        """The request for these keys: one command for each, a write of none."""
        ...

    def receive(self, link: Link, keys: pa.Array) -> Found:
        """The answer to that request, of which every array outlives the link's buffer."""
        ...


@runtime_checkable
class PagedFetch(Fetch, Protocol):
    """A fetch that answers some rows of a key at a time."""

    def request_after(self, keys: pa.Array, after: pa.Array) -> memoryview:
        """The request for the next rows of these keys; answered as ``request`` is."""
        ...


@runtime_checkable
class Counted(Protocol):
    """A model that has a cheaper way to count rows than to fetch them without any column."""

    def counting(self) -> Fetch:
        """A fetch that finds ``rows`` and no columns."""
        ...


class Model(Protocol):
    """One way in which rows lie under keys: a row, or several, a key.

    Attributes:
        spec: its name as an option, and where there are several ways ``/`` and which: what is saved
            with a table that is written so.
        kinds: the types of key that it reads, as TYPE names them; the first is the one it writes.
    """

    @property
    def spec(self) -> str: ...

    @property
    def kinds(self) -> tuple[str, ...]: ...

    def fetch(self, columns: Sequence[pa.Field]) -> Fetch:
        """How these columns, none of them a key column, are asked for. They may be none at all."""
        ...

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        """Values of the column's type from what was found.

        Raises:
            DecodeError: a value does not parse.
        """
        ...

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        """The schema as it will be read back.

        Raises:
            SchemaError: rows of this schema cannot be stored in this model.
        """
        ...

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        """The commands that write each row of a batch, which lacks the key columns.

        Args:
            batch: the rows.
            replace: whether nothing else is left under the key; else the row is merged into it.
            uniform: whether every row must have as many commands as every other.

        Raises:
            SchemaError: a value cannot be stored.
        """
        ...

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        """Ask, in a pipeline of redis-py, for as much of a key as ``infer`` needs."""
        ...

    def infer(self, table: str, sample: Sequence[Any]) -> list[pa.Field]:
        """The columns that sampled keys have, beside the key's.

        Args:
            table: for messages.
            sample: what redis-py answered to ``sample``, one item a key that is there.

        Raises:
            SchemaError: no schema fits what was found.
        """
        ...
