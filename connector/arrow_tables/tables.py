"""Tables kept as Arrow record batches under few keys: written once, read often.

A chunk, some thousand rows, is one value; the index says which chunks are the table's. Chunks never
change. A task writes new ones, which nobody sees; the commit puts them into the index, in place of
others, at one moment. So readers see a job whole or not at all.
"""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from connector.arrow_tables.checking import kept_schema
from connector.arrow_tables.choice import Choice
from connector.arrow_tables.commit import Commit
from connector.arrow_tables.encoding import ChunkWriter, fitted, read_chunks
from connector.arrow_tables.index import Chunk, Index
from connector.arrow_tables.results import to_item
from connector.arrow_tables.values import Values
from connector.batching import capped, gathered
from connector.codecs import encode_keys
from connector.errors import SchemaError, StoreError, TableNotFoundError
from connector.jobs import WriteJob, WriteOptions, WriteResult
from connector.pace import Pace
from connector.scan import Partition, Scan
from connector.schema import check_rows, conform, key_of
from connector.statistics import Statistics, column_bytes, varying

log = logging.getLogger(__name__)

_SAMPLE_ROWS = 100  # are looked at to tell how large values are


@dataclass(frozen=True, slots=True)
class ChunkList(Partition):
    """Some chunks of a table."""

    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)


@dataclass(frozen=True)
class ChunkOptions:
    """How chunks are written, and how fast tables are read and written.

    Attributes:
        rows: most rows in a chunk.
        batch_bytes: most bytes of column data in one of more than one row.
        codec: how they are compressed: ``lz4``, ``zstd``, or None for not at all.
        rows_per_second: most rows a second that a task reads or writes; None for any.
    """

    rows: int
    batch_bytes: int
    codec: str | None
    rows_per_second: int | None


class Counts(Protocol):
    """What reads met; ``rows`` were handed on."""

    rows: int


class ArrowTables(ABC):
    """The tables of a store that are kept as record batches. The store gives their places.

    Attributes:
        metadata: columns about single records, which these tables do not have.
        location: of the store, for messages.
        counts: what reads met.
    """

    metadata: ClassVar[pa.Schema]
    location: str
    counts: Counts

    @property
    @abstractmethod
    def chunk_options(self) -> ChunkOptions: ...

    @abstractmethod
    def values(self, table: str, doing: str) -> Values:
        """The place of a table, for one operation; connects where that was not done yet."""

    @classmethod
    def check(
        cls, table: str, schema: pa.Schema, options: WriteOptions, stored: pa.Schema | None
    ) -> pa.Schema:
        """The schema of batches as it will be read back, see ``kept_schema``."""
        return kept_schema(table, schema, options, stored, cls.metadata)

    def plan(self, scan: Scan, parts: int) -> list[ChunkList]:
        """Deal the table's chunks out to about ``parts`` partitions of about as many rows.

        Raises:
            TableNotFoundError: there is no such table, or its index was deleted.
            SchemaError: the table does not have the columns that are asked for.
        """
        index = self.index(scan.table)
        for name in scan.output.names:
            if name not in index.schema.names:
                raise SchemaError(
                    f"table {scan.table!r} has no column {name!r} any more, or never had; it has "
                    f"{', '.join(index.schema.names)}. Model 'arrow' has no columns about single keys"
                )
        return dealt(index, parts)

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a partition's chunks, each of which is fetched whole.

        Of a list of keys, all chunks of the table are looked through.

        Raises:
            PlanExpiredError: a chunk is gone, as the table was written since it was planned.
            DecodeError: a value is not the one that was written, or does not fit the schema.
        """
        pace, rows = Pace(self.chunk_options.rows_per_second), 0
        for batch in self._batches(scan, partition):
            pace.wait(batch.num_rows)
            rows += batch.num_rows
            yield batch
        self.counts.rows += rows

    def count(self, scan: Scan, partition: Partition) -> int | None:
        """How many rows reading a partition yields, as the index says; None where only reading tells."""
        chosen = scan.filter is not None or scan.limit is not None or scan.sample is not None
        return None if chosen or not isinstance(partition, ChunkList) else partition.rows

    def statistics(self, scan: Scan) -> Statistics | None:
        """Rows as the index says; columns as in one chunk; None where that cannot be read.

        Raises:
            TableNotFoundError: there is no index of the table.
        """
        try:
            index = self.index(scan.table)
            sizes = column_bytes(scan.output, self._some(scan, index))
        except (StoreError, SchemaError) as error:
            log.info(
                "how large table %r in %s is stays unknown: %s", scan.table, self.location, error
            )
            return None
        return Statistics(index.rows, sizes, exact=True)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        """Write chunks that nobody sees before the job is committed.

        Raises:
            SchemaError: a null key, or one key twice in a chunk.
            WriteRejectedError: the server refused a chunk.
        """
        chunks: list[Chunk] = []
        try:
            return self._written(job, batches, chunks)
        except BaseException:
            self._discard(job, chunks)
            raise

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """Make the job's rows the table's, or add them to it; see ``Commit.run``."""
        values = self.values(job.table, f"committing to table {job.table!r} in {self.location}")
        Commit(job, values, self.chunk_options.codec).run(results)

    def abort(self, job: WriteJob) -> None:
        """Delete the job's chunks, unless its commit went through after all.

        A server that does not answer keeps them: a later overwrite deletes what is a day old.
        """
        doing = f"aborting a write of table {job.table!r} in {self.location}"
        with _forgiven(doing):
            values = self.values(job.table, doing)
            listed = pa.array([name.encode() for name in values.fence()], pa.binary())
            values.clear(lambda names: pc.is_in(names, value_set=listed), f"{job.id}-")

    def delete(self, table: str, names: pa.Array) -> int:
        """Delete the rows with these encoded keys; return how many there were."""
        schema = self.index(table).schema
        options = WriteOptions(key=key_of(schema))
        job = WriteJob(table, schema, options.key, options)
        values = self.values(table, f"deleting rows of table {table!r} in {self.location}")
        return Commit(job, values, self.chunk_options.codec).remove(names)

    def drop(self, table: str) -> int:
        """Forget the index, before the table's own rows are deleted; return how many it had."""
        values = self.values(table, f"dropping table {table!r} in {self.location}")
        index, _ = values.load()
        values.forget()
        return 0 if index is None else index.rows

    def index(self, table: str) -> Index:
        """Which chunks a table has.

        Raises:
            TableNotFoundError: there is no such table, or its index was deleted.
        """
        values = self.values(table, f"reading the index of table {table!r} in {self.location}")
        index, _ = values.load()
        if index is None:
            raise TableNotFoundError(
                f"there is no table {table!r} of model 'arrow' in {self.location}: no index under "
                f"{values.index_place}. If there was one, it was deleted or evicted: overwrite the table"
            )
        return index

    def _batches(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        doing = f"reading partition {partition.index} of table {scan.table!r} from {self.location}"
        values = self.values(scan.table, doing)
        if isinstance(partition, ChunkList):
            chunks: Iterable[Chunk] = partition.chunks
        else:
            chunks = self.index(scan.table).chunks.values()
        choice = Choice.of(scan, partition)
        with contextlib.closing(read_chunks(values, [*chunks], choice.fetched.names)) as found:
            wanted = (
                choice.rows(fitted(values, chunk, batch, choice.fetched)) for chunk, batch in found
            )
            # Nothing to join where all rows are wanted: a chunk is as large as a batch.
            joined = gathered(wanted, scan.batch_rows, scan.batch_bytes)
            yield from capped(joined, scan.batch_rows, scan.batch_bytes)

    def _some(self, scan: Scan, index: Index) -> list[pa.RecordBatch]:
        """Some rows of the first chunk, with the columns whose sizes differ."""
        names, first = varying(scan.output), tuple(index.chunks.values())[:1]
        if not names or not first:
            return []
        plain = replace(scan, filter=None, limit=None, sample=None, batch_rows=_SAMPLE_ROWS)
        with contextlib.closing(self._batches(plain.select(*names), ChunkList(0, first))) as rows:  # type: ignore[type-var]
            return [next(rows)]

    def _written(
        self, job: WriteJob, batches: Iterable[pa.RecordBatch], chunks: list[Chunk]
    ) -> WriteResult:
        """Write some of a job's rows; what was sent is added to ``chunks``."""
        values = self.values(job.table, f"writing table {job.table!r} to {self.location}")
        options, most_bytes = self.chunk_options, values.most_bytes
        items: list[bytes] = []
        pace, rows = Pace(options.rows_per_second), 0
        with values.writing() as writer:
            writing = ChunkWriter(writer, job.id, options.codec, most_bytes, chunks)
            for batch in _cut(job, batches, options, most_bytes):
                pace.wait(batch.num_rows)
                keys = encode_keys([batch.column(name) for name in job.key], job.key)
                check_rows(job.table, job.key, batch, keys)
                start = 0
                for chunk in writing.write(batch):
                    items.append(to_item(chunk, keys.slice(start, chunk.rows)))
                    start += chunk.rows
                rows += batch.num_rows
            writer.finish()
        return WriteResult(rows, tuple(items))

    def _discard(self, job: WriteJob, chunks: Sequence[Chunk]) -> None:
        doing = f"deleting chunks of a failed write of table {job.table!r} in {self.location}"
        if chunks:
            with _forgiven(doing):
                self.values(job.table, doing).delete([chunk.name for chunk in chunks])


def dealt(index: Index, parts: int) -> list[ChunkList]:
    """The chunks in runs of about as many rows each; none of them is empty."""
    chunks = sorted(index.chunks.values(), key=lambda chunk: chunk.name)
    total = sum(chunk.rows for chunk in chunks)
    runs: dict[int, list[Chunk]] = {}
    before = 0
    for chunk in chunks:
        runs.setdefault((2 * before + chunk.rows) * parts // (2 * total), []).append(chunk)
        before += chunk.rows
    return [ChunkList(i, tuple(run)) for i, run in enumerate(runs.values())]


def _cut(
    job: WriteJob, batches: Iterable[pa.RecordBatch], options: ChunkOptions, most_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Batches of the size of chunks."""
    limits = (options.rows, min(options.batch_bytes, most_bytes))
    fitting = (conform(batch, job.schema) for batch in batches)
    return gathered(capped(fitting, *limits), *limits)


@contextlib.contextmanager
def _forgiven(doing: str) -> Iterator[None]:
    """Tell of a server that fails while something is tidied up, and go on."""
    try:
        yield
    except StoreError as error:
        log.warning("%s: %s", doing, error)
