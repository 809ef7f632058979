"""A lake's table as a Source: partitions are runs of row groups or record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connector.batching import capped
from connector.digests import digest
from connector.errors import OptionError, SchemaError, StoreError
from connector.filters import Filter, bind, columns_of, keep, parse_filter
from connector.lake.delta import delta_table
from connector.lake.files import FORMATS, LakeFile, Storage, constant_types, listed, opened
from connector.options import masked_url
from connector.scan import Partition
from connector.schema import conform

_FILES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """Row groups, or record batches, of one file.

    Attributes:
        file: which.
        groups: their numbers.
    """

    file: LakeFile
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LakePartition(Partition):
    """A run of pieces."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class _Table:
    """What is known of a table when it has been looked at.

    Attributes:
        format: of its files.
        version: the number of a Delta table's version.
        schema: all its columns.
        files: in order.
    """

    format: str
    version: int | None
    schema: pa.Schema
    files: tuple[LakeFile, ...]


@dataclass(frozen=True)
class LakeSource:
    """Parquet, Arrow or Delta tables, as Source.

    The files are listed once, when the source is first asked for its schema, fingerprint or partitions,
    and go along where it is pickled. A Parquet or Arrow table has the columns of its first file by name,
    and those of directories such as ``day=7``; files that lack a column have nulls there.

    Attributes:
        url: a file, a directory, a pattern such as ``s3://bucket/t/*.parquet``, or a Delta table.
        format: ``parquet``, ``arrow`` or ``delta``; by default what the files are.
        version: of a Delta table: a number, or a time for the one that was the latest then; by default the
            latest.
        columns: the columns wanted, in order; None for all.
        filter: the rows wanted, as SQL-like text or as an object of ``connector.filters``.
        row_key: the columns that name a row, where rows are to be split or told apart by them.
        parts: about how many partitions to plan; a row group is never divided.
        batch_rows: most rows in a batch.
        batch_bytes: most bytes of column data in a batch of more than one row.
        storage_options: for fsspec, and for deltalake, such as credentials.

    Raises:
        OptionError: the URL, the format or the version is not known.
        TableNotFoundError: there are no files.
        SchemaError: there is no such column, or a file has another type where it does not fit.
        StoreError: a file cannot be read.
        MissingDependencyError: fsspec or deltalake is not installed.
    """

    url: str
    format: str | None = None
    version: int | str | datetime | None = None
    columns: tuple[str, ...] | None = None
    filter: str | Filter | None = None
    row_key: tuple[str, ...] = ()
    parts: int = 8
    batch_rows: int = 16_384
    batch_bytes: int = 32 << 20
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.format not in (None, "delta", *FORMATS):
            raise OptionError(f"format {self.format!r} is not known; it is parquet, arrow or delta")
        if self.version is not None and self.format not in (None, "delta"):
            raise OptionError(f"version {self.version!r}: only Delta tables have versions")

    def __repr__(self) -> str:
        return f"LakeSource({masked_url(self.url)!r}, columns={self.columns})"

    @cached_property
    def _table(self) -> _Table:
        if self.format == "delta" or (self.format is None and self._has_log()):
            version, schema, files = delta_table(self._storage, self.version)
            return _Table("parquet", version, schema, tuple(files))
        if self.version is not None:
            raise OptionError(f"there is no Delta table at {masked_url(self.url)} to have versions")
        format, files = listed(self._storage, self.format)
        schema = self._own_schema(format, files[0])
        for name, kind in constant_types(files).items():
            if name not in schema.names:
                schema = schema.append(pa.field(name, kind))
        return _Table(format, None, schema, tuple(files))

    @cached_property
    def _filter(self) -> Filter | None:
        if self.filter is None:
            return None
        given = parse_filter(self.filter) if isinstance(self.filter, str) else self.filter
        return bind(given, self._table.schema, masked_url(self.url))

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns wanted."""
        return self._chosen(self._table.schema.names if self.columns is None else self.columns)

    @property
    def key(self) -> tuple[str, ...]:
        return self.row_key if set(self.schema.names).issuperset(self.row_key) else ()

    def with_key(self) -> LakeSource:
        """The same source, reading the columns that tell rows apart where they were not asked for."""
        missing = [name for name in self.row_key if name not in self.schema.names]
        return replace(self, columns=(*self.schema.names, *missing)) if missing else self

    @property
    def fingerprint(self) -> str:
        """Equal for equal files, Delta versions, columns and filters."""
        table = self._table
        files = digest(*(f"{file.path}:{file.state}" for file in table.files))
        return digest(masked_url(self.url), table.version, files, self.schema, self._filter)

    def partitions(self) -> Sequence[Partition]:
        """Plan runs of about as many rows; this reads what each file says of its own."""
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            found = [*pool.map(self._groups, self._table.files)]
        pieces = [
            (file, group, rows)
            for file, groups in zip(self._table.files, found, strict=True)
            for group, rows in enumerate(groups)
        ]
        total = sum(rows for _, _, rows in pieces)
        runs: list[list[tuple[LakeFile, int]]] = []
        before = 0
        for file, group, rows in pieces:
            if len(runs) <= before * self.parts // max(total, 1):
                runs.append([])
            runs[-1].append((file, group))
            before += rows
        return [LakePartition(i, _joined(run)) for i, run in enumerate(runs)]

    def read(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, LakePartition)
        wanted = self._wanted()
        filesystem, _ = self._storage.open()
        for piece in partition.pieces:
            for batch in capped(
                self._batches(filesystem, piece, wanted), self.batch_rows, self.batch_bytes
            ):
                rows = batch if self._filter is None else keep(self._filter, batch)
                if rows.num_rows:
                    yield rows.select(self.schema.names)

    def _wanted(self) -> pa.Schema:
        """What is read: the columns wanted, and those of the filter."""
        tested = () if self._filter is None else columns_of(self._filter)
        return self._chosen([*dict.fromkeys([*self.schema.names, *tested])])

    def _batches(
        self, filesystem: Any, piece: Piece, wanted: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        constants = dict(piece.file.constants)
        with opened(filesystem, piece.file.path) as file:
            for batch in _read(self._table.format, file, piece.groups, self.batch_rows, wanted):
                columns = [
                    batch.column(item.name)
                    if item.name in batch.schema.names
                    else _constant(constants.get(item.name), item.type, batch.num_rows)
                    for item in wanted
                ]
                found = pa.RecordBatch.from_arrays(columns, names=wanted.names)
                yield self._fitting(found, wanted, piece)

    def _fitting(self, batch: pa.RecordBatch, wanted: pa.Schema, piece: Piece) -> pa.RecordBatch:
        try:
            return conform(batch, wanted)
        except SchemaError as error:
            raise SchemaError(f"file {piece.file.path} of the lake: {error}") from error

    def _groups(self, file: LakeFile) -> list[int]:
        """Rows of each row group; of record batches, which do not tell theirs, one each."""
        filesystem, _ = self._storage.open()
        with opened(filesystem, file.path) as opened_file, _naming(file):
            if self._table.format == "parquet":
                footer = pq.read_metadata(opened_file)
                return [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
            reader = pa.ipc.open_file(opened_file)
            return [1] * reader.num_record_batches

    def _own_schema(self, format: str, file: LakeFile) -> pa.Schema:
        filesystem, _ = self._storage.open()
        with opened(filesystem, file.path) as opened_file, _naming(file):
            if format == "parquet":
                return pq.read_schema(opened_file).remove_metadata()
            return pa.ipc.open_file(opened_file).schema.remove_metadata()

    def _chosen(self, names: Sequence[str]) -> pa.Schema:
        full = self._table.schema
        if missing := [name for name in names if name not in full.names]:
            raise SchemaError(
                f"{masked_url(self.url)} has no column {missing[0]!r}; it has {', '.join(full.names)}"
            )
        return pa.schema([full.field(name).remove_metadata().with_nullable(True) for name in names])

    def _has_log(self) -> bool:
        filesystem, place = self._storage.open()
        return bool(filesystem.isdir(f"{place}/_delta_log"))

    @property
    def _storage(self) -> Storage:
        return Storage(self.url, tuple(self.storage_options.items()))


def _read(
    format: str, file: Any, groups: tuple[int, ...], rows: int, wanted: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The batches of some groups, with those of the columns wanted that the file has."""
    if format == "parquet":
        reader = pq.ParquetFile(file, pre_buffer=True)
        own = [name for name in reader.schema_arrow.names if name in wanted.names]
        yield from reader.iter_batches(rows, row_groups=list(groups), columns=own)
        return
    reader = pa.ipc.open_file(file)
    own = [name for name in reader.schema.names if name in wanted.names]
    for group in groups:
        yield reader.get_batch(group).select(own)


def _constant(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    typed = pa.scalar(value).cast(kind) if value is not None else pa.scalar(None, kind)
    return pa.repeat(typed, rows)


def _joined(run: list[tuple[LakeFile, int]]) -> tuple[Piece, ...]:
    groups: dict[LakeFile, list[int]] = {}
    for file, group in run:
        groups.setdefault(file, []).append(group)
    return tuple(Piece(file, tuple(numbers)) for file, numbers in groups.items())


@contextlib.contextmanager
def _naming(file: LakeFile) -> Iterator[None]:
    """Say which file it is that is of no use."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise StoreError(
            f"file {file.path} of the lake is damaged, or of another format: {error}"
        ) from error
