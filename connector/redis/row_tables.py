"""Tables whose rows lie under keys of their own, in whatever model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import redis

from connector.batching import capped, gathered
from connector.errors import SchemaError
from connector.jobs import WriteJob, WriteMode, WriteResult
from connector.pace import Pace
from connector.reads import OnBadField
from connector.redis import saved
from connector.redis.arrow import index as arrow_index
from connector.redis.deleting import delete_keys, others
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace
from connector.redis.link import translated
from connector.redis.models.model import Fetch, Model
from connector.redis.models.sharing import Sharing, check_job
from connector.redis.options import OnBadKey, RedisOptions
from connector.redis.partitions import partition_keys, plan, whole
from connector.redis.reading import METADATA, RedisCounts, RowReader, fetch_of, is_wrong_type
from connector.redis.search.planning import plan_search
from connector.redis.servers import Servers
from connector.redis.writing import RowWriter
from connector.scan import Partition, Scan, unpack_keys

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowTables:
    """The tables of a store that are of one model.

    Attributes:
        model: how rows lie under keys.
        connect: gives who has which key; connects when first called.
        options: of the store.
        location: of the store, for messages.
        counts: what reads met.
    """

    model: Model
    connect: Callable[[], Servers]
    options: RedisOptions
    location: str
    counts: RedisCounts

    @property
    def apart(self) -> tuple[str, ...]:
        """The columns that tell the rows of one key from one another."""
        return self.model.apart if isinstance(self.model, Sharing) else ()

    def keyspace(self, table: str) -> Keyspace:
        """The keys of a table's rows."""
        pattern = self.options.keys_pattern
        return Keyspace.of_table(table) if pattern is None else Keyspace.of_pattern(pattern)

    def infer(self, table: str) -> list[pa.Field] | None:
        """The columns beside the key's that a sample of rows has; None where there are no rows.

        Raises:
            SchemaError: the keys are of another type.
        """
        keyspace = self.keyspace(table)
        doing = f"looking at table {table!r} in {self.location}"
        with translated(doing), Links(self.connect(), doing, replica=True) as links:
            pages = self.pages(whole(self.connect(), keyspace), table, links, doing)
            try:
                rows = saved.sample(
                    self.connect(),
                    self.model,
                    pages,
                    self.options.schema_sample,
                    skip_others=self.options.on_bad_key is OnBadKey.SKIP,
                )
            except redis.ResponseError as error:
                if not is_wrong_type(str(error)):
                    raise
                raise SchemaError(
                    f"{doing}: keys that match {keyspace.pattern!r} hold no {self.model.kinds[0]}: "
                    f"{error}; set option 'model' to what they hold, or on.bad.key to skip"
                ) from error
        return self.model.infer(table, rows) if rows else None

    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        """Cut the keys of a table into partitions, or take those that an index finds."""
        doing = f"planning table {scan.table!r} in {self.location}"
        keyspace, index = self.keyspace(scan.table), self.options.search_index
        if index is not None and scan.filter is not None:
            with translated(f"{doing}, by index {index!r}"):
                apart = (*scan.key, *METADATA.names)
                spec = self.model.spec
                found = plan_search(self.connect(), scan, apart, keyspace, spec, index)
            if found is not None:
                return [found]
        with translated(doing):
            return plan(self.connect(), keyspace, parts, scan.sample or 1.0)

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        """See ``Store.read``."""
        doing = f"reading partition {partition.index} of table {scan.table!r} from {self.location}"
        counts = RedisCounts()
        yield from self.batches(scan, partition, doing, counts)
        self.counts.add(counts)
        report(doing, counts)

    def batches(
        self, scan: Scan, partition: Partition, doing: str, counts: RedisCounts
    ) -> Iterator[pa.RecordBatch]:
        """What ``read`` yields; what is met is added to ``counts``, and not reported."""
        pace = Pace(self.options.rows_per_second)
        with translated(doing):
            servers = self.connect()
        with Links(servers, doing, replica=True) as links:
            fetched = scan.unfiltered
            fetch = fetch_of(self.model, fetched)
            reader = self.reader(fetched, fetch, servers, links, doing, counts)
            pages = self.pages(partition, scan.table, links, doing)
            wanted = (scan.filtered(batch) for batch in reader.batches(pages))
            batches = gathered(wanted, scan.batch_rows, scan.batch_bytes)
            for batch in capped(batches, scan.batch_rows, scan.batch_bytes):
                pace.wait(batch.num_rows)
                yield batch

    def lenient(self) -> RowTables:
        """The same tables, but what cannot be read is left out or null, and there is no haste."""
        options = replace(
            self.options,
            on_bad_key=OnBadKey.SKIP,
            on_bad_field=OnBadField.NULL,
            rows_per_second=None,
        )
        return replace(self, options=options)

    def reader(
        self,
        scan: Scan,
        fetch: Fetch,
        servers: Servers,
        links: Links,
        doing: str,
        counts: RedisCounts,
    ) -> RowReader:
        """What reads a scan's rows of keys, asking by ``fetch`` and adding to ``counts`` what it meets."""
        options = self.options
        return RowReader(
            scan=scan,
            keyspace=self.keyspace(scan.table),
            model=self.model,
            fetch=fetch,
            servers=servers,
            links=links,
            doing=doing,
            on_bad_field=options.on_bad_field,
            on_bad_key=options.on_bad_key,
            window_rows=min(options.max_pipeline_size, scan.batch_rows),
            window_bytes=min(options.max_pipeline_bytes, scan.batch_bytes),
            counts=counts,
        )

    def pages(
        self, partition: Partition, table: str, links: Links, doing: str
    ) -> Iterator[pa.Array]:
        """The keys of a partition; keys of other types may be among them."""
        kind = self.model.kinds[0] if self.options.filter_keys_by_type else None
        servers, keyspace = self.connect(), self.keyspace(table)
        return partition_keys(partition, keyspace, servers, links, self.options, doing, kind=kind)

    def check(self, job: WriteJob, stored: pa.Schema | None) -> None:
        """Refuse a write that the model cannot carry out; see ``check_job``."""
        check_job(job, self.model, stored)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        """See ``Store.write_part``."""
        if job.options.mode is WriteMode.APPEND:
            self._extend(job)
        doing = f"writing table {job.table!r} to {self.location}"
        with translated(doing):
            servers = self.connect()
        keyspace = Keyspace.of_table(job.table)
        writer = RowWriter(job, keyspace, self.model, servers, self.options, doing)
        return writer.write(batches)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """Save the schema; then, for an overwrite, delete the rows that it did not write.

        Every task's result brings the keys that it wrote, compressed; they are held here at once.
        """
        if job.options.mode is WriteMode.APPEND:
            self._extend(job)
            return
        rows = sum(result.rows + result.rejected for result in results)
        written = unpack_keys(block for result in results for block in result.keys)
        if len(written) != rows:
            raise SchemaError(
                f"overwriting table {job.table!r}: the results name {len(written)} keys for {rows} "
                f"rows; nothing was deleted"
            )
        with translated(f"saving the schema of table {job.table!r} to {self.location}"):
            saved.replace(self.connect(), job.table, saved.schema_of(job))
            arrow_index.drop(self.connect(), job.table)
        deleted = self.delete_all(Keyspace.of_table(job.table), job.table, spared=written)
        log.info("overwrote table %r: %d rows, %d old ones deleted", job.table, rows, deleted)

    def abort(self, job: WriteJob) -> None:
        """Nothing to undo: an aborted job's rows stay, and no row was deleted."""

    def delete(self, table: str, names: pa.Array) -> int:
        """Delete the rows with these encoded keys; return how many keys there were."""
        doing = f"deleting rows of table {table!r} in {self.location}"
        with translated(doing):
            servers = self.connect()
        pages = [self.keyspace(table).keys(names)]
        return delete_keys(table, pages, servers, doing, self.options.max_pipeline_size)

    def delete_all(
        self, keyspace: Keyspace, table: str, *, spared: pa.ChunkedArray | None = None
    ) -> int:
        """Delete what is under these keys, but for those that are spared."""
        doing = f"deleting rows of table {table!r} in {self.location}"
        with translated(doing):
            servers = self.connect()
        with Links(servers, doing) as links:
            part = whole(servers, keyspace)
            pages = partition_keys(part, keyspace, servers, links, self.options, doing)
            doomed = pages if spared is None else others(pages, spared)
            return delete_keys(table, doomed, servers, doing, self.options.max_pipeline_size)

    def drop(self, table: str) -> int:
        """Delete everything under the table's keys; return how many there were."""
        return self.delete_all(Keyspace.of_table(table), table)

    def _extend(self, job: WriteJob) -> None:
        with translated(f"saving the schema of table {job.table!r} to {self.location}"):
            saved.extend(self.connect(), job)


def report(doing: str, counts: RedisCounts) -> None:
    """Say what was not handed on as it stood; silence is for reads without loss."""
    if counts.bad_fields or counts.dropped_rows or counts.bad_keys:
        log.warning(
            "%s: %d rows; %d values did not parse and were read as null; %d rows left out; %d keys of "
            "other types skipped",
            doing,
            counts.rows,
            counts.bad_fields,
            counts.dropped_rows,
            counts.bad_keys,
        )
    elif counts.vanished:
        log.info(
            "%s: %d rows; %d keys had gone meanwhile",
            doing,
            counts.rows,
            counts.vanished,
        )
