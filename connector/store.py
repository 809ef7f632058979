"""Stores: everything that holds tables. How a table is planned, read and written; as a Source."""

from __future__ import annotations

import enum
import functools
import hashlib
import itertools
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from connector.batching import limited
from connector.codecs import decode_keys, encode_keys
from connector.digests import digest
from connector.errors import OptionError, SchemaError
from connector.filters import Filter, bind, columns_of, key_values, parse_filter
from connector.options import Options
from connector.scan import KeyList, Partition, Scan, key_lists, pack_keys
from connector.schema import key_of

Keys: TypeAlias = "pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray | Sequence[Any]"


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
        """Cut a scan into about ``parts`` partitions that cover the table together.

        A ``sample`` of the scan is the store's to take; its ``filter`` and ``limit`` do not matter here.
        """

    @abstractmethod
    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        """Yield the partition's batches, each of ``scan.output`` exactly and never empty.

        Only rows that ``scan.filter`` lets through are yielded. The partition is one that ``plan``
        made, or a KeyList, of which rows that are not there are left out. Closing the iterator early
        frees its connection.
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
    def delete(self, table: str, keys: Keys) -> int:
        """Delete the rows with these keys, see ``encoded``, and return how many there were.

        Raises:
            TableNotFoundError, SchemaError: the table, or its key, is not known.
        """

    @abstractmethod
    def drop(self, table: str) -> int:
        """Delete all rows of a table, and what is saved about it; return how many rows there were."""

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

    def lookup(
        self, table: str, keys: Keys, columns: Sequence[str] | None = None
    ) -> pa.RecordBatch:
        """The rows with these keys, in the order of the keys.

        A key that stands twice is fetched once. Where there is no row, every column but those of the
        key is null. The table's schema is read once for each store object: open another after it
        has changed.

        Args:
            table: name of the table.
            keys: see ``encoded``.
            columns: the columns wanted beside the key's, which come first; None for all.

        Raises:
            TableNotFoundError: there is no such table.
            SchemaError: there is no such column, or the keys do not fit.
        """
        asked = None if columns is None else tuple(columns)
        if (table, asked) not in self._lookups:
            full = self.schema(table)
            names = dict.fromkeys([*key_of(full), *(full.names if asked is None else asked)])
            self._lookups[table, asked] = Lookup(self.source(table, schema=full, columns=[*names]))
        return self._lookups[table, asked].rows(keys)

    @functools.cached_property
    def _lookups(self) -> dict[tuple[str, tuple[str, ...] | None], Lookup]:
        return {}

    def source(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        schema: pa.Schema | None = None,
        key: Sequence[str] = (),
        filter: str | Filter | None = None,
        keys: Keys | None = None,
        limit: int | None = None,
        sample: float | None = None,
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
            filter: the rows wanted, as SQL-like text or as an object of ``connector.filters``. One that
                fixes the key, by ``=`` or ``IN``, asks for those rows alone and scans nothing.
            keys: the keys of the rows wanted, see ``encoded``; keys that are not there are left out.
            limit: most rows wanted in all. The table is read as one partition then, and no further
                than needed.
            sample: about which share of the rows is wanted, chosen by their keys.
            parts: about how many partitions to plan; a small table has fewer.
            batch_rows: most rows in a batch.
            batch_bytes: most bytes of column data in a batch of more than one row.

        Raises:
            TableNotFoundError: no schema was given and there is no such table.
            SchemaError: ``columns`` or ``key`` names a column that is not there.
        """
        full = self.schema(table, key) if schema is None else schema
        if isinstance(filter, str):
            filter = parse_filter(filter)
        asked = [*(columns or ()), *(columns_of(filter) if filter is not None else ())]
        for name in dict.fromkeys(asked):
            if name in self.metadata.names and name not in full.names:
                if columns is None:
                    columns = full.names
                full = full.append(self.metadata.field(name))
        scan = Scan(
            table=table,
            schema=full,
            key=tuple(key) or key_of(full),
            columns=None if columns is None else tuple(columns),
            batch_rows=batch_rows,
            batch_bytes=batch_bytes,
            filter=None if filter is None else bind(filter, full, table),
            limit=limit,
            sample=sample,
        )
        names = None if keys is None else encoded(keys, scan.schema, scan.key)
        return StoreSource(self, scan, parts, names)

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
    """A scan of one table in a store, cut into about ``parts`` partitions.

    Attributes:
        store: where the table is.
        scan: what is read of it.
        parts: about how many partitions to plan.
        names: the encoded keys of the rows wanted; None for all rows.
    """

    store: Store
    scan: Scan
    parts: int = 8
    names: pa.Array | None = None

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
        scan = self.scan
        chosen = [str(scan.filter), scan.limit, scan.sample]
        if self.names is not None:
            chosen.append(hashlib.sha256(pack_keys(self.names)).hexdigest())
        chosen = [] if chosen == ["None", None, None] else chosen
        return digest(self.store.location, scan.table, scan.output, scan.key, *chosen)

    def partitions(self) -> Sequence[Partition]:
        parts = self.parts if self.scan.limit is None else 1
        names = self._names()
        return self.store.plan(self.scan, parts) if names is None else key_lists(names, parts)

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        batches = self.store.read(self.scan, partition)
        return batches if self.scan.limit is None else limited(batches, self.scan.limit)

    def _names(self) -> pa.Array | None:
        """The encoded keys of the rows that can be wanted, where they are known."""
        if self.names is not None or self.scan.filter is None:
            return self.names
        values, _ = key_values(self.scan.filter, self.scan.key)
        if values is None:
            return None
        return encoded(values, self.scan.schema, self.scan.key)


@dataclass(frozen=True)
class Lookup:
    """Rows of one table by their keys. The source has the key columns first."""

    source: StoreSource

    def rows(self, keys: Keys) -> pa.RecordBatch:
        """See ``Store.lookup``."""
        scan = self.source.scan
        names = encoded(keys, scan.schema, scan.key)
        output = scan.output
        if not len(names):
            return pa.RecordBatch.from_pylist([], schema=output)
        part = KeyList(0, pack_keys(names.unique()))
        found = pa.concat_batches(self._read(part))
        own = encode_keys([found.column(name) for name in scan.key], scan.key)
        rows = found.take(pc.index_in(names, value_set=own))
        asked = decode_keys(names, [scan.schema.field(name) for name in scan.key])
        columns = [*asked, *rows.columns[len(asked) :]]
        return pa.RecordBatch.from_arrays(columns, names=output.names)

    def _read(self, part: KeyList) -> list[pa.RecordBatch]:
        read = self.source.store.read(self.source.scan, part)
        return [*read] or [pa.RecordBatch.from_pylist([], schema=self.source.scan.output)]


def encoded(keys: Keys, schema: pa.Schema, key: Sequence[str]) -> pa.Array:
    """Keys as a store writes them, one ``pa.binary()`` value each.

    Args:
        keys: an Arrow table or batch that has the key columns; or an Arrow array or a sequence of
            values of the one key column; or a sequence of tuples, one value for each key column.
        schema: the table's columns.
        key: the key columns.

    Raises:
        SchemaError: the keys are not of the key columns' types, or one of them is null.
    """
    if isinstance(keys, (pa.Table, pa.RecordBatch)):
        columns = [keys.column(name) for name in key]
    elif isinstance(keys, (pa.Array, pa.ChunkedArray)):
        columns = [keys]
    else:
        rows = [item if isinstance(item, tuple) else (item,) for item in keys]
        if any(len(row) != len(key) for row in rows):
            raise SchemaError(f"each key must have a value for each of {', '.join(key)}")
        columns = [[row[i] for row in rows] for i in range(len(key))]
    arrays = []
    for name, column in zip(key, columns, strict=True):
        kind = schema.field(name).type
        try:
            array = pa.array(column, kind) if isinstance(column, list) else column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"keys do not fit column {name!r} of type {kind}: {error}") from error
        arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
    names = encode_keys(arrays, key)
    if names.null_count:
        raise SchemaError(f"{names.null_count} of {len(names)} keys are null")
    return names
