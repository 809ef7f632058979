"""Stores: everything that holds tables. How a table is planned, read and written; as a Source."""

from __future__ import annotations

import functools
import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa

from connector.batching import limited
from connector.digests import digest
from connector.filters import Filter, bind, columns_of, key_values, parse_filter
from connector.jobs import WriteJob, WriteOptions, WriteResult
from connector.lookup import Keys, Lookup, encoded, read_rows
from connector.options import Options
from connector.scan import Partition, Scan, key_lists, pack_keys
from connector.schema import key_of
from connector.statistics import Statistics


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

    def count(self, scan: Scan, partition: Partition) -> int:
        """How many rows of a partition a source of this scan yields: its filter and limit count too."""
        counted = StoreSource(self, self._countable(scan))
        return sum(batch.num_rows for batch in counted.read(partition))

    def statistics(self, scan: Scan) -> Statistics | None:
        """How large the table is, found out in a few requests; None where the store cannot tell.

        It is about all rows of the table: the scan's filter, limit and sample do not matter, and of
        its columns those of ``output`` are told.
        """
        return None

    def _countable(self, scan: Scan) -> Scan:
        """The same rows, with as few columns as tell how many they are."""
        needed = () if scan.filter is None else columns_of(scan.filter)
        return scan.select(*(needed or scan.key or scan.output.names[:1]))

    def with_metadata(self, schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
        """A table's schema with those of ``metadata`` that are among ``names``, but no columns of it."""
        for field in self.metadata:
            if field.name in names and field.name not in schema.names:
                schema = schema.append(field)
        return schema

    def finds_by_key(self, scan: Scan) -> bool:
        """Whether rows of the table are found by their keys without reading others."""
        return True

    def row_key(self, scan: Scan) -> tuple[str, ...]:
        """The columns that tell every row of a scan from the others: most often those of the key."""
        return scan.key

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
            self._lookups[table, asked] = self._lookup(
                self.source(table, schema=full, columns=[*names])
            )
        return self._lookups[table, asked].rows(keys)

    def _lookup(self, source: StoreSource) -> Lookup:
        """How rows of a source, which has the key columns first, are looked up."""
        return Lookup(source.scan, functools.partial(read_rows, source.scan, source.read))

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
        own, full = full, self.with_metadata(full, asked)
        if columns is None and len(full) > len(own):
            columns = own.names
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
        key = self.store.row_key(self.scan)
        return key if set(self.scan.output.names).issuperset(key) else ()

    def with_key(self) -> StoreSource:
        """The same source, reading the columns that tell rows apart where they were not asked for."""
        columns = self.scan.output.names
        missing = [name for name in self.store.row_key(self.scan) if name not in columns]
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
        scan, limit = self.scan, self.scan.limit
        if limit is None:
            return self.store.read(scan, partition)
        if scan.filter is None:  # then all rows that are fetched are wanted
            scan = replace(scan, batch_rows=min(scan.batch_rows, max(1, limit)))
        return limited(self.store.read(scan, partition), limit)

    def count(self, partition: Partition) -> int:
        """How many rows ``read`` yields for a partition; values are read only where it takes them."""
        return self.store.count(self.scan, partition)

    def statistics(self) -> Statistics | None:
        """How large the whole table is, see ``Store.statistics``; also where only some rows are read."""
        return self.store.statistics(self.scan)

    def _names(self) -> pa.Array | None:
        """The encoded keys of the rows that can be wanted, where they are known."""
        if self.names is not None or self.scan.filter is None:
            return self.names
        if not self.store.finds_by_key(self.scan):
            return None
        values, _ = key_values(self.scan.filter, self.scan.key)
        if values is None:
            return None
        return encoded(values, self.scan.schema, self.scan.key)
