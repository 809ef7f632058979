"""Finding rows of hashes by their keys, with as little around the round trip as can be.

A read has to tell a key that is gone from a row of nulls, keeps batches small and counts what it met.
A lookup need not: it asks for all keys at once, takes the answers in whatever order they come, and
decodes all columns of one type together. Whatever is out of the ordinary is left to a read.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import redis

from connector.errors import DecodeError, OptionError, StoreTimeoutError, StoreUnavailableError
from connector.lookup import read_rows
from connector.redis.caching import LookupCache
from connector.redis.cluster import Cluster
from connector.redis.exchange import Exchange, Links
from connector.redis.keyspace import Keyspace
from connector.redis.link import Link
from connector.redis.models.hashes import HashFetch, HashModel
from connector.redis.options import RedisOptions
from connector.redis.servers import Rows, Servers, is_moving
from connector.store import StoreSource

Stored = Callable[[Sequence[int]], pa.Array]
"""Some columns of rows as they are stored, one after the other."""


@dataclass(frozen=True)
class Asked:
    """Keys, and which rows of the answer are theirs."""

    keys: pa.Array
    rows: Rows

    def take(self, rows: Rows) -> Asked:
        return Asked(self.keys.take(pa.array(rows)), self.rows[rows])


@dataclass(frozen=True)
class Columns:
    """What was found under keys, decoded; null where a key was refused."""

    arrays: list[pa.Array]
    errors: dict[int, str]


class _Unusual(Exception):
    """Rows that a read has to look at: refused ones, or nulls where none may be."""


@dataclass(frozen=True)
class HashFinder:
    """Finds the rows of encoded keys.

    Attributes:
        source: what is looked up; the key columns come first.
        keyspace: which keys are the table's.
        model: how a value is decoded.
        servers: gives who has which key.
        cache: gives what this process keeps of earlier lookups; None to keep nothing.
        window_rows: most keys in a request.
        doing: what is being done, for messages.
    """

    source: StoreSource
    keyspace: Keyspace
    model: HashModel
    servers: Callable[[], Servers]
    cache: Callable[[], LookupCache | None]
    window_rows: int
    doing: str

    def __call__(self, names: pa.Array) -> list[pa.Array]:
        """The columns beside the key's, a row for each name in their order; nulls for one not there.

        Args:
            names: encoded keys, each once.
        """
        if not self._fields:
            return []
        keys = self.keyspace.keys(names)
        try:
            found = self._cached(keys) or self._fetched(keys)
            self._check_nulls(found)
        except (DecodeError, _Unusual):
            return read_rows(self.source.scan, self.source.read, names)
        return found

    @functools.cached_property
    def _fields(self) -> list[pa.Field]:
        return [*self.source.scan.output][len(self.source.scan.key) :]

    @functools.cached_property
    def _fetch(self) -> HashFetch:
        return self.model.fetch(self._fields)

    @functools.cached_property
    def _alike(self) -> list[list[int]]:
        """The places of the fields of each type."""
        found: dict[pa.DataType, list[int]] = {}
        for i, item in enumerate(self._fields):
            found.setdefault(item.type, []).append(i)
        return list(found.values())

    @functools.cached_property
    def _required(self) -> list[int]:
        return [i for i, item in enumerate(self._fields) if not item.nullable]

    def _cached(self, keys: pa.Array) -> list[pa.Array] | None:
        """The rows by way of the cache; None where there is none, or its server is out of reach."""
        cache = self.cache()
        if cache is None:
            return None
        try:
            rows = cache.rows(keys, self._fetch, self.window_rows)
        except redis.ResponseError as error:
            raise _Unusual from error
        except (StoreUnavailableError, StoreTimeoutError):
            return None  # a fetch without it knows how to wait for a server that takes over
        columns = list(zip(*rows, strict=True))

        def stored(places: Sequence[int]) -> pa.Array:
            values = itertools.chain.from_iterable(columns[i] for i in places)
            return pa.array(list(values), pa.binary())

        return self._decoded(stored, len(rows))

    def _fetched(self, keys: pa.Array) -> list[pa.Array]:
        with Links(self.servers(), self.doing, replica=True) as links:
            parts = list(self._answers(keys, links))
        if len(parts) == 1:
            return parts[0][1].arrays
        # What was moving is answered again, and of two answers the later one holds.
        place = np.empty(len(keys), np.int64)
        answered = np.concatenate([rows for rows, _ in parts])
        place[answered] = np.arange(len(answered))
        order = pa.array(place)
        columns = zip(*(part.arrays for _, part in parts), strict=True)
        return [pa.concat_arrays(pieces).take(order) for pieces in columns]

    def _answers(self, keys: pa.Array, links: Links) -> Iterator[tuple[Rows, Columns]]:
        exchange: Exchange[Asked, Columns] = Exchange(
            self.servers(),
            links,
            self.doing,
            send=self._send,
            receive=self._receive,
            limit_bytes=1 << 62,  # requests are small, and all answers are wanted at once
        )
        for start in range(0, len(keys), self.window_rows):
            window = keys.slice(start, self.window_rows)
            for answer in exchange.put(Asked(window, start + np.arange(len(window)))):
                yield answer.work.rows, answer.result
        for answer in exchange.drain():
            yield answer.work.rows, answer.result

    def _send(self, link: Link, work: Asked, asked: bool) -> int:
        request = self._fetch.request(work.keys)
        link.send(request)
        return len(request)

    def _receive(self, link: Link, work: Asked, asked: bool) -> Columns:
        rows, width = len(work.keys), len(self._fields)
        found = link.values(rows, width, b"*%d" % width)
        if not all(map(is_moving, found.errors.values())):
            raise _Unusual
        flat = replace(
            found, starts=found.starts.reshape(-1, 1), lengths=found.lengths.reshape(-1, 1)
        )
        (values,) = flat.columns()
        first = np.arange(rows) * width

        def stored(places: Sequence[int]) -> pa.Array:
            return values.take(pa.array(np.add.outer(places, first).ravel()))

        return Columns(self._decoded(stored, rows), found.errors)

    def _decoded(self, stored: Stored, rows: int) -> list[pa.Array]:
        """All columns: those of one type are decoded as one, and cut apart."""
        columns: list[pa.Array] = [None] * len(self._fields)
        for places in self._alike:
            together = self.model.decode(self._fields[places[0]], stored(places))
            for i, place in enumerate(places):
                columns[place] = together.slice(i * rows, rows)
        return columns

    def _check_nulls(self, columns: list[pa.Array]) -> None:
        """A null is a fault of the row where it must not be, unless there is no row."""
        if any(columns[i].null_count for i in self._required):
            raise _Unusual


def check_caching(options: RedisOptions, table: str, spec: str, servers: Servers) -> None:
    """Refuse to keep rows that the cache cannot keep.

    Raises:
        OptionError: rows are to be kept, of another model than hashes, or of a cluster.
    """
    if not options.lookup_cache_rows:
        return
    if isinstance(servers, Cluster):
        raise OptionError(
            f"option 'lookup.cache.rows': rows of a cluster are not kept, and {options.location} is one; "
            f"leave the option out"
        )
    if spec != HashModel.spec:
        raise OptionError(
            f"option 'lookup.cache.rows': only rows of hashes are kept, and table {table!r} was written "
            f"with model {spec!r}; leave the option out"
        )
