"""Splits by key: a row is in the same split on every machine, whatever rows come or go beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from connector.errors import OptionError
from loaders.repeats import hashes

_NAME = re.compile(r"\w+", re.ASCII)
_SHIFTS_AND_FACTORS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
"""Of SplitMix64's mixer (Steele, Lea and Flood, 2014): each bit of a hash changes half of the others."""


@dataclass(frozen=True)
class Splits:
    """Names of splits, and which share of the keys each has.

    Attributes:
        shares: by name; together 1.
    """

    shares: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, given: Mapping[str, float]) -> Splits:
        """Check what a user wrote, such as ``{"train": 0.9, "test": 0.1}``.

        Raises:
            OptionError: a name is no word, a share is not above 0, or all are not 1.
        """
        for name, share in given.items():
            if not _NAME.fullmatch(name) or not share > 0:
                raise OptionError(
                    f"split {name!r}: {share!r} is not a word and a share above 0, as in 'train': 0.9"
                )
        if not given or abs(sum(given.values()) - 1) > 1e-9:
            raise OptionError(
                f"the shares of splits are {sum(given.values()):g} together, and must be 1"
            )
        return cls(tuple((name, float(share)) for name, share in given.items()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.shares)

    def rows(self, keys: pa.Array) -> dict[str, pa.Array]:
        """For each split, which rows are in it: booleans, one for each encoded key."""
        which = self._which(keys)
        return {name: pa.array(which == i) for i, name in enumerate(self.names)}

    def _which(self, keys: pa.Array) -> NDArray[np.int64]:
        ends = np.cumsum([share for _, share in self.shares[:-1]])
        return np.searchsorted(ends, mixed(keys) / 2.0**64, side="right")


def mixed(keys: pa.Array) -> NDArray[np.uint64]:
    """A 64-bit hash of each binary value, the same on every machine and for ever."""
    found = hashes(keys)
    for shift, factor in _SHIFTS_AND_FACTORS:
        found = (found ^ (found >> np.uint64(shift))) * np.uint64(factor)
    return found
