"""Pages: the records of one request, before columns are made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from connector.aerospike.decoding import Values
from connector.aerospike.records import Layout, Record

_NEVER = 2**32 - 1  # the ttl of a record that does not expire


class Page(ABC):
    """The records of one request."""

    @abstractmethod
    def __len__(self) -> int:
        """How many they are."""

    @abstractmethod
    def bin(self, at: int) -> Values:
        """What one of the wanted bins holds in each record."""

    @abstractmethod
    def user_keys(self) -> Values:
        """The user keys, as far as they are stored."""

    @abstractmethod
    def user_key(self, row: int) -> Any:
        """The user key of one record; None where it is not stored."""

    @abstractmethod
    def digests(self) -> pa.Array:
        """The digests, as ``pa.binary()``."""

    @abstractmethod
    def sets(self) -> pa.Array:
        """The names of the records' sets."""

    @abstractmethod
    def generations(self) -> pa.Array:
        """How often each record was written."""

    @abstractmethod
    def ttls(self, now: float) -> pa.Array:
        """The seconds until each record expires, null for one that does not.

        Args:
            now: the time at which the records were fetched, in seconds since 1970.
        """

    def key_texts(self) -> pa.Array:
        """The user keys as text, bytes in hexadecimal; null where one is not stored."""
        return pa.array([key_text(self.user_key(row)) for row in range(len(self))], pa.string())


@dataclass
class ClientPage(Page):
    """Records as the official client hands them over: here alone there is a step for each of them.

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
        return self.values[at :: self.width]

    def user_keys(self) -> list[Any]:
        return [key[2] for key in self.keys] if self.told else self.keys

    def user_key(self, row: int) -> Any:
        return self.keys[row][2] if self.told else self.keys[row]

    def digests(self) -> pa.Array:
        return pa.array([bytes(key[3]) for key in self.keys], pa.binary())

    def sets(self) -> pa.Array:
        return pa.array([key[1] for key in self.keys], pa.string())

    def generations(self) -> pa.Array:
        return pa.array([told["gen"] for told in self.told], pa.int64())

    def ttls(self, now: float) -> pa.Array:
        left = np.array([told["ttl"] for told in self.told], np.int64)
        return pa.array(left, mask=left == _NEVER)


def collector(page: ClientPage, layout: Layout) -> Callable[[int, Record], None]:
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


def key_text(key: Any) -> str | None:
    """A user key as text."""
    if key is None or isinstance(key, str):
        return key
    return str(key) if isinstance(key, int) else bytes(key).hex()
