"""Tables kept as a record for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from connector.aerospike import inferring, saved
from connector.aerospike.connecting import Connection
from connector.aerospike.deleting import delete_all, delete_rows
from connector.aerospike.jobs import RecordJob
from connector.aerospike.keys import DIGEST
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.overwriting import truncate
from connector.aerospike.partitions import DigestRange, digest_ranges
from connector.aerospike.reading import RecordReader
from connector.aerospike.records import KEY, METADATA, Record
from connector.aerospike.statistics import objects, table_statistics
from connector.aerospike.writing import RecordWriter
from connector.jobs import WriteJob, WriteMode, WriteResult
from connector.reads import OnBadField, ReadCounts
from connector.scan import KeyList, Partition, Scan
from connector.schema import keyed
from connector.statistics import Statistics

_COUNTED_ROWS = 4096  # at most are counted one by one
_LEAST_ROWS = 1000  # in a partition: to start a task takes as long as to read some thousand rows


@dataclass(frozen=True)
class RecordTables:
    """Tables of records.

    Attributes:
        connection: to the cluster.
        options: of the store.
        location: of the store, for messages.
        counts: what the reads met, of partitions read to the end.
    """

    connection: Connection
    options: AerospikeOptions
    location: str
    counts: ReadCounts

    def infer(self, table: str, key: Sequence[str]) -> pa.Schema | None:
        """The columns of a sample of records; None where there are none.

        Args:
            table: the table.
            key: a name for the user keys, or a column of it that is the key; empty to find one.
        """
        sample = self._sample(table)
        if not sample:
            return None
        named = {name: column for column, name in self.options.bin_names}
        columns = [
            item.with_name(named.get(item.name, item.name))
            for item in inferring.columns(bins for _, _, bins in sample)
        ]
        if key and key[0] in [item.name for item in columns]:
            return saved.with_key_bins(keyed(pa.schema(columns), key, inferred=True), True)
        user_keys = [one[2] for one, _, _ in sample]
        if None in user_keys and not key:
            first = pa.field(DIGEST, METADATA.field(DIGEST).type, nullable=False)
        else:
            first = pa.field(key[0] if key else KEY, inferring.fitting(user_keys), nullable=False)
        return keyed(pa.schema([first, *columns]), [first.name], inferred=True)

    def plan(self, scan: Scan, parts: int) -> list[DigestRange]:
        """See ``Store.plan``."""
        factor = self.options.partition_factor
        if factor is not None:
            return digest_ranges(2**factor)
        return digest_ranges(min(parts, -(-self._objects(scan.table) // _LEAST_ROWS)))

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        """See ``Store.read``."""
        counts = ReadCounts()
        reader = self._reader(scan, counts)
        if isinstance(partition, KeyList):
            yield from reader.find(partition)
        else:
            assert isinstance(partition, DigestRange)
            yield from reader.read(partition)
        self.counts.add(counts)

    def count(self, scan: Scan, partition: Partition) -> int | None:
        """How many rows a partition has; None where that takes reading them."""
        whole = scan.filter is None and scan.limit is None
        dropping = self.options.on_bad_field is OnBadField.DROP
        if isinstance(partition, DigestRange) and whole and not dropping:
            return self._reader(scan, ReadCounts()).count(partition)
        return None

    def finder(self, scan: Scan) -> Callable[[pa.Array], list[pa.Array]] | None:
        """What ``connector.lookup.Lookup`` finds rows by; None where it takes a read.

        Args:
            scan: what is looked up; it has the key columns first.
        """
        names = scan.output.names[len(scan.key) :]
        dropping = self.options.on_bad_field is OnBadField.DROP
        if not names or dropping or not {*names}.isdisjoint(METADATA.names):
            return None
        reader = self._reader(scan.select(*names), ReadCounts())
        fields = [scan.schema.field(name) for name in scan.key]
        return lambda keys: reader.look_up(keys, fields)

    def statistics(self, scan: Scan) -> Statistics:
        """Exact of up to 4,096 rows; of more, as the nodes count them, some that expired among them."""
        rows = self._objects(scan.table)
        if few := rows <= _COUNTED_ROWS:
            reader = self._reader(replace(scan, filter=None, sample=None), ReadCounts())
            (everything,) = digest_ranges(1)
            rows = reader.count(everything)
        lenient = replace(self, options=replace(self.options, on_bad_field=OnBadField.NULL))
        return table_statistics(scan, rows, few, lenient.read)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        """See ``Store.write_part``."""
        assert isinstance(job, RecordJob)
        if job.options.mode is WriteMode.APPEND:  # so that rows of a job that fails can be read
            saved.extend(self.connection, self.options.in_namespace, job)
        doing = f"writing table {job.table!r} to {self.location}"
        return RecordWriter(job, self.connection, self.options, doing).write(batches)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """Save the schema, and, of an overwrite, then remove the records that it did not write."""
        assert isinstance(job, RecordJob)
        namespace = self.options.in_namespace
        if job.options.mode is WriteMode.APPEND:
            saved.extend(self.connection, namespace, job)
            return
        saved.replace(self.connection, namespace, job.table, saved.schema_of(job))
        truncate(self.connection, self.options, job.table, job.began)

    def abort(self, job: WriteJob) -> None:
        """Undo nothing: rows stay, and none was deleted."""

    def delete(self, table: str, names: pa.Array, key: Sequence[pa.Field]) -> int:
        """Delete the rows with these encoded keys, and return how many there were."""
        return delete_rows(self.connection, self.options, table, names, key)

    def drop(self, table: str) -> int:
        """Delete all records, and return how many there were."""
        return delete_all(self.connection, self.options, table)

    def _reader(self, scan: Scan, counts: ReadCounts) -> RecordReader:
        return RecordReader(
            scan,
            self.connection,
            self.options,
            key_bins=saved.has_key_bins(scan.schema),
            doing=f"reading table {scan.table!r} from {self.location}",
            counts=counts,
        )

    def _objects(self, table: str) -> int:
        return objects(self.connection, self.options.in_namespace, table)

    def _sample(self, table: str) -> list[Record]:
        """Some records with all their bins."""
        query = self.connection.client.query(self.options.in_namespace, table)
        query.max_records = self.options.schema_sample
        found: list[Record] = []
        doing = f"looking at records of table {table!r} in {self.location}"
        self.connection.run(doing, lambda: query.foreach(found.append))
        return found
