"""How large a table is, told by its index, or by a sample of the keys."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa

from connector.errors import SchemaError, StoreError
from connector.reads import OnBadField
from connector.redis.arrow.tables import ArrowTables
from connector.redis.counting import tally
from connector.redis.exchange import Links
from connector.redis.key_sample import sample_keys
from connector.redis.link import translated
from connector.redis.models.sharing import Sharing
from connector.redis.reading import RedisCounts
from connector.redis.row_tables import RowTables
from connector.scan import KeyList, Scan, pack_keys
from connector.statistics import Statistics, column_bytes, varying

log = logging.getLogger(__name__)

_ROWS = 100  # are looked at, about
_FIRST_ROWS = 8  # of them, to see whether they are large
_ENOUGH_BYTES = 1 << 20


def table_statistics(tables: ArrowTables | RowTables, scan: Scan) -> Statistics | None:
    """How large a table is; None where that is not known: nothing fails for lack of it.

    Raises:
        TableNotFoundError: there is no index of the table, which is one of record batches.
    """
    if isinstance(tables, ArrowTables):
        return tables.statistics(scan)
    doing = f"looking how large table {scan.table!r} in {tables.location} is"
    try:
        return _of_rows(tables, scan, doing)
    except (StoreError, SchemaError) as error:
        log.info("%s: it stays unknown: %s", doing, error)
        return None


def _of_rows(tables: RowTables, scan: Scan, doing: str) -> Statistics | None:
    """Rows from a sample of the keys, columns from a few rows of it.

    Of many keys with several rows each nothing is told: keys that no sample meets may have most rows.
    """
    keyspace = tables.keyspace(scan.table)
    with translated(doing):
        servers = tables.connect()
        with Links(servers, doing, replica=True) as links:
            sample = sample_keys(servers, keyspace, links, doing)
    if not sample.complete and isinstance(tables.model, Sharing):
        return None
    names = keyspace.names(sample.keys)
    lenient, counts = tables.lenient(), RedisCounts()
    rows = sample.most
    if sample.complete:
        rows = tally(lenient, scan, _listed(names), doing, counts)

    def read(wanted: Scan) -> list[pa.RecordBatch]:
        return _some(
            names, lambda few: _begun(lenient.batches(wanted, _listed(few), doing, counts))
        )

    sizes = _column_bytes(scan, read)
    exact = sample.complete and tables.options.on_bad_field is not OnBadField.DROP
    return Statistics(rows, sizes, exact)


def _listed(names: pa.Array) -> KeyList:
    return KeyList(0, pack_keys(names))


def _column_bytes(scan: Scan, read: Callable[[Scan], list[pa.RecordBatch]]) -> dict[str, float]:
    """The sizes of a scan's columns, by reading some rows where they are not fixed."""
    names = varying(scan.output)
    if not names:
        return column_bytes(scan.output, ())
    plain = replace(scan, filter=None, limit=None, sample=None, batch_rows=_ROWS)
    return column_bytes(scan.output, read(plain.select(*names)))


def _some(
    names: pa.Array, read: Callable[[pa.Array], list[pa.RecordBatch]]
) -> list[pa.RecordBatch]:
    """The rows of some keys: of a few first, and where they are small of more."""
    found = read(names.slice(0, _FIRST_ROWS))
    row_bytes = sum(batch.nbytes for batch in found) // _FIRST_ROWS
    most = min(_ROWS, _ENOUGH_BYTES // max(1, row_bytes))
    if most <= _FIRST_ROWS:
        return found
    return [*found, *read(names.slice(_FIRST_ROWS, most - _FIRST_ROWS))]


def _begun(batches: Iterator[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The first batches, until they have rows enough."""
    found: list[pa.RecordBatch] = []
    with contextlib.closing(batches) as source:  # type: ignore[type-var]
        for batch in source:
            found.append(batch)
            if sum(each.num_rows for each in found) >= _ROWS:
                break
    return found
