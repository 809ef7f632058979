"""Pages of records where they were received."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connector.aerospike.pages import Page
from connector.aerospike.wire.particles import Particles, Type
from connector.aerospike.wire.records import Records

_EPOCH = 1_262_304_000  # the first second of 2010, from which the server counts


@dataclass(frozen=True)
class WirePage(Page):
    """Records of the columnar wire; valid until the next ones are received.

    Attributes:
        records: where they are.
    """

    records: Records

    def __len__(self) -> int:
        return len(self.records)

    def bin(self, at: int) -> Particles:
        return self.records.bins[at]

    def user_keys(self) -> Particles:
        return self.records.keys

    def user_key(self, row: int) -> object:
        return self.records.keys.value(row)

    def digests(self) -> pa.Array:
        return self.records.digests.binary()

    def sets(self) -> pa.Array:
        return self.records.sets.binary().cast(pa.string())

    def generations(self) -> pa.Array:
        return pa.array(self.records.generations)

    def ttls(self, now: float) -> pa.Array:
        ends = self.records.void_times
        # A clock may run ahead of the server's: what it sent has not expired there.
        return pa.array(np.maximum(1, ends + _EPOCH - int(now)), mask=ends == 0)

    def key_texts(self) -> pa.Array:
        keys = self.records.keys
        if keys.seen <= {Type.STRING, Type.ABSENT}:
            return keys.binary().cast(pa.string())
        if keys.seen <= {Type.INTEGER, Type.ABSENT}:
            return pa.array(keys.numbers(), mask=keys.kinds == Type.ABSENT).cast(pa.string())
        return super().key_texts()
