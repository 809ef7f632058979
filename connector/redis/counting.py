"""Counting the rows of a partition without reading a value of them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from connector.pace import Pace
from connector.reads import OnBadField
from connector.redis.arrow.tables import ArrowTables
from connector.redis.cursor import CursorRange
from connector.redis.exchange import Links
from connector.redis.link import translated
from connector.redis.models.model import Counted
from connector.redis.models.sharing import Sharing
from connector.redis.reading import RedisCounts
from connector.redis.row_tables import RowTables, report
from connector.scan import Partition, Scan


def count_rows(tables: ArrowTables | RowTables, scan: Scan, partition: Partition) -> int | None:
    """How many rows reading a partition yields; None where only reading tells.

    No value is read, so what does not parse is counted. Of record batches the index is believed.
    """
    if isinstance(tables, ArrowTables):
        return tables.count(scan, partition)
    if scan.filter is not None or scan.limit is not None:
        return None
    if tables.options.on_bad_field is OnBadField.DROP:
        return None
    doing = f"counting partition {partition.index} of table {scan.table!r} in {tables.location}"
    single = isinstance(partition, CursorRange) and not isinstance(tables.model, Sharing)
    if single and tables.options.filter_keys_by_type:
        return _listed(tables, scan.table, partition, doing)
    counts = RedisCounts()
    rows = tally(tables, scan, partition, doing, counts)
    tables.counts.add(counts)
    report(doing, counts)
    return rows


def tally(
    tables: RowTables, scan: Scan, partition: Partition, doing: str, counts: RedisCounts
) -> int:
    """Count by asking of every key whether it is there, or how many rows it has.

    Args:
        tables: whose rows they are.
        scan: of the table; its columns do not matter.
        partition: what is counted.
        doing: what is being done, for messages.
        counts: what is met is added to it.
    """
    pace, model = Pace(tables.options.rows_per_second), tables.model
    with translated(doing):
        servers = tables.connect()
    fetch = model.counting() if isinstance(model, Counted) else model.fetch([])
    with Links(servers, doing, replica=True) as links:
        reader = tables.reader(scan, fetch, servers, links, doing, counts)
        return reader.count(_paced(tables.pages(partition, scan.table, links, doing), pace))


def _listed(tables: RowTables, table: str, partition: Partition, doing: str) -> int:
    """Count by listing the keys of the model's type, where keys of other types are left out unseen."""
    pace = Pace(tables.options.rows_per_second)
    with translated(doing):
        servers = tables.connect()
    with Links(servers, doing, replica=True) as links:
        return sum(map(len, _paced(tables.pages(partition, table, links, doing), pace)))


def _paced(pages: Iterator[pa.Array], pace: Pace) -> Iterator[pa.Array]:
    """The pages, no faster than their keys may be handled."""
    for page in pages:
        pace.wait(len(page))
        yield page
