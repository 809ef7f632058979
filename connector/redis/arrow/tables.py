"""Tables kept as Arrow record batches under few keys: written once, read often.

A chunk, some thousand rows, is the value of one key; the index (arrow/index.py) says which chunks are
the table's. Chunks never change. A task writes new ones, which nobody sees; the commit puts them into
the index, in place of others, in one transaction. So readers see a job whole or not at all.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from connector.batching import capped, gathered
from connector.codecs import encode_keys, stored_type
from connector.errors import OptionError, SchemaError, StoreError, TableNotFoundError
from connector.jobs import (
    SchemaEvolution,
    WriteFields,
    WriteJob,
    WriteOptions,
    WriteResult,
    WriteRows,
)
from connector.pace import Pace
from connector.redis.arrow.choice import Choice
from connector.redis.arrow.chunks import ChunkReader, ChunkWriter, fitted
from connector.redis.arrow.commit import Commit, to_item
from connector.redis.arrow.index import Chunk, Index, drop, fence, index_key, load
from connector.redis.deleting import delete_keys
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace, escaped
from connector.redis.link import translated
from connector.redis.options import RedisOptions
from connector.redis.partitions import partition_keys, whole
from connector.redis.reading import METADATA, ReadCounts
from connector.redis.servers import Servers
from connector.scan import Partition, Scan
from connector.schema import check_append, check_rows, conform, key_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChunkList(Partition):
    """Some chunks of a table."""

    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)


@dataclass(frozen=True)
class ArrowTables:
    """The tables of a store that are kept as record batches.

    Attributes:
        connect: gives who has which key; connects when first called.
        options: of the store.
        location: of the store, for messages.
        counts: what reads met.
    """

    connect: Callable[[], Servers]
    options: RedisOptions
    location: str
    counts: ReadCounts

    @staticmethod
    def check(
        table: str, schema: pa.Schema, options: WriteOptions, stored: pa.Schema | None
    ) -> pa.Schema:
        """The schema as it will be read back.

        Args:
            table: for messages.
            schema: of the batches.
            options: how they are to be written.
            stored: the table's, where there is one and it is not overwritten.

        Raises:
            OptionError: these tables are not written so.
            SchemaError: such rows cannot be kept, or do not fit the table, or lack columns of it.
        """
        refused = {
            "ttl": options.ttl_seconds is not None or options.ttl_column is not None,
            f"write.mode = {options.rows.value}": options.rows is not WriteRows.UPSERT,
            "reject.path": options.reject_path is not None,
        }
        for name in [name for name, is_set in refused.items() if is_set]:
            raise OptionError(
                f"table {table!r}: option {name!r} is about single rows, which have no keys of their "
                f"own in model 'arrow'; leave it out, or choose another model"
            )
        for name in set(schema.names) & set(METADATA.names):
            raise OptionError(
                f"table {table!r}: column {name!r} is about the keys of single rows, which there are "
                f"none of in model 'arrow'; drop it"
            )
        plain = pa.schema([_kept(table, item) for item in schema])
        if stored is not None:
            add = options.evolution is SchemaEvolution.ADD
            check_append(table, stored, plain, options.key or key_of(stored), add=add)
            lacking = [name for name in stored.names if name not in schema.names]
            if lacking and options.fields is WriteFields.MERGE:
                raise SchemaError(
                    f"table {table!r}: model 'arrow' writes whole rows, and the batches lack the columns "
                    f"{', '.join(lacking)}; add them, or set write.fields to replace to make them null"
                )
        return plain

    def plan(self, scan: Scan, parts: int) -> list[ChunkList]:
        """Deal the table's chunks out to about ``parts`` partitions of about as many rows.

        Raises:
            TableNotFoundError: there is no such table, or its index was deleted.
            SchemaError: the table does not have the columns that are asked for.
        """
        with translated(f"planning table {scan.table!r} in {self.location}"):
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
        doing = f"reading partition {partition.index} of table {scan.table!r} from {self.location}"
        pace, rows = Pace(self.options.rows_per_second), 0
        with translated(doing):
            servers = self.connect()
        choice = Choice.of(scan, partition)
        with translated(doing), Links(servers, doing, replica=True) as links:
            if isinstance(partition, ChunkList):
                chunks: Iterable[Chunk] = partition.chunks
            else:
                chunks = self.index(scan.table).chunks.values()
            reader = ChunkReader(scan.table, servers, links, doing)
            wanted = (
                choice.rows(fitted(scan.table, chunk.key(scan.table), batch, choice.fetched))
                for chunk, batch in reader.batches([*chunks], choice.fetched.names)
            )
            # Nothing to join where all rows are wanted: a chunk is as large as a batch.
            found = gathered(wanted, scan.batch_rows, scan.batch_bytes)
            for batch in capped(found, scan.batch_rows, scan.batch_bytes):
                pace.wait(batch.num_rows)
                rows += batch.num_rows
                yield batch
        self.counts.rows += rows

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        """Write chunks that nobody sees before the job is committed.

        Raises:
            SchemaError: a null key, or one key twice in a chunk.
            WriteRejectedError: the server refused a chunk.
        """
        doing = f"writing table {job.table!r} to {self.location}"
        items: list[bytes] = []
        pace, rows = Pace(self.options.rows_per_second), 0
        with translated(doing):
            servers = self.connect()
        with Links(servers, doing) as links:  # an OSError of the batches is not the server's
            writer = ChunkWriter(job.table, job.id, servers, links, self.options, doing)
            try:
                for batch in self._cut(job, batches):
                    pace.wait(batch.num_rows)
                    keys = encode_keys([batch.column(name) for name in job.key], job.key)
                    check_rows(job.table, job.key, batch, keys)
                    items.append(to_item(writer.write(batch), keys))
                    rows += batch.num_rows
                writer.drain()
                if self.options.wait_replicas:
                    writer.await_replicas()
                with translated(doing):
                    servers.confirm({link.peer for link in links})
            except BaseException:
                self._discard(job, servers, [chunk.key(job.table) for chunk in writer.chunks])
                raise
        return WriteResult(rows, tuple(items))

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """Make the job's rows the table's, or add them to it; see ``Commit.run``."""
        doing = f"committing to table {job.table!r} in {self.location}"
        with translated(doing):
            Commit(job, self.connect(), self.options, doing).run(results)

    def abort(self, job: WriteJob) -> None:
        """Delete the job's chunks, unless its commit went through after all.

        A server that does not answer keeps them: a later overwrite deletes what is a day old.
        """
        doing = f"aborting a write of table {job.table!r} in {self.location}"
        own = Keyspace.of_table(job.table).prefix + f"{job.id}-".encode()
        keyspace = Keyspace(own, escaped(own) + b"*")
        with _forgiven(doing), translated(doing):
            servers = self.connect()
            listed = pa.array(
                [f"{job.table}:{name}".encode() for name in fence(servers, job.table)], pa.binary()
            )
            with Links(servers, doing) as links:
                everything = whole(servers, keyspace)
                pages = partition_keys(everything, keyspace, servers, links, self.options, doing)
                unlisted = (page.filter(pc.invert(pc.is_in(page, listed))) for page in pages)
                delete_keys(job.table, unlisted, servers, doing, self.options.max_pipeline_size)

    def delete(self, table: str, names: pa.Array) -> int:
        """Delete the rows with these encoded keys; return how many there were."""
        doing = f"deleting rows of table {table!r} in {self.location}"
        with translated(doing):
            index = self.index(table)
            options = WriteOptions(key=key_of(index.schema))
            job = WriteJob(table, index.schema, options.key, options)
            return Commit(job, self.connect(), self.options, doing).remove(names)

    def drop(self, table: str) -> int:
        """Forget the index, before its chunks are deleted by the table's prefix; return its rows."""
        with translated(f"dropping table {table!r} in {self.location}"):
            index = load(self.connect(), table)
            drop(self.connect(), table)
        return 0 if index is None else index.rows

    def index(self, table: str) -> Index:
        """Which chunks a table has.

        Raises:
            TableNotFoundError: there is no such table, or its index was deleted.
        """
        index = load(self.connect(), table)
        if index is None:
            raise TableNotFoundError(
                f"there is no table {table!r} of model 'arrow' in {self.location}: no index under "
                f"{index_key(table)!r}. If there was one, it was deleted or evicted: overwrite the table"
            )
        return index

    def _cut(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches of the size of chunks."""
        limits = (self.options.arrow_rows, self.options.max_pipeline_bytes)
        fitting = (conform(batch, job.schema) for batch in batches)
        return gathered(capped(fitting, *limits), *limits)

    def _discard(self, job: WriteJob, servers: Servers, keys: list[bytes]) -> None:
        doing = f"deleting chunks of a failed write of table {job.table!r} in {self.location}"
        with _forgiven(doing), translated(doing):
            pages = [pa.array(keys, pa.binary())]
            delete_keys(job.table, pages, servers, doing, self.options.max_pipeline_size)


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


def _kept(table: str, item: pa.Field) -> pa.Field:
    """A column as it is kept: as it is, if rows of it can be picked out, or as its plain type.

    Raises:
        SchemaError: neither can be kept.
    """
    if _can_be_kept(item.type):
        return item
    plain = item.with_type(stored_type(item.name, item.type))
    if not _can_be_kept(plain.type):
        raise SchemaError(
            f"table {table!r}: column {item.name!r} of type {item.type} cannot be stored; cast it first"
        )
    return plain


def _can_be_kept(kind: pa.DataType) -> bool:
    try:
        pa.nulls(1, kind).filter(pa.array([True]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


@contextlib.contextmanager
def _forgiven(doing: str) -> Iterator[None]:
    """Tell of a server that fails while something is tidied up, and go on."""
    try:
        yield
    except StoreError as error:
        log.warning("%s: %s", doing, error)
