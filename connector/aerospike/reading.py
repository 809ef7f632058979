"""Reading records: a partition of a scan page by page, or those of a list of keys."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.aerospike.asking import Asking
from connector.aerospike.batches import Decoder
from connector.aerospike.connecting import Connection, translated
from connector.aerospike.keys import addresses, unstorable
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.pages import ClientPage, Page, collector
from connector.aerospike.partitions import DigestRange
from connector.aerospike.patience import Patience
from connector.aerospike.projecting import Pass, read_operations
from connector.aerospike.records import Record
from connector.aerospike.results import FILTERED_OUT, NOT_FOUND, OK, error_of
from connector.aerospike.wire.pages import WirePage
from connector.aerospike.wire.scanning import WireScan
from connector.batching import capped
from connector.errors import StoreUnavailableError
from connector.pace import Pace
from connector.places import places
from connector.reads import ReadCounts
from connector.scan import KeyList, Scan

_FIRST_ROWS = 256  # of a partition, to learn how large its rows are
_COUNTED_ROWS = 1 << 17  # in one page of records that come without bins

_Pages: TypeAlias = "Callable[[DigestRange], Iterator[Page]]"


@dataclass
class _PageLimit:
    """How many records to ask for next.

    Attributes:
        rows: as many as make a batch.
    """

    rows: int

    def of(self, one: Pass) -> int | None:
        """The most of a page; None for all.

        A server counts records among those that it was asked for which it then passes over, as they have none
        of the bins: a page of fewer would be taken for the last.
        """
        return None if one.bins else self.rows


@dataclass(frozen=True)
class RecordReader:
    """Reads the rows of one scan.

    Attributes:
        scan: what is read.
        connection: the client.
        options: how.
        key_bins: whether the key columns are stored as bins.
        doing: what is being done, for messages.
        counts: what was met so far.
    """

    scan: Scan
    connection: Connection
    options: AerospikeOptions
    key_bins: bool
    doing: str
    counts: ReadCounts

    def read(self, partition: DigestRange) -> Iterator[pa.RecordBatch]:
        """The batches of a partition; nothing stays open between two of them."""
        for one in self._asking.passes:
            yield from self._scanned(partition, one)

    def find(self, keys: KeyList) -> Iterator[pa.RecordBatch]:
        """The batches of the keys that are there."""
        fields = [self.scan.schema.field(name) for name in self.scan.key]
        asked, decoder = keys.names, self._decoder
        names = asked.filter(pc.invert(unstorable(asked, fields)[0]))
        pace = Pace(self.options.records_per_second)
        for start in range(0, len(names), self.options.batch_max):
            some = names.slice(start, self.options.batch_max)
            pace.wait(len(some))
            page = self._fetched(some, fields)
            if len(page):
                yield from self._cut(decoder.batch(page, time.time()))

    def look_up(self, names: pa.Array, fields: list[pa.Field]) -> list[pa.Array]:
        """The columns of encoded keys, a row for each in their order, of nulls where there is no record.

        For a scan of neither key columns nor metadata.
        """
        bad, _ = unstorable(names, fields)
        if bad.true_count:
            good = pc.invert(bad)
            place = places(np.asarray(good))
            return [column.take(place) for column in self.look_up(names.filter(good), fields)]
        decoder, most = self._decoder, self.options.batch_max
        batches = [
            decoder.batch(self._fetched(names.slice(start, most), fields, with_missing=True), 0)
            for start in range(0, len(names), most)
        ]
        nothing = pa.RecordBatch.from_pylist([], schema=self.scan.output)
        columns: list[pa.Array] = pa.concat_batches(batches or [nothing]).columns
        return columns

    def count(self, partition: DigestRange) -> int:
        """How many records there are in a partition, without reading a bin."""
        asking, bare = self._asking, Pass(no_bins=True)
        if asking.by_wire:
            scan = asking.wire_scan(partition, bare, self.doing)
            rest = dict.fromkeys(partition.numbers)
            return sum(map(len, scan.pages(rest, lambda: _COUNTED_ROWS)))
        policy = asking.policy(partition, bare)
        return self.connection.count(self.doing, lambda: asking.query(bare), policy)

    @property
    def _decoder(self) -> Decoder:
        return Decoder(self._asking.layout, self.options.on_bad_field, self.doing, self.counts)

    def _cut(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The wanted rows of a batch, within the limits of the scan."""
        scan = self.scan
        return capped([scan.filtered(batch)], scan.batch_rows, scan.batch_bytes)

    @functools.cached_property
    def _asking(self) -> Asking:
        return Asking(self.scan, self.connection, self.options, self.key_bins)

    def _scanned(self, partition: DigestRange, one: Pass) -> Iterator[pa.RecordBatch]:
        """The batches of queries over some of the partitions at a time, about as many as make a batch.

        For every page of a query the server goes through all of its partitions that are not done yet: few
        of them, and a single page, cost it least.
        """
        limit = _PageLimit(min(self.scan.batch_rows, _FIRST_ROWS))
        decoder = self._decoder
        if self._asking.by_wire:
            pages = self._wire_pages(self._asking.wire_scan(partition, one, self.doing), one, limit)
        else:
            pages = self._client_pages(partition, one, limit)
        done = met = 0
        while done < partition.count:
            # How many rows a partition has is seen in the first; an eighth is left to chance.
            count = limit.rows * 7 // 8 * done // max(1, met) if done else 1
            count = min(max(1, count), partition.count - done)
            some = replace(partition, begin=partition.begin + done, count=count)
            for page in pages(some):
                batch = decoder.batch(page, time.time())
                met += batch.num_rows
                limit.rows = self._page_rows(batch)
                yield from self._cut(batch)
            done += count

    def _wire_pages(self, scan: WireScan, one: Pass, limit: _PageLimit) -> _Pages:
        """The pages of some partitions over the columnar wire."""

        def pages(some: DigestRange) -> Iterator[Page]:
            for records in scan.pages(dict.fromkeys(some.numbers), lambda: limit.of(one)):
                if len(records):
                    yield WirePage(records)

        return pages

    def _client_pages(self, partition: DigestRange, one: Pass, limit: _PageLimit) -> _Pages:
        """The pages of some partitions by queries of the client.

        It asks for the next page where the one before ended, also after a node was lost.
        """
        common = self._asking.policy(partition, one)
        options = {"nobins": True} if one.no_bins else {}

        def pages(some: DigestRange) -> Iterator[Page]:
            policy = common | {"partition_filter": some.partitions}
            query = self._asking.query(one)
            query.paginate()
            while not query.is_done():
                query.max_records = limit.of(one) or 0  # for all
                page = ClientPage(len(self._asking.layout.names))
                self._fill(page, lambda take: query.foreach(take, policy, options))
                if len(page):
                    yield page

        return pages

    def _fill(self, page: ClientPage, ask: Callable[[Callable[[int, Record], None]], None]) -> None:
        """Ask for the records of a page, again where nodes are lost.

        A query that failed knows which records it has handed over, and goes on behind them.
        """
        patience = Patience(self.options.failover_seconds)
        while True:
            before = len(page)
            take = collector(page, self._asking.layout)
            try:
                return self.connection.run(self.doing, functools.partial(ask, take))
            except StoreUnavailableError:
                if len(page) > before:
                    patience.renew()
                if not patience.wait():
                    raise

    def _page_rows(self, before: pa.RecordBatch) -> int:
        """How many records to ask for, after a page of this size."""
        rows: int = self.scan.batch_bytes * max(1, before.num_rows) // max(1, before.nbytes)
        return max(1, min(self.scan.batch_rows, rows))

    def _fetched(
        self, names: pa.Array, fields: list[pa.Field], *, with_missing: bool = False
    ) -> ClientPage:
        """The records of keys, as the servers find them.

        Args:
            names: the encoded keys.
            fields: the key columns.
            with_missing: whether there are nulls for those that are not there; else they are left out,
                as are those that the server knows unwanted.
        """
        bins, client = [*self._asking.layout.names], self.connection.client
        asked = addresses(self.options.in_namespace, self.scan.table, names, fields)
        policy = self._asking.key_policy
        with translated(self.doing):
            if self._asking.layout.updated:
                answers = client.batch_operate(asked, read_operations(bins), policy)
            else:
                answers = client.batch_read(asked, bins, policy)
        page = ClientPage(len(bins))
        take = collector(page, self._asking.layout)
        for answer in answers.batch_records:
            if answer.result == OK:
                take(0, answer.record)
            elif answer.result not in (NOT_FOUND, FILTERED_OUT):
                raise error_of(answer.result)(
                    f"{self.doing}: the server refused to read key {answer.key[2]!r} (code {answer.result})"
                )
            elif with_missing:
                page.add_missing()
        return page
