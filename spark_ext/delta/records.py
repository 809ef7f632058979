"""Which version of which Delta table a store's table has: a record in the store, beside the table.

All records of a store are rows of one table of it, ``kvlake_published``. A record is changed twice by
every publication: before the first row of the table is, and when all are there. What it says in between
is enough for the next publication to put right what a crash has left.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from connector.errors import StoreError, TableNotFoundError
from connector.jobs import TTL, WriteFields, WriteOptions
from connector.source import read_all
from connector.store import Store

RECORDS = "kvlake_published"
"""The table of the records."""

_SCHEMA = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("reaching", pa.int64()),
        pa.field("publisher", pa.string()),
        pa.field("changed", pa.timestamp("us", "UTC")),
    ]
)
_WRITTEN = _SCHEMA.append(pa.field(TTL, pa.int64()))  # null: a record never expires
_OPTIONS = WriteOptions(key=("table",), fields=WriteFields.REPLACE)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a published table.

    Attributes:
        table: its name in the store.
        source: the id of the Delta table.
        version: the version that is there, whole; None while a whole table is being published.
        reaching: the version whose rows, or changes, may be there in part; None when it is there.
        publisher: who changed the record last; no other publication has it.
        changed: when it was changed.
    """

    table: str
    source: str
    version: int | None
    reaching: int | None
    publisher: str
    changed: datetime

    @property
    def furthest(self) -> int:
        """The latest version of which anything is there."""
        return max(self.version or 0, self.reaching or 0)


def load(store: Store, table: str) -> Record | None:
    """The record of a table; None where none was published."""
    try:
        found = store.source(
            RECORDS, columns=_SCHEMA.names, schema=_SCHEMA, key=("table",), keys=[table]
        )
        rows = read_all(found).to_pylist()
    except TableNotFoundError:
        return None
    return Record(**rows[0]) if rows else None


def begin(store: Store, table: str, source: str, version: int | None, reaching: int) -> Record:
    """Note that rows of a version are about to be written.

    Args:
        store: where the table is.
        table: its name.
        source: the id of the Delta table.
        version: the version that is there, and stays behind what will be written; None where a crash
            leaves a table that changes alone cannot mend.
        reaching: the version to be written.
    """
    return _save(store, Record(table, source, version, reaching, **_now()))


def finish(store: Store, mine: Record) -> None:
    """Note that a version is there, whole.

    Raises:
        StoreError: another publication of the table was at work meanwhile. The record then says to
            repeat what both did, and so the other one, where it is not done, finds out as well.
    """
    found = load(store, mine.table) or mine
    if found.publisher == mine.publisher:
        _save(store, replace(mine, version=mine.reaching, reaching=None, **_now()))
        return
    furthest = max(mine.furthest, found.furthest)
    behind = _behind(mine, found)
    _save(store, replace(mine, version=behind, reaching=furthest, **_now()))
    again = "publish the whole table anew" if behind is None else "publish the changes again"
    raise StoreError(
        f"table {mine.table!r}: another publication was at work meanwhile, so rows of either may have been "
        f"written last; {again}, with one publication at a time"
    )


def _behind(one: Record, other: Record) -> int | None:
    """The version from which changes mend what two publications did; None where none does."""
    if one.source != other.source or one.version is None or other.version is None:
        return None
    return min(one.version, other.version)


def _save(store: Store, record: Record) -> Record:
    row = pa.RecordBatch.from_pylist([asdict(record)], schema=_WRITTEN)
    store.write(RECORDS, [row], _OPTIONS)
    return record


def _now() -> dict[str, Any]:
    return {"publisher": uuid.uuid4().hex, "changed": datetime.now(UTC)}
