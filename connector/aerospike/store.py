"""Tables in Aerospike: a set of a namespace is a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from connector.aerospike import inferring, saved
from connector.aerospike.connecting import Connection
from connector.aerospike.deleting import delete_all, delete_rows
from connector.aerospike.jobs import RecordJob, begin_job
from connector.aerospike.keys import DIGEST
from connector.aerospike.options import AerospikeOptions, OnBadField
from connector.aerospike.overwriting import truncate
from connector.aerospike.partitions import DigestRange, digest_ranges
from connector.aerospike.reading import RecordReader
from connector.aerospike.records import KEY, METADATA, ReadCounts, Record
from connector.aerospike.statistics import objects, table_statistics
from connector.aerospike.writing import RecordWriter
from connector.errors import SchemaError, TableNotFoundError
from connector.jobs import WriteJob, WriteMode, WriteOptions, WriteResult
from connector.lookup import Keys, encoded
from connector.scan import KeyList, Partition, Scan
from connector.schema import key_of, keyed
from connector.statistics import Statistics
from connector.store import Store

_COUNTED_ROWS = 4096  # at most are counted one by one
_LEAST_ROWS = 1000  # in a partition: to start a task takes as long as to read some thousand rows


class AerospikeStore(Store):
    """Tables in a namespace of an Aerospike cluster.

    A table is a set. Its key columns are the records' user keys, its other columns are bins; a null is a
    bin that is not there. The schema is saved in the set ``_kvlake`` at the first write.

    Attributes:
        counts: what the reads of this store met in this process, of partitions read to the end.
    """

    options_class = AerospikeOptions
    metadata = METADATA

    def __init__(self, options: AerospikeOptions) -> None:
        self._options = options
        self._connection = Connection(options)
        self.counts = ReadCounts()

    def __reduce__(self) -> tuple[type[AerospikeStore], tuple[AerospikeOptions]]:
        return type(self), (self._options,)  # connections and counts do not travel

    @property
    def location(self) -> str:
        return self._options.location

    def schema(self, table: str, key: Sequence[str] = ()) -> pa.Schema:
        """The saved schema; without one, inferred from a sample of records.

        The key column of an inferred table is named ``__key``; it is ``__digest`` where the records do
        not have the keys that they were written with.
        """
        found = None if self._options.infer_schema else self._saved(table)
        return self._inferred(table, key) if found is None else found

    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        factor = self._options.partition_factor
        if factor is not None:
            return digest_ranges(2**factor)
        return digest_ranges(min(parts, -(-self._objects(scan.table) // _LEAST_ROWS)))

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        counts = ReadCounts()
        reader = self._reader(scan, counts)
        if isinstance(partition, KeyList):
            yield from reader.find(partition)
        else:
            assert isinstance(partition, DigestRange)
            yield from reader.read(partition)
        self.counts.add(counts)

    def count(self, scan: Scan, partition: Partition) -> int:
        """How many rows there are, without reading a bin where there is neither filter nor limit."""
        alone = scan.filter is None and scan.limit is None
        dropping = self._options.on_bad_field is OnBadField.DROP
        if isinstance(partition, DigestRange) and alone and not dropping:
            return self._reader(scan, ReadCounts()).count(partition)
        return super().count(scan, partition)

    def statistics(self, scan: Scan) -> Statistics | None:
        """Exact of up to 4,096 rows; of more, as the nodes count them, some that expired among them."""
        rows = self._objects(scan.table)
        if few := rows <= _COUNTED_ROWS:
            reader = self._reader(replace(scan, filter=None, sample=None), ReadCounts())
            (whole,) = digest_ranges(1)
            rows = reader.count(whole)
        return table_statistics(scan, rows, few, self.read)

    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        stored = self._saved(table)
        return begin_job(table, schema, options, stored, self._connection, self._options)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        assert isinstance(job, RecordJob)
        if job.options.mode is WriteMode.APPEND:  # so that rows of a job that fails can be read
            saved.extend(self._connection, self._options.in_namespace, job)
        doing = f"writing table {job.table!r} to {self.location}"
        return RecordWriter(job, self._connection, self._options, doing).write(batches)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """End a job; an overwrite saves the schema, then removes the records that it did not write."""
        assert isinstance(job, RecordJob)
        namespace = self._options.in_namespace
        if job.options.mode is WriteMode.OVERWRITE:
            saved.replace(self._connection, namespace, job.table, saved.schema_of(job))
            truncate(self._connection, self._options, job.table, job.began)
        else:
            saved.extend(self._connection, namespace, job)

    def abort(self, job: WriteJob) -> None:
        """Undo nothing: rows stay, and none was deleted."""

    def delete(self, table: str, keys: Keys) -> int:
        schema = self.schema(table)
        key = key_of(schema)
        names = encoded(keys, schema, key).unique()
        fields = [schema.field(name) for name in key]
        return delete_rows(self._connection, self._options, table, names, fields)

    def drop(self, table: str) -> int:
        rows = delete_all(self._connection, self._options, table)
        known = saved.forget(self._connection, self._options.in_namespace, table)
        if not (rows or known):
            raise TableNotFoundError(f"there is no table {table!r} in {self.location}")
        return rows

    def close(self) -> None:
        self._connection.close()

    def _countable(self, scan: Scan) -> Scan:
        dropping = self._options.on_bad_field is OnBadField.DROP  # for a value of any column
        return scan if dropping else super()._countable(scan)

    def _reader(self, scan: Scan, counts: ReadCounts) -> RecordReader:
        return RecordReader(
            scan,
            self._connection,
            self._options,
            key_bins=saved.has_key_bins(scan.schema),
            doing=f"reading table {scan.table!r} from {self.location}",
            counts=counts,
        )

    def _objects(self, table: str) -> int:
        return objects(self._connection, self._options.in_namespace, table)

    def _saved(self, table: str) -> pa.Schema | None:
        return saved.load(self._connection, self._options.in_namespace, table)

    def _inferred(self, table: str, key: Sequence[str]) -> pa.Schema:
        if len(key) > 1:
            raise SchemaError(
                f"table {table!r} has no saved schema, and one with several key columns cannot be "
                f"inferred; give the schema"
            )
        sample = self._sample(table)
        if not sample:
            raise TableNotFoundError(
                f"there is no table {table!r} in {self.location}: no saved schema, and no record is in "
                f"that set"
            )
        named = {name: column for column, name in self._options.bin_names}
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

    def _sample(self, table: str) -> list[Record]:
        """Some records with all their bins."""
        query = self._connection.client.query(self._options.in_namespace, table)
        query.max_records = self._options.schema_sample
        found: list[Record] = []
        doing = f"looking at records of table {table!r} in {self.location}"
        self._connection.run(doing, lambda: query.foreach(found.append))
        return found
