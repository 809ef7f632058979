"""What a store gives so that it can keep Arrow tables: values by name, and an index that is swapped."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

from connector.arrow_tables.index import Chunk, Index
from connector.jobs import WriteJob


class Writer(Protocol):
    """Writes values over the connections of one operation."""

    def put(self, name: str, value: pa.Buffer) -> None:
        """Send a value; the answer may come later.

        Raises:
            WriteRejectedError: the server refused this value or an earlier one.
        """
        ...

    def finish(self) -> None:
        """Wait until everything that was put is stored, as safely as the options ask for.

        Raises:
            WriteRejectedError: the server refused a value.
            StoreUnavailableError: what a server acknowledged may be lost.
        """
        ...


class Values(Protocol):
    """The place of one table in a store, for one operation; every error is a StoreError."""

    @property
    def table(self) -> str: ...

    @property
    def doing(self) -> str:
        """What the operation is, for messages."""
        ...

    @property
    def most_bytes(self) -> int:
        """Most bytes that a value may have."""
        ...

    @property
    def index_place(self) -> str:
        """Where the index is, for messages."""
        ...

    def place(self, name: str) -> str:
        """Where a value is, for messages."""
        ...

    def get(self, names: Sequence[str]) -> Generator[tuple[str, pa.Buffer | None]]:
        """Each value, None for one that is not there; in any order.

        A value is valid until the next is asked for. Closing the generator frees its connections.
        """
        ...

    def writing(self) -> AbstractContextManager[Writer]:
        """Connections to write values over, also while others are read."""
        ...

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Those of the chunks whose values are not there as they were written."""
        ...

    def delete(self, names: Sequence[str]) -> int:
        """Delete values; return how many there were."""
        ...

    def clear(self, spared: Callable[[pa.Array], pa.Array], prefix: str = "") -> int:
        """Delete everything in the table's place but what is spared; return how much there was.

        Args:
            spared: tells of names, ``pa.binary()``, which of them stay. What has no name goes.
            prefix: only what is named so is looked at.
        """
        ...

    def load(self) -> tuple[Index | None, Any]:
        """The index, None where there is none; and its stamp, by which ``swap`` knows it again.

        Raises:
            StoreError: it was damaged, or written by something else.
        """
        ...

    def swap(self, stamp: Any, index: Index) -> bool:
        """Put an index in place of the one with this stamp, if that is still there, at one moment."""
        ...

    def fence(self) -> set[str]:
        """Make every swap fail that has begun and not ended; return the chunks that are listed then.

        What is not among them can be deleted, unless somebody begins another swap to it.
        """
        ...

    def forget(self) -> None:
        """Delete the index; the chunks too, where they are not deleted with the table's own rows."""
        ...

    def save(self, job: WriteJob, schema: pa.Schema) -> None:
        """Save the schema of a table whose index a job has swapped, and make sure of the index.

        Args:
            job: the one that swapped it.
            schema: of the table, with the notes of the job's.
        """
        ...
