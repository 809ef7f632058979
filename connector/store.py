"""Stores: everything that holds tables. How a table is planned, read and written; as a Source."""

from __future__ import annotations

import enum
import itertools
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa

from connector.digests import digest
from connector.errors import OptionError
from connector.options import Options
from connector.scan import Partition, Scan
from connector.schema import key_of


class WriteMode(enum.Enum):
    """What becomes of rows that are in the table already.

    APPEND upserts: rows with new keys are added; rows with known keys are merged, a null deleting
    its field. OVERWRITE leaves exactly the written rows in the table.
    """

    APPEND = "append"
    OVERWRITE = "overwrite"


class WriteFields(enum.Enum):
    """What becomes of the other columns of a row that is in the table already.

    MERGE keeps them, and a null deletes its own; REPLACE leaves the written ones alone.
    """

    MERGE = "merge"
    REPLACE = "replace"


class WriteRows(enum.Enum):
    """Which rows are written: all of them, new ones only, or known ones only.

    A row that is left out is counted, and is no error.
    """

    UPSERT = "upsert"
    INSERT = "insert"
    UPDATE = "update"


class SchemaEvolution(enum.Enum):
    """What becomes of columns that the table does not have: an error, or new columns of the table."""

    ERROR = "error"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write.

    Attributes:
        key: the key columns; empty for those of the table, where it exists.
        mode: see WriteMode.
        fields: see WriteFields.
        rows: see WriteRows.
        evolution: see SchemaEvolution.
        ttl_seconds: rows written expire after this many seconds; None to leave their expiry as it is.
        ttl_column: the column that says when each row expires, and is not stored: whole seconds from
            now, or a timestamp; a null means never. By default ``__ttl``, where there is one.
        reject_path: a directory, as fsspec knows it, for the keys of rows that the server refuses, and
            why; without it such a row is an error.
        reject_limit: most rows that a task may reject.
    """

    key: tuple[str, ...] = ()
    mode: WriteMode = WriteMode.APPEND
    fields: WriteFields = WriteFields.MERGE
    rows: WriteRows = WriteRows.UPSERT
    evolution: SchemaEvolution = SchemaEvolution.ERROR
    ttl_seconds: int | None = None
    ttl_column: str | None = None
    reject_path: str | None = None
    reject_limit: int = 1000

    def __post_init__(self) -> None:
        if isinstance(self.key, str):
            raise OptionError(f"key must be a tuple of column names, got the text {self.key!r}")
        if self.ttl_seconds is not None and self.ttl_seconds < 1:
            raise OptionError(f"ttl must be at least 1 second, got {self.ttl_seconds}")
        if self.ttl_seconds is not None and self.ttl_column is not None:
            raise OptionError("give either a ttl for all rows or a column that has it, not both")
        if self.mode is WriteMode.OVERWRITE and self.rows is not WriteRows.UPSERT:
            raise OptionError(f"an overwrite cannot {self.rows.value} only: it replaces every row")


@dataclass(frozen=True, slots=True)
class WriteJob:
    """One write of one table, begun by one process and carried out by any number of tasks.

    Attributes:
        table: name of the table.
        schema: the schema of the batches, key columns and ``ttl_column`` included.
        key: the key columns.
        options: as given to ``begin``.
        ttl_column: the column that says when rows expire, and is not stored.
        id: no other job has it.
    """

    table: str
    schema: pa.Schema
    key: tuple[str, ...]
    options: WriteOptions
    ttl_column: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def stored(self) -> pa.Schema:
        """The columns that the table gets."""
        return pa.schema([item for item in self.schema if item.name != self.ttl_column])

    @property
    def replaces(self) -> bool:
        """Whether a row that is written keeps nothing of the one before."""
        overwrite = self.options.mode is WriteMode.OVERWRITE
        return overwrite or self.options.fields is WriteFields.REPLACE


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What one task wrote.

    Attributes:
        rows: rows sent and acknowledged.
        keys: for an overwrite, the keys of those rows and of rejected ones in a form only the store
            reads; each item holds many keys, compressed.
        skipped: rows left out because they were in the table, or were not, by ``WriteOptions.rows``.
        rejected: rows that the server refused, told of under ``reject_path``.
    """

    rows: int
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    skipped: int = 0
    rejected: int = 0


class Store(ABC):
    """Tables of rows with keys. A context manager; safe to pickle, and to use after a fork.

    A write is a job: ``begin`` checks it, before any row is sent; tasks call ``write_part``, which
    may be repeated; then one ``commit`` with a result from every task, or one ``abort``. ``write``
    does all of it in this process.
    """

    options_class: ClassVar[type[Options]]
    """How to reach the server and how to talk to it; the constructor takes one value of it."""

    metadata: ClassVar[pa.Schema] = pa.schema([])
    """Columns that every table can be read with beside its own, where they are asked for by name."""

    @abstractmethod
    def __init__(self, options: Any) -> None:
        """A store of these options. Connects to nothing yet."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the tables are, without secrets: equal for equal servers and databases."""

    @abstractmethod
    def schema(self, table: str, key: Sequence[str] = ()) -> pa.Schema:
        """The table's columns, saved or inferred; ``connector.schema.key_of`` tells its key.

        Args:
            table: name of the table.
            key: names for the key columns of a table whose schema is not saved.

        Raises:
            TableNotFoundError: there is no such table.
        """

    @abstractmethod
    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        """Cut a scan into about ``parts`` partitions that cover the table together."""

    @abstractmethod
    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        """Yield the partition's batches, each of ``scan.output`` exactly and never empty.

        Closing the iterator early frees its connection.
        """

    @abstractmethod
    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        """Check that batches of ``schema`` can be written so. Nothing of the table changes.

        Raises:
            OptionError: no key columns are known.
            SchemaError: a key column is missing, or the columns do not fit those of the table.
        """

    @abstractmethod
    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        """Write some of the job's rows. Written twice equals written once.

        Raises:
            SchemaError: a null key, or one key twice in a batch.
            WriteRejectedError: the server refused rows; the message names one and its reason.
        """

    @abstractmethod
    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """End a job whose every part is written; an overwrite deletes the rows it did not write."""

    @abstractmethod
    def abort(self, job: WriteJob) -> None:
        """End a job that failed. Deletes no row; the rows written so far stay."""

    @abstractmethod
    def close(self) -> None:
        """Free the connections. The store opens them again if it is used again."""

    def write(
        self, table: str, batches: Iterable[pa.RecordBatch], options: WriteOptions
    ) -> WriteResult:
        """Write batches of one schema from this process, as one job.

        Without any batch there is no schema to write with: then nothing is done.
        """
        stream = iter(batches)
        first = next(stream, None)
        if first is None:
            return WriteResult(rows=0)
        job = self.begin(table, first.schema, options)
        try:
            result = self.write_part(job, itertools.chain([first], stream))
            self.commit(job, [result])
        except BaseException:
            self.abort(job)
            raise
        return result

    def source(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        schema: pa.Schema | None = None,
        key: Sequence[str] = (),
        parts: int = 8,
        batch_rows: int = 16_384,
        batch_bytes: int = 32 << 20,
    ) -> StoreSource:
        """A table as a Source.

        Args:
            table: name of the table.
            columns: the columns wanted, in order; None for all.
            schema: the table's columns, where they are neither saved nor to be inferred.
            key: the key columns, where they are not saved with the table.
            parts: about how many partitions to plan; a small table has fewer.
            batch_rows: most rows in a batch.
            batch_bytes: most bytes of column data in a batch of more than one row.

        Raises:
            TableNotFoundError: no schema was given and there is no such table.
            SchemaError: ``columns`` or ``key`` names a column that is not there.
        """
        full = self.schema(table, key) if schema is None else schema
        for name in columns or ():
            if name in self.metadata.names and name not in full.names:
                full = full.append(self.metadata.field(name))
        scan = Scan(
            table=table,
            schema=full,
            key=tuple(key) or key_of(full),
            columns=None if columns is None else tuple(columns),
            batch_rows=batch_rows,
            batch_bytes=batch_bytes,
        )
        return StoreSource(self, scan, parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class StoreSource:
    """A scan of one table in a store, cut into about ``parts`` partitions."""

    store: Store
    scan: Scan
    parts: int = 8

    @property
    def schema(self) -> pa.Schema:
        return self.scan.output

    @property
    def key(self) -> tuple[str, ...]:
        names = set(self.scan.output.names)
        return self.scan.key if names.issuperset(self.scan.key) else ()

    def with_key(self) -> StoreSource:
        """The same source, reading the key columns too where they were not asked for."""
        columns = self.scan.output.names
        missing = [name for name in self.scan.key if name not in columns]
        return replace(self, scan=self.scan.select(*columns, *missing)) if missing else self

    @property
    def fingerprint(self) -> str:
        return digest(self.store.location, self.scan.table, self.scan.output, self.scan.key)

    def partitions(self) -> Sequence[Partition]:
        return self.store.plan(self.scan, self.parts)

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        return self.store.read(self.scan, partition)
