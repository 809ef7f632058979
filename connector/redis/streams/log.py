"""Streams of one store: what is in them, how far the next batch reads, and its entries."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

import pyarrow as pa

from connector.errors import StoreError
from connector.redis import saved
from connector.redis.keyspace import Keyspace, escaped
from connector.redis.link import translated
from connector.redis.models.streams import StreamModel
from connector.redis.options import RedisOptions
from connector.redis.servers import Servers
from connector.redis.streams.connected import connected
from connector.redis.streams.ids import BEGINNING, EntryId, IdRange
from connector.redis.streams.looking import acknowledge, first_of, look
from connector.redis.streams.planning import (
    gathered,
    pending,
    ranges,
    shares,
    to_entry,
    to_last,
)
from connector.redis.streams.reading import nth_of, read_ranges
from connector.redis.streams.state import Loss, Position, StreamState, begun, lost
from connector.scan import Partition, Scan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamPart(Partition):
    """Ranges of streams that one task reads.

    Attributes:
        ranges: each begins with an entry that was there when it was planned.
    """

    ranges: tuple[IdRange, ...]


@dataclass(frozen=True)
class StreamNames:
    """Which streams, and what of their keys names them.

    Attributes:
        table: the table whose streams they are; None for keys that stand for themselves.
        names: of the streams.
    """

    table: str | None
    names: tuple[str, ...]

    @property
    def label(self) -> str:
        """What messages call them."""
        return ",".join(self.names) if self.table is None else self.table

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys."""
        prefix = "" if self.table is None else f"{self.table}:"
        return tuple(prefix + name for name in self.names)

    @property
    def keyspace(self) -> Keyspace:
        """What of a key names its stream."""
        if self.table is not None:
            return Keyspace.of_table(self.table)
        return Keyspace(b"", b"|".join(escaped(key.encode()) for key in self.keys), by_pattern=True)


class StreamLog:
    """Reads streams batch by batch; safe to pickle, and connects when it is first asked.

    Args:
        names: the streams.
        options: of the store.
        start: where to begin in a stream that has not been read: ``earliest``, ``latest``, or the ID
            after which; by name.
        fail_on_data_loss: whether entries that went unread are an error, or a warning.
    """

    def __init__(
        self,
        names: StreamNames,
        options: RedisOptions,
        start: Mapping[str, str | EntryId],
        *,
        fail_on_data_loss: bool,
    ) -> None:
        self.names = names
        self._options = options
        self._start = dict(zip(names.keys, (start[name] for name in names.names), strict=True))
        self._fail = fail_on_data_loss

    def schema(self, key: Sequence[str]) -> pa.Schema | None:
        """The columns of the entries: the table's saved ones, or inferred from a sample of the streams.

        Args:
            key: a name for the column of the streams' names, where it is not saved.

        Returns:
            The schema, or None where nothing is saved and no entry is there.
        """
        table, servers = self.names.table, self._servers
        with translated(f"looking at streams {self.names.label!r} in {self._options.location}"):
            if table is not None and not self._options.infer_schema:
                stored = saved.load(servers, table)
                if stored is not None:
                    return stored
            keys = pa.array([each.encode() for each in self.names.keys], pa.binary())
            model, rows = StreamModel(), self._options.schema_sample
            sample = saved.sample(servers, model, [keys], rows, skip_others=False)
        if not sample:
            return None
        columns, name = model.infer(self.names.label, sample), key[0] if key else saved.DEFAULT_KEY
        return saved.inferred(self.names.label, columns, name, model.spec)

    def begin(self, keys: Iterable[str] | None = None) -> dict[str, Position]:
        """Where reading begins, in all streams or in some."""
        servers, found = self._servers, {}
        for key in self.names.keys if keys is None else keys:
            found[key] = begun(self._start[key], look(servers, key, BEGINNING).state)
        return found

    def states(self) -> dict[str, StreamState]:
        """How the streams stand, those that are there."""
        sights = {key: look(self._servers, key, BEGINNING) for key in self.names.keys}
        return {key: sight.state for key, sight in sights.items() if sight.state is not None}

    def advance(
        self,
        at: Mapping[str, Position],
        limit: int | None = None,
        upto: Mapping[str, StreamState] | None = None,
    ) -> dict[str, Position]:
        """Where the batch ends that begins at these positions.

        Args:
            at: how far the streams have been read; a stream that is missing has not been begun.
            limit: most entries in the batch; None for all that are there.
            upto: how the streams stood when the last entries to be read were there; None for no end.

        Returns:
            The end in each stream; ``at`` itself where there is nothing to read.

        Raises:
            StoreError: entries were lost, and that is an error.
        """
        known = dict(at) | self.begin(key for key in self.names.keys if key not in at)
        start = {key: known[key] for key in self.names.keys}
        seen = {key: look(self._servers, key, start[key].id) for key in start}
        there = {key: sight.state for key, sight in seen.items() if sight.state is not None}
        wanted = {key: pending(start[key], state) for key, state in there.items()}
        room = wanted if limit is None else shares(wanted, limit)
        end = {
            key: self._advanced(
                key,
                start[key],
                there[key],
                seen[key].first,
                stop=there[key] if upto is None else upto.get(key),
                most=None if limit is None else room[key],
            )
            if key in there
            else replace(start[key], first=None, entries=0)
            for key in start
        }
        moved = any(end[key].first is not None or end[key].id != start[key].id for key in end)
        return end if moved else start

    def partitions(self, end: Mapping[str, Position], parts: int) -> list[StreamPart]:
        """Cut the batch that ends here into at most about ``parts`` partitions.

        The same end is cut in the same way again, as long as no entry of it is lost.

        Raises:
            StoreError: entries of it were lost, and that is an error.
        """
        there: list[IdRange] = []
        for key, some in groupby(ranges(end, parts), key=attrgetter("key")):
            mine = list(some)
            firsts = first_of(self._servers, key, mine)
            if firsts[0] != mine[0].first:
                self.lose(mine[0], str(mine[0].first))
            found = zip(mine, firsts, strict=True)
            there += [replace(each, first=first) for each, first in found if first is not None]
        return [StreamPart(i, part) for i, part in enumerate(gathered(there, parts))]

    def read(self, scan: Scan, part: StreamPart) -> Iterator[pa.RecordBatch]:
        """The entries of a partition, as batches of ``scan.output``.

        Raises:
            StoreError: entries were lost, and that is an error.
        """
        place = self._options.location
        doing = f"reading partition {part.index} of streams {self.names.label!r} from {place}"
        keyspace, options = self.names.keyspace, self._options
        return read_ranges(scan, keyspace, part.ranges, self._servers, options, doing, self.lose)

    def acknowledge(self, group: str, end: Mapping[str, Position]) -> None:
        """Move a consumer group to these positions; it is made where it is not there."""
        for key, at in end.items():
            if at.id > BEGINNING:
                acknowledge(self._servers, key, group, at)

    def lose(self, part: IdRange, expected: str) -> None:
        """Tell of entries that were there when a batch was planned, and cannot be read any more."""
        self._report(
            part.key,
            Loss(
                f"lost entries from {expected} on, up to {part.last} at most, before they were read"
            ),
        )

    def _advanced(
        self,
        key: str,
        at: Position,
        state: StreamState,
        first: EntryId | None,
        *,
        stop: StreamState | None,
        most: int | None,
    ) -> Position:
        """Where the batch ends in one stream."""
        loss = lost(at, state)
        if loss is not None:
            self._report(key, loss)
            if loss.anew:
                at, first, stop = Position(BEGINNING), state.first, state
                most = None if most is None else max(1, most)  # by the old one's ID it had none
        if stop is None or most == 0:
            return replace(at, first=None, entries=0)
        read = None if first is None or first > stop.last else IdRange(key, first, stop.last)
        if read is not None and most is not None and pending(at, state) > most:
            last, entries = nth_of(read, most, self._servers, self._options)
            if last < read.last:
                return to_entry(at, state, replace(read, last=last), entries)
        return to_last(at, stop, read)

    def _report(self, key: str, loss: Loss) -> None:
        """Raise, or log, a loss."""
        many = "" if loss.count is None else f": {loss.count} entries are gone unread"
        told = f"stream {key!r} in {self._options.location} {loss.why}{many}"
        if not self._fail:
            log.warning("%s; reading goes on with what is there", told)
            return
        kept = (
            "the new one is then read from its beginning" if loss.anew else "they are then left out"
        )
        raise StoreError(f"{told}. To go on, set option fail.on.data.loss to false: {kept}")

    @property
    def _servers(self) -> Servers:
        return connected(self._options)
