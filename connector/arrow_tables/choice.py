"""Which rows of a chunk a scan wants, and which columns tell."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from connector.codecs import encode_keys
from connector.sampling import sampled
from connector.scan import KeyList, Partition, Scan


@dataclass(frozen=True)
class Choice:
    """What is wanted of every chunk.

    Attributes:
        scan: what is read.
        names: the encoded keys wanted; None for all.
        fetched: the columns that are needed.
    """

    scan: Scan
    names: pa.Array | None
    fetched: pa.Schema

    @staticmethod
    def of(scan: Scan, partition: Partition) -> Choice:
        names = partition.names if isinstance(partition, KeyList) else None
        wanted = scan.unfiltered.output
        if names is not None or scan.sample is not None:
            own = [scan.schema.field(name) for name in scan.key if name not in wanted.names]
            wanted = pa.schema([*wanted, *own])
        return Choice(scan, names, wanted)

    def rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The wanted rows and columns of a batch of ``fetched``; they may be no rows.

        A row is in a sample by the hash of its key: the same ones however the table is cut.
        """
        scan = self.scan
        if self.names is not None or scan.sample is not None:
            keys = encode_keys([batch.column(name) for name in scan.key], scan.key)
            if self.names is not None:
                batch = batch.filter(pc.is_in(keys, value_set=self.names))
            elif scan.sample is not None:
                batch = batch.filter(sampled(keys, scan.sample))
        return scan.filtered(batch.select(scan.unfiltered.output.names))
