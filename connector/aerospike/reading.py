"""Reading records: a partition of a scan page by page, or those of a list of keys."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from aerospike_helpers import expressions as exp

from connector.aerospike import indexes
from connector.aerospike.connecting import NOT_FOUND, Connection, error_of, translated
from connector.aerospike.expressions import Expression, compiled
from connector.aerospike.keys import addresses, unstorable
from connector.aerospike.options import AerospikeOptions, OnBadField
from connector.aerospike.partitions import DigestRange
from connector.aerospike.projecting import Pass, conjunction, passes, read_operations
from connector.aerospike.records import (
    METADATA,
    Decoder,
    Layout,
    Page,
    ReadCounts,
    Record,
    collector,
    layout,
)
from connector.aerospike.saved import model_of
from connector.batching import capped
from connector.errors import StoreUnavailableError
from connector.filters import And, Filter, IsNull, Not, Or, all_of, conjuncts
from connector.filters.values import FieldTest
from connector.pace import Pace
from connector.scan import KeyList, Scan
from connector.schema import is_inferred

_OK, _FILTERED_OUT = 0, 27
_PAUSE_SECONDS = 0.2  # until the client has looked at the cluster again
_FIRST_ROWS = 256  # of a partition, to learn how large its rows are
_SAMPLED = 999_983  # a prime: a share of its residues is chosen apart from those of partitions


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
        for one in self._passes:
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
            place = pc.if_else(good, pc.subtract(pc.cumulative_sum(good.cast(pa.int64())), 1), None)
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
        counter = itertools.count()
        query = self._query(Pass(no_bins=True))
        policy = self._policy(partition, None)
        self.connection.run(
            self.doing, lambda: query.foreach(lambda *_: next(counter), policy, {"nobins": True})
        )
        return next(counter)

    @property
    def _decoder(self) -> Decoder:
        return Decoder(self._layout, self.options.on_bad_field, self.doing, self.counts)

    def _cut(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The wanted rows of a batch, within the limits of the scan."""
        scan = self.scan
        return capped([scan.filtered(batch)], scan.batch_rows, scan.batch_bytes)

    @functools.cached_property
    def _layout(self) -> Layout:
        names = dict(self.options.bin_names)
        return layout(self.scan.unfiltered, names, key_bins=self.key_bins)

    @functools.cached_property
    def _passes(self) -> list[Pass]:
        bins = self._layout.names
        builds = self.connection.builds
        return passes(bins, builds, whole=self._whole, some_needed=self._some_needed)

    @property
    def _whole(self) -> bool:
        """Whether every column is wanted of a table whose columns are known, and not given by a user."""
        scan = self.scan
        known = is_inferred(scan.schema) or model_of(scan.schema) is not None
        keyed = () if self.key_bins else scan.key
        return (
            known
            and not self._layout.updated
            and {*scan.schema.names} <= {*self._layout.bins, *keyed, *METADATA.names}
        )

    @property
    def _some_needed(self) -> bool:
        """Whether the filter lets only records through that have one of the bins."""
        return self.scan.filter is not None and any(
            isinstance(term, FieldTest)
            and not isinstance(term, IsNull)
            and term.path[0] in self._layout.bins
            for term in conjuncts(self.scan.filter)
        )

    @functools.cached_property
    def _condition(self) -> Expression | None:
        """What the server can tell of the rows that are wanted."""
        scan = self.scan
        wanted = []
        if scan.filter is not None:
            key, bins = () if self.key_bins else scan.key, dict(self.options.bin_names)
            terms = conjuncts(scan.filter)
            if self.options.on_bad_field is OnBadField.NULL:  # which to the server is no null
                terms = tuple(term for term in terms if not _asks_for_nulls(term))
            if (told := all_of(terms)) is not None:
                wanted.append(compiled(told, scan.schema, key, bins=bins))
        if scan.sample is not None:
            wanted.append(exp.LT(exp.DigestMod(_SAMPLED), round(scan.sample * _SAMPLED)))
        return conjunction(*wanted)

    @functools.cached_property
    def _index_use(self) -> indexes.IndexUse | None:
        """The secondary index to ask in place of a scan."""
        scan, options = self.scan, self.options
        if options.sindex == indexes.OFF or (
            scan.filter is None and options.sindex == indexes.AUTO
        ):
            return None
        listed = f"sindex-list:namespace={options.in_namespace};b64=true"
        first, *others = [indexes.parse(answer) for answer in self.connection.info(listed)]
        known = [
            replace(one, ready=one.ready and all(one in some for some in others)) for one in first
        ]
        return indexes.chosen(
            scan.filter,
            scan.schema,
            known,
            options.sindex,
            table=scan.table,
            key=() if self.key_bins else scan.key,
            bins=dict(options.bin_names),
        )

    def _query(self, one: Pass) -> Any:
        query = self.connection.client.query(self.options.in_namespace, self.scan.table)
        if self._index_use is not None:
            query.where(self._index_use.predicate)
        if self.options.records_per_second is not None:
            query.records_per_second = self.options.records_per_second
        one.prepare(query)
        return query

    def _policy(self, partition: DigestRange, condition: Expression | None) -> dict[str, Any]:
        residue = None
        if partition.modulo > 1:
            residue = exp.Eq(exp.DigestMod(partition.modulo), partition.residue)
        policy: dict[str, Any] = {
            "partition_filter": {"begin": partition.begin, "count": partition.count}
        }
        wanted = conjunction(residue, self._condition, condition)
        if wanted is not None:
            policy["expressions"] = wanted.compile()
        return policy

    def _scanned(self, partition: DigestRange, one: Pass) -> Iterator[pa.RecordBatch]:
        """The batches of queries over some of the partitions at a time, about as many as make a batch.

        For every page of a query the server goes through all of its partitions that are not done yet: few
        of them, and a single page, cost it least.
        """
        most = min(self.scan.batch_rows, _FIRST_ROWS)
        done = met = 0
        while done < partition.count:
            # How many rows a partition has is seen in the first; an eighth is left to chance.
            count = most * 7 // 8 * done // max(1, met) if done else 1
            count = min(max(1, count), partition.count - done)
            some = replace(partition, begin=partition.begin + done, count=count)
            for batch in self._queried(some, one, most):
                yield from self._cut(batch)
                met += batch.num_rows
                most = self._page_rows(batch)
            done += count

    def _queried(self, partition: DigestRange, one: Pass, most: int) -> Iterator[pa.RecordBatch]:
        """The batches of one query, the first of at most ``most`` rows.

        The client asks for the next page where the one before ended, also after a node was lost.
        """
        query, policy = self._query(one), self._policy(partition, one.condition)
        options, decoder = {"nobins": True} if one.no_bins else {}, self._decoder
        query.max_records = most
        query.paginate()
        while not query.is_done():
            page = Page(len(self._layout.names))
            self._fill(page, lambda take: query.foreach(take, policy, options))
            if len(page):
                batch = decoder.batch(page, time.time())
                yield batch
                query.max_records = self._page_rows(batch)

    def _fill(self, page: Page, ask: Callable[[Callable[[int, Record], None]], None]) -> None:
        """Ask for the records of a page, again where nodes are lost.

        A query that failed knows which records it has handed over, and goes on behind them.
        """
        until: float | None = None
        while True:
            before = len(page)
            take = collector(page, self._layout)
            try:
                return self.connection.run(self.doing, functools.partial(ask, take))
            except StoreUnavailableError:
                now = time.monotonic()
                if until is None or len(page) > before:
                    until = now + self.options.failover_seconds
                if now >= until:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _page_rows(self, before: pa.RecordBatch) -> int:
        """How many records to ask for, after a page of this size."""
        rows: int = self.scan.batch_bytes * max(1, before.num_rows) // max(1, before.nbytes)
        return max(1, min(self.scan.batch_rows, rows))

    def _fetched(
        self, names: pa.Array, fields: list[pa.Field], *, with_missing: bool = False
    ) -> Page:
        """The records of keys, as the servers find them.

        Args:
            names: the encoded keys.
            fields: the key columns.
            with_missing: whether there are nulls for those that are not there; else they are left out,
                as are those that the server knows unwanted.
        """
        bins, client = [*self._layout.names], self.connection.client
        asked = addresses(self.options.in_namespace, self.scan.table, names, fields)
        policy = {} if self._condition is None else {"expressions": self._condition.compile()}
        with translated(self.doing):
            if self._layout.updated:
                answers = client.batch_operate(asked, read_operations(bins), policy)
            else:
                answers = client.batch_read(asked, bins, policy)
        page = Page(len(bins))
        take = collector(page, self._layout)
        for answer in answers.batch_records:
            if answer.result == _OK:
                take(0, answer.record)
            elif answer.result not in (NOT_FOUND, _FILTERED_OUT):
                raise error_of(answer.result)(
                    f"{self.doing}: the server refused to read key {answer.key[2]!r} (code {answer.result})"
                )
            elif with_missing:
                page.add_missing()
        return page


def _asks_for_nulls(filter: Filter) -> bool:
    if isinstance(filter, And | Or):
        return any(map(_asks_for_nulls, filter.terms))
    return _asks_for_nulls(filter.term) if isinstance(filter, Not) else isinstance(filter, IsNull)
