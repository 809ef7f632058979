"""Records as the client hands them over, and the batches made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from connector.aerospike.decoding import decode_bin
from connector.aerospike.keys import DIGEST, key_columns
from connector.codecs import unparsable
from connector.errors import DecodeError
from connector.reads import OnBadField, ReadCounts
from connector.scan import Scan

KEY, GENERATION, TTL, EXPIRY, SET = "__key", "__generation", "__ttl", "__expiry", "__set"
LAST_UPDATE = "__last_update"

METADATA = pa.schema(
    [
        (KEY, pa.string()),
        (DIGEST, pa.binary(20)),
        (GENERATION, pa.int32()),
        (TTL, pa.int64()),
        (EXPIRY, pa.timestamp("s", "UTC")),
        (SET, pa.string()),
        (LAST_UPDATE, pa.timestamp("ms", "UTC")),
    ]
)
"""What a read can tell of a row beside its columns: its user key as text, bytes in hexadecimal, null where it
is not stored; its digest; how often it was written; the whole seconds until it expires, and the time when,
both null for a row that does not; its set; and when it was last written, by the clock of its node."""

_NEVER = 2**32 - 1  # the ttl of a record that does not expire

Record = tuple[tuple[Any, ...], dict[str, int], dict[str, Any]]


@dataclass(frozen=True)
class Layout:
    """Where the columns of a scan are found in a record.

    Attributes:
        scan: what is read; it has no filter.
        key: the key columns that are made of the user key, or of the digest, in key order; none where
            they are bins, or are not wanted.
        bins: the bin of each other column of the table's own.
        metadata: the columns that are told beside them.
        updated: whether the servers are asked when each record was last written; then the last of what
            is taken from the bins.
    """

    scan: Scan
    key: tuple[pa.Field, ...]
    bins: Mapping[str, str]
    metadata: tuple[str, ...]
    updated: bool

    @property
    def names(self) -> tuple[str, ...]:
        """What is taken from the bins of each record."""
        return (*self.bins.values(), LAST_UPDATE) if self.updated else tuple(self.bins.values())

    @property
    def by_digest(self) -> bool:
        """Whether the digest is the table's key."""
        return [one.name for one in self.key] == [DIGEST]


def layout(scan: Scan, names: Mapping[str, str], *, key_bins: bool) -> Layout:
    """Where the columns of a scan without a filter are found.

    Args:
        scan: what is read.
        names: the bins of columns that have other names than their bins.
        key_bins: whether the key columns are stored as bins.
    """
    wanted = scan.output.names
    apart = () if key_bins else scan.key
    keyed = not set(apart).isdisjoint(wanted)
    told = [name for name in wanted if name in METADATA.names and name not in scan.key]
    bins = {name: names.get(name, name) for name in wanted if name not in (*apart, *told)}
    key = tuple(scan.schema.field(name) for name in apart) if keyed else ()
    beside = tuple(name for name in told if name != LAST_UPDATE)
    return Layout(scan, key, bins, beside, LAST_UPDATE in told)


@dataclass
class Page:
    """Records of one request, taken apart: the only place where there is a step for each of them.

    Attributes:
        width: how many values are wanted of each.
        values: what the bins hold, record by record, None for one that is not there.
        keys: the keys, as the client has them: namespace, set, user key and digest; or, without
            metadata, the user keys alone.
        told: generation and ttl, where they are wanted.
    """

    width: int
    values: list[Any] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    told: list[dict[str, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    def add_missing(self) -> None:
        """Put nulls in the place of a record that is not there."""
        self.keys.append(None)
        self.values.extend([None] * self.width)

    def bin(self, at: int) -> list[Any]:
        """What one of the wanted bins holds in each record."""
        return self.values[at :: self.width]


def collector(page: Page, layout: Layout) -> Callable[[int, Record], None]:
    """What puts a record into a page; it takes the partition's number too, as the client gives it."""
    names = layout.names
    pick: Callable[[dict[str, Any]], tuple[Any, ...]] = (
        itemgetter(*names) if len(names) > 1 else lambda bins: (bins[names[0]],)
    )
    add_values, add_key, tell = page.values.extend, page.keys.append, page.told.append

    def plain(partition: int, record: Record) -> None:
        bins = record[2]
        add_key(record[0][2])
        try:
            add_values(pick(bins))
        except KeyError:  # most reads leave out the bins that are not there
            add_values(map(bins.get, names))

    def whole(partition: int, record: Record) -> None:
        key, told, *bins = record  # without bins the client hands over two things
        add_key(key)
        tell(told)
        if names:
            add_values(map(bins[0].get, names))

    def bare(partition: int, record: Record) -> None:
        add_key(record[0][2])

    if layout.metadata or layout.by_digest:
        return whole
    return plain if names else bare


class Decoder:
    """Makes batches of pages, with one rule for values that are not of their column's type.

    Args:
        layout: where the columns are.
        on_bad_field: the rule.
        doing: what is being done, for messages.
        counts: what was met so far.
    """

    def __init__(
        self, layout: Layout, on_bad_field: OnBadField, doing: str, counts: ReadCounts
    ) -> None:
        self._layout = layout
        self._rule = on_bad_field
        self._doing = doing
        self._counts = counts

    def batch(self, page: Page, now: float) -> pa.RecordBatch:
        """The batch of a page; it may have no rows.

        Args:
            page: the records.
            now: the time at which they were fetched, in seconds since 1970.

        Raises:
            DecodeError: a value is not of its column's type, and the rule is to say so.
        """
        layout, output = self._layout, self._layout.scan.output
        dropped: set[int] = set()
        columns: dict[str, pa.Array] = {}
        if layout.key:
            names = [one.name for one in layout.key]
            columns |= zip(names, self._keys(page, dropped), strict=True)
        for at, name in enumerate(layout.bins):
            kind = output.field(name).type
            columns[name] = self._bin(page, name, kind, page.bin(at), dropped)
        for name in layout.metadata:
            columns[name] = _metadata(name, page, now)
        if layout.updated:
            times = pa.array(page.bin(len(layout.bins)), pa.timestamp("ns", "UTC"))
            columns[LAST_UPDATE] = times.cast(METADATA.field(LAST_UPDATE).type, safe=False)
        found = pa.RecordBatch.from_arrays([columns[name] for name in output.names], schema=output)
        if dropped:
            keep = np.ones(len(page), bool)
            keep[list(dropped)] = False
            found = found.filter(pa.array(keep))
            self._counts.dropped_rows += len(dropped)
        self._counts.rows += found.num_rows
        return found

    def _keys(self, page: Page, dropped: set[int]) -> list[pa.Array]:
        layout = self._layout
        if layout.by_digest:
            return [pa.array([bytes(key[3]) for key in page.keys], layout.key[0].type)]
        keys = [key[2] for key in page.keys] if page.told else page.keys
        fields = layout.key
        return self._decoded(page, keys, lambda some: key_columns(some, fields), dropped)

    def _bin(
        self, page: Page, name: str, kind: pa.DataType, values: list[Any], dropped: set[int]
    ) -> pa.Array:
        (column,) = self._decoded(
            page, values, lambda some: [decode_bin(name, some, kind)], dropped
        )
        return column

    def _decoded(
        self,
        page: Page,
        values: Sequence[Any],
        decode: Callable[[Sequence[Any]], list[pa.Array]],
        dropped: set[int],
    ) -> list[pa.Array]:
        """The columns of some values, those that do not fit put right by the rule."""
        try:
            return decode(values)
        except DecodeError as error:
            bad = unparsable(values, decode)
            if self._rule is OnBadField.ERROR:
                shown = self._shown(page, bad[0])
                raise DecodeError(
                    f"{self._doing}: {error}, in {len(bad)} of {len(values)} records, such as {shown}; "
                    f"give another schema, or set option 'on.bad.field'"
                ) from error
        if self._rule is OnBadField.DROP:
            dropped.update(bad)
        else:
            self._counts.bad_fields += len(bad)
        good = np.ones(len(values), bool)
        good[bad] = False
        place = np.where(good, np.cumsum(good) - 1, -1)
        found = decode([values[i] for i in np.flatnonzero(good).tolist()])
        where = pa.array(place, mask=~good)
        return [column.take(where) for column in found]

    def _shown(self, page: Page, at: int) -> str:
        key = page.keys[at][2] if page.told else page.keys[at]
        return f"that of key {key!r}" if key is not None else "one whose key is not stored"


def _metadata(name: str, page: Page, now: float) -> pa.Array:
    kind = METADATA.field(name).type
    if name == KEY:
        return pa.array([_key_text(key[2]) for key in page.keys], kind)
    if name == DIGEST:
        return pa.array([bytes(key[3]) for key in page.keys], kind)
    if name == SET:
        return pa.array([key[1] for key in page.keys], kind)
    if name == GENERATION:
        return pa.array([told["gen"] for told in page.told], kind)
    left = np.array([told["ttl"] for told in page.told], np.int64)
    if name == TTL:
        return pa.array(left, kind, mask=left == _NEVER)
    return pa.array(left + int(now), pa.int64(), mask=left == _NEVER).cast(kind)


def _key_text(key: Any) -> str | None:
    if key is None or isinstance(key, str):
        return key
    return str(key) if isinstance(key, int) else bytes(key).hex()
