"""How a scan is cut: ranges of the 4,096 partitions of a namespace, or residues of digests in one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from connector.scan import Partition, even_ranges

PARTITIONS = 4096
"""In every namespace, whatever the size of the cluster."""

MOST_PARTS = 32_768


@dataclass(frozen=True, slots=True)
class DigestRange(Partition):
    """The records in some of a namespace's partitions, or of their digests those with one residue.

    Attributes:
        begin: the first of the partitions.
        count: how many they are.
        modulo: into how many residues the digests are told apart.
        residue: which of them is meant.
    """

    begin: int
    count: int
    modulo: int = 1
    residue: int = 0

    @property
    def numbers(self) -> range:
        """The numbers of those partitions."""
        return range(self.begin, self.begin + self.count)

    @property
    def partitions(self) -> dict[str, int]:
        """Which partitions of the namespace a query goes through, as the client wants to be told."""
        return {"begin": self.begin, "count": self.count}


def digest_ranges(parts: int) -> list[DigestRange]:
    """About ``parts`` partitions of a scan that cover a namespace together, at most 32,768.

    Up to 4,096 they are ranges, of which no record has to be looked at to know it; above, every
    partition is cut into the same number of residues, by powers of 2.
    """
    if parts <= PARTITIONS:
        ranges = even_ranges(PARTITIONS, max(1, parts))
        return [DigestRange(i, cut.start, len(cut)) for i, cut in enumerate(ranges)]
    modulo = 2 ** math.ceil(math.log2(min(parts, MOST_PARTS) / PARTITIONS))
    return [
        DigestRange(at * modulo + residue, at, 1, modulo, residue)
        for at in range(PARTITIONS)
        for residue in range(modulo)
    ]
