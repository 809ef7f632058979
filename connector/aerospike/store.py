"""Tables in Aerospike: a set of a namespace is a table, or the record batches that one is kept as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from connector.aerospike import saved
from connector.aerospike.blocks.tables import BlockTables
from connector.aerospike.choices import ModelName
from connector.aerospike.connecting import Connection
from connector.aerospike.jobs import begin_job, check_table
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.record_tables import RecordTables
from connector.aerospike.records import METADATA
from connector.errors import SchemaError, TableNotFoundError
from connector.jobs import WriteJob, WriteMode, WriteOptions, WriteResult, chosen_key
from connector.lookup import Keys, Lookup, encoded
from connector.reads import OnBadField, ReadCounts
from connector.scan import Partition, Scan
from connector.schema import key_of
from connector.statistics import Statistics
from connector.store import Store, StoreSource


class AerospikeStore(Store):
    """Tables in a namespace of an Aerospike cluster.

    A table is a set. Its key columns are the records' user keys, its other columns are bins; a null is a
    bin that is not there. Or it is kept as record batches, see BlockTables. The schema is saved in the set
    ``_kvlake`` at the first write.

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
        if found is not None:
            self._model(table, found)
            return found
        if len(key) > 1:
            raise SchemaError(
                f"table {table!r} has no saved schema, and one with several key columns cannot be "
                f"inferred; give the schema"
            )
        if self._options.model is not ModelName.ARROW:
            found = self._records.infer(table, key)
        if found is None:
            raise TableNotFoundError(
                f"there is no table {table!r} in {self.location}: no saved schema, and no record is in "
                f"that set"
            )
        return found

    def plan(self, scan: Scan, parts: int) -> Sequence[Partition]:
        return self._tables(scan.table, scan.schema).plan(scan, parts)

    def read(self, scan: Scan, partition: Partition) -> Iterator[pa.RecordBatch]:
        return self._tables(scan.table, scan.schema).read(scan, partition)

    def count(self, scan: Scan, partition: Partition) -> int:
        """How many rows there are, without reading a bin where there is neither filter nor limit."""
        tables = self._tables(scan.table, scan.schema)
        found = tables.count(self._countable(scan), partition)
        return super().count(scan, partition) if found is None else found

    def statistics(self, scan: Scan) -> Statistics | None:
        """Exact of up to 4,096 rows and of record batches; else, as the nodes count them, rather too many."""
        return self._tables(scan.table, scan.schema).statistics(scan)

    def finds_by_key(self, scan: Scan) -> bool:
        return self._model(scan.table, scan.schema) is ModelName.RECORD

    def begin(self, table: str, schema: pa.Schema, options: WriteOptions) -> WriteJob:
        stored = self._saved(table)
        known = stored if options.mode is WriteMode.APPEND else None
        # An overwrite may choose another model, and keeps the table's where it does not.
        noted = stored if known or self._options.model is None else None
        if self._model(table, noted) is ModelName.RECORD:
            return begin_job(table, schema, options, stored, self._connection, self._options)
        check_table(table)
        key = chosen_key(table, schema, options, stored)
        plain = BlockTables.check(table, schema.remove_metadata(), options, known)
        return WriteJob(table, saved.with_model(plain, ModelName.ARROW), key, options)

    def write_part(self, job: WriteJob, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        return self._tables(job.table, job.schema).write_part(job, batches)

    def commit(self, job: WriteJob, results: Sequence[WriteResult]) -> None:
        """End a job; an overwrite saves the schema, then removes the records that it did not write."""
        tables = self._tables(job.table, job.schema)
        if job.options.mode is WriteMode.OVERWRITE and isinstance(tables, RecordTables):
            self._blocks.drop(job.table)  # of a table that was kept so
        tables.commit(job, results)

    def abort(self, job: WriteJob) -> None:
        """Undo nothing: rows stay, and none was deleted. Chunks that nobody sees are deleted."""
        self._tables(job.table, job.schema).abort(job)

    def delete(self, table: str, keys: Keys) -> int:
        schema = self.schema(table)
        key = key_of(schema)
        names = encoded(keys, schema, key).unique()
        if self._model(table, schema) is ModelName.ARROW:
            return self._blocks.delete(table, names)
        return self._records.delete(table, names, [schema.field(name) for name in key])

    def drop(self, table: str) -> int:
        rows = self._blocks.drop(table) + self._records.drop(table)
        known = saved.forget(self._connection, self._options.in_namespace, table)
        if not (rows or known):
            raise TableNotFoundError(f"there is no table {table!r} in {self.location}")
        return rows

    def close(self) -> None:
        self._connection.close()

    @property
    def _blocks(self) -> BlockTables:
        return BlockTables(self._connection, self._options, self.location, self.counts)

    @property
    def _records(self) -> RecordTables:
        return RecordTables(self._connection, self._options, self.location, self.counts)

    def _tables(self, table: str, schema: pa.Schema) -> BlockTables | RecordTables:
        """How a table is kept."""
        arrow = self._model(table, schema) is ModelName.ARROW
        return self._blocks if arrow else self._records

    def _model(self, table: str, schema: pa.Schema | None) -> ModelName:
        """How a table is kept: as its schema notes, or as the option says; a record a row by default.

        Raises:
            SchemaError: the two contradict each other.
        """
        asked = self._options.model
        noted = None if schema is None else saved.model_of(schema)
        if noted is not None and asked is not None and asked is not noted:
            raise SchemaError(
                f"table {table!r} was written with model {noted.value!r}, and the options ask for "
                f"{asked.value!r}; leave option 'model' out, or write with mode overwrite"
            )
        return noted or asked or ModelName.RECORD

    def _lookup(self, source: StoreSource) -> Lookup:
        scan = source.scan
        found = self._records.finder(scan) if self.finds_by_key(scan) else None
        return super()._lookup(source) if found is None else Lookup(scan, found)

    def _countable(self, scan: Scan) -> Scan:
        dropping = self._options.on_bad_field is OnBadField.DROP  # for a value of any column
        return scan if dropping else super()._countable(scan)

    def _saved(self, table: str) -> pa.Schema | None:
        return saved.load(self._connection, self._options.in_namespace, table)
