"""What a record has: the columns that a read can tell of it, and where those of a scan are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from connector.aerospike.keys import DIGEST
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

Record: TypeAlias = tuple[tuple[Any, ...], dict[str, int], dict[str, Any]]
"""One as the official client hands it over: its key, generation and ttl, and its bins."""


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
