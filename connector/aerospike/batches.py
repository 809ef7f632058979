"""Batches made of pages of records, with one rule for values that are not of their column's type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.aerospike.decoding import Values, chosen, decode_bin
from connector.aerospike.keys import DIGEST, key_columns
from connector.aerospike.pages import Page
from connector.aerospike.records import (
    EXPIRY,
    GENERATION,
    KEY,
    LAST_UPDATE,
    METADATA,
    SET,
    Layout,
)
from connector.codecs import unparsable
from connector.errors import DecodeError
from connector.places import places
from connector.reads import OnBadField, ReadCounts


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
        fields = layout.key
        if layout.by_digest:
            return [page.digests().cast(fields[0].type)]
        keys = page.user_keys()
        return self._decoded(page, keys, lambda some: key_columns(some, fields), dropped)

    def _bin(
        self, page: Page, name: str, kind: pa.DataType, values: Values, dropped: set[int]
    ) -> pa.Array:
        (column,) = self._decoded(
            page, values, lambda some: [decode_bin(name, some, kind)], dropped
        )
        return column

    def _decoded(
        self,
        page: Page,
        values: Values,
        decode: Callable[[Values], list[pa.Array]],
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
        found, place = decode(chosen(values, np.flatnonzero(good))), places(good)
        return [column.take(place) for column in found]

    def _shown(self, page: Page, at: int) -> str:
        key = page.user_key(at)
        return f"that of key {key!r}" if key is not None else "one whose key is not stored"


def _metadata(name: str, page: Page, now: float) -> pa.Array:
    if name == KEY:
        found = page.key_texts()
    elif name == DIGEST:
        found = page.digests()
    elif name == SET:
        found = page.sets()
    elif name == GENERATION:
        found = page.generations()
    else:
        left = page.ttls(now)
        found = pc.add(left, int(now)) if name == EXPIRY else left
    return found.cast(METADATA.field(name).type)
