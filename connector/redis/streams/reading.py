"""Reading ranges of streams: pages of entries as columns, and whatever was trimmed in between noticed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias

import numpy as np
import pyarrow as pa

from connector.batching import capped, gathered
from connector.pace import Pace
from connector.redis.commands import keyed_request
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace
from connector.redis.link import Link
from connector.redis.models.model import Found
from connector.redis.models.streams import ENTRY, EntryFetch, StreamModel
from connector.redis.options import OnBadKey, RedisOptions
from connector.redis.reading import METADATA, RedisCounts, RowReader
from connector.redis.row_tables import report
from connector.redis.servers import Servers
from connector.redis.streams.ids import EntryId, IdRange
from connector.scan import Scan

_IDS = pa.schema([pa.field(ENTRY, pa.string())])

OnGap: TypeAlias = Callable[[IdRange, str], None]
"""Told of a range of which entries went before they could be read, and where."""


@dataclass
class RangeFetch:
    """XRANGE of one range, whose first ID is that of an entry, a page at a time.

    A page begins with the last entry of the one before: as streams are trimmed from the beginning,
    nothing between the two has been trimmed where that one is still there.

    Attributes:
        names: the columns wanted.
        range: the entries wanted.
        page: most entries in a page, at least 2.
        on_gap: called where entries are not there any more.
    """

    names: tuple[str, ...]
    range: IdRange
    page: int
    on_gap: OnGap
    presence: ClassVar[bytes] = b"EXISTS"
    _expected: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._expected = str(self.range.first).encode()

    def request(self, keys: pa.Array) -> memoryview:
        return self._request(keys, str(self.range.first).encode())

    def request_after(self, keys: pa.Array, after: pa.Array) -> memoryview:
        return self._request(keys, after[0].as_py())

    def receive(self, link: Link, keys: pa.Array) -> Found:
        fetch = EntryFetch((*self.names, *(() if ENTRY in self.names else (ENTRY,))))
        found = replace(fetch.receive(link, keys), doubtful=None, after=None)
        if found.errors:
            return found
        ids = found.columns[ENTRY]
        full = len(ids) == self.page
        there = len(ids) > 0 and ids[0].as_py() == self._expected
        if not there:
            self.on_gap(self.range, self._expected.decode())
        elif self._expected != str(self.range.first).encode():
            found = _without_first(found)
        if not full:
            return found
        self._expected = ids[-1].as_py()
        return replace(found, after=pa.array([self._expected], pa.binary()))

    def _request(self, keys: pa.Array, first: bytes) -> memoryview:
        last = str(self.range.last).encode()
        return keyed_request(b"XRANGE", keys, [first, last, b"COUNT", b"%d" % self.page])


def read_ranges(
    scan: Scan,
    keyspace: Keyspace,
    ranges: Sequence[IdRange],
    servers: Servers,
    options: RedisOptions,
    doing: str,
    on_gap: OnGap,
) -> Iterator[pa.RecordBatch]:
    """The entries of some ranges, as batches of ``scan.output``.

    They are asked of the primaries: a replica may lack an entry that was there at planning.

    Args:
        scan: the columns and rows wanted.
        keyspace: what of a stream's key names it.
        ranges: the entries wanted, the first of each range being one that was there.
        servers: who has which key.
        options: of the store.
        doing: what is being done, for messages.
        on_gap: called where entries are not there any more.
    """
    counts, pace = RedisCounts(), Pace(options.rows_per_second)
    fetched = scan.unfiltered
    apart = (*scan.key, *METADATA.names)
    names = tuple(name for name in fetched.output.names if name not in apart)
    page = max(2, min(options.max_pipeline_size, scan.batch_rows))

    def rows(links: Links) -> Iterator[pa.RecordBatch]:
        for each in ranges:
            reader = RowReader(
                scan=fetched,
                keyspace=keyspace,
                model=StreamModel(),
                fetch=RangeFetch(names, each, page, on_gap),
                servers=servers,
                links=links,
                doing=doing,
                on_bad_field=options.on_bad_field,
                on_bad_key=OnBadKey.ERROR,
                window_rows=1,
                window_bytes=options.max_pipeline_bytes,
                counts=counts,
            )
            key = pa.array([each.key.encode()], pa.binary())
            yield from (scan.filtered(batch) for batch in reader.batches([key]))

    with Links(servers, doing) as links:
        batches = gathered(rows(links), scan.batch_rows, scan.batch_bytes)
        for batch in capped(batches, scan.batch_rows, scan.batch_bytes):
            pace.wait(batch.num_rows)
            yield batch
    report(doing, counts)


def nth_of(
    whole: IdRange, entries: int, servers: Servers, options: RedisOptions
) -> tuple[EntryId, int]:
    """The ID of the ``entries``-th entry of a range, and how many were found; the last ID, of fewer.

    Redis can neither count the entries of a range nor give their IDs alone: so they are fetched.
    """
    doing = f"looking for entries of stream {whole.key!r}"
    scan = Scan(whole.key, _IDS, (), batch_rows=options.max_pipeline_size)
    hasty = replace(options, rows_per_second=None)
    found = 0
    keyspace = Keyspace(b"", b"", by_pattern=True)
    batches = read_ranges(scan, keyspace, [whole], servers, hasty, doing, _ignored)
    with contextlib.closing(batches) as pages:  # type: ignore[type-var]
        for page in pages:
            found += page.num_rows
            if found >= entries:
                ids = page.column(ENTRY)
                return EntryId.parse(ids[len(ids) - 1 - (found - entries)].as_py()), entries
    return whole.last, found


def _ignored(part: IdRange, expected: str) -> None:
    """What is trimmed while it is counted will be missed when it is read."""


def _without_first(found: Found) -> Found:
    columns = {name: column.slice(1) for name, column in found.columns.items()}
    assert found.rows is not None
    return replace(found, columns=columns, rows=np.asarray(found.rows) - 1)
