"""The hash model: a row is a hash under ``<table>:<key>``, a column is a field of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.codecs import decode, decode_keys, unparsable
from connector.errors import DecodeError, SchemaError
from connector.redis.commands import keyed_request
from connector.redis.link import Link, reply_error
from connector.redis.options import OnBadField
from connector.scan import Scan

_FIRST_ROWS = 64  # asked for before the size of a row is known
_AHEAD = 2  # requests in flight: the server works on one while another is decoded


@dataclass
class ReadCounts:
    """What a read met.

    Attributes:
        rows: rows handed on.
        vanished: keys that were gone when their row was asked for, deleted or expired meanwhile.
        bad_fields: values that did not parse and were read as null.
        dropped_rows: rows left out because a value did not parse.
    """

    rows: int = 0
    vanished: int = 0
    bad_fields: int = 0
    dropped_rows: int = 0

    def add(self, other: ReadCounts) -> None:
        """Add the counts of another read to these."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass
class HashReader:
    """Reads the rows of keys, and turns them into batches of ``scan.output``.

    Attributes:
        scan: what is read.
        prefix: what every key begins with, before the encoded key columns.
        link: the connection for fetching rows.
        recheck: makes the connection for asking whether a row without values is there at all.
        on_bad_field: what to do with a value that does not parse.
        window_rows: most rows in a request.
        window_bytes: about how many bytes of values to ask for in a request.
        counts: what was met so far.
    """

    scan: Scan
    prefix: bytes
    link: Link
    recheck: Callable[[], Link]
    on_bad_field: OnBadField
    window_rows: int
    window_bytes: int
    counts: ReadCounts = field(default_factory=ReadCounts)

    def batches(self, pages: Iterable[pa.Array]) -> Iterator[pa.RecordBatch]:
        """Fetch the rows of the keys and yield them as batches of any size but empty."""
        wanted = [item.name for item in self.scan.output if item.name not in self.scan.key]
        names = [name.encode() for name in wanted]
        for keys, values in self._fetched(pages, names):
            batch = self._decoded(keys, dict(zip(wanted, values, strict=True)))
            if batch.num_rows:
                self.counts.rows += batch.num_rows
                yield batch

    def _fetched(
        self, pages: Iterable[pa.Array], names: list[bytes]
    ) -> Iterator[tuple[pa.Array, list[pa.Array]]]:
        """Keys that are there, and the bytes of their fields."""
        windows = _Windows(iter(pages), min(_FIRST_ROWS, self.window_rows))
        flying: deque[pa.Array] = deque()
        while True:
            while len(flying) < _AHEAD and (keys := windows.next()) is not None:
                command = (b"HMGET", keys, names) if names else (b"HLEN", keys)
                self.link.send(keyed_request(*command))
                flying.append(keys)
            if not flying:
                return
            keys = flying.popleft()
            values, there, size = self._answer(keys, names)
            row_bytes = max(1, size // len(keys))
            windows.rows = max(1, min(self.window_rows, self.window_bytes // row_bytes))
            if there is not None:
                self.counts.vanished += len(keys) - there.true_count
                keys, values = (
                    keys.filter(there),
                    [column.filter(there) for column in values],
                )
            yield keys, values

    def _answer(
        self, keys: pa.Array, names: list[bytes]
    ) -> tuple[list[pa.Array], pa.BooleanArray | None, int]:
        """The fields' bytes, which keys are there (None: all), and the size of the reply."""
        if not names:
            statuses = self.link.statuses(len(keys))
            self._refuse(keys, statuses.errors)
            return [], pa.array(statuses.numbers > 0), statuses.size
        found = self.link.values(len(keys), len(names), b"*%d" % len(names))
        self._refuse(keys, found.errors)
        columns, size = found.columns(), found.size
        bare = (found.lengths < 0).all(axis=1)
        if not bare.any():
            return columns, None, size
        # Nothing but nulls: the row may hold other fields, or may have gone.
        suspects = keys.filter(pa.array(bare))
        recheck = self.recheck()
        recheck.send(keyed_request(b"HLEN", suspects))
        statuses = recheck.statuses(len(suspects))
        self._refuse(suspects, statuses.errors)
        there = np.ones(len(keys), np.bool_)
        there[bare] = statuses.numbers > 0
        return columns, pa.array(there), size

    def _refuse(self, keys: pa.Array, errors: dict[int, str]) -> None:
        if not errors:
            return
        row, text = next(iter(errors.items()))
        raise (reply_error(text) or SchemaError)(
            f"reading table {self.scan.table!r}: {len(errors)} of {len(keys)} keys were refused, such as "
            f"{keys[row].as_py()!r}: {text}. Every key under {self.prefix!r} must hold a hash"
        )

    def _decoded(self, keys: pa.Array, values: dict[str, pa.Array]) -> pa.RecordBatch:
        """Parse the keys and fields that are asked for; rows may be left out by option."""
        output = self.scan.output
        bad_rows = np.zeros(len(keys), np.bool_)
        columns: dict[str, pa.Array] = {}
        if any(name in self.scan.key for name in output.names):
            columns.update(self._decoded_keys(keys))
        for item in output:
            if item.name in values:
                columns[item.name] = self._decoded_field(item, values[item.name], keys, bad_rows)
        batch = pa.RecordBatch.from_arrays([columns[name] for name in output.names], schema=output)
        if bad_rows.any():
            self.counts.dropped_rows += int(bad_rows.sum())
            batch = batch.filter(pa.array(~bad_rows))
        return batch

    def _decoded_keys(self, keys: pa.Array) -> dict[str, pa.Array]:
        items = [self.scan.schema.field(name) for name in self.scan.key]
        try:
            columns = decode_keys(_without_prefix(keys, len(self.prefix)), items)
        except DecodeError as error:
            raise DecodeError(
                f"reading table {self.scan.table!r}: a key does not parse, in a batch from "
                f"{keys[0].as_py()!r} to {keys[-1].as_py()!r}: {error}"
            ) from error
        return dict(zip(self.scan.key, columns, strict=True))

    def _decoded_field(
        self,
        item: pa.Field,
        values: pa.Array,
        keys: pa.Array,
        bad_rows: np.ndarray[tuple[int], np.dtype[np.bool_]],
    ) -> pa.Array:
        try:
            column = decode(item.name, values, item.type)
        except DecodeError as error:
            bad = unparsable(item.name, values, item.type)
            if self.on_bad_field is OnBadField.ERROR:
                raise DecodeError(
                    f"reading table {self.scan.table!r}: field {item.name!r} of key "
                    f"{keys[bad[0]].as_py()!r} holds {values[bad[0]].as_py()[:60]!r}, which is not "
                    f"{item.type}; {len(bad)} of {len(keys)} rows are so. Give the schema, or set "
                    f"on.bad.field to null or drop"
                ) from error
            good = np.ones(len(keys), np.bool_)
            good[bad] = False
            if self.on_bad_field is OnBadField.DROP:
                bad_rows[bad] = True
            else:
                self.counts.bad_fields += len(bad)
            kept = pc.if_else(pa.array(good), values, pa.scalar(None, pa.binary()))
            return decode(item.name, kept, item.type)
        if column.null_count and not item.nullable:
            row = int(np.argmax(np.asarray(column.is_null())))
            raise SchemaError(
                f"reading table {self.scan.table!r}: key {keys[row].as_py()!r} has no field "
                f"{item.name!r}, which the schema declares not null"
            )
        return column


def _without_prefix(keys: pa.Array, length: int) -> pa.Array:
    """The keys from byte ``length`` on: every second piece of the same bytes, cut there too."""
    _, places, data = keys.buffers()
    ends = np.frombuffer(places, np.int32)[keys.offset : keys.offset + len(keys) + 1]
    cuts = np.stack([ends[:-1] + length, ends[1:]], axis=1).ravel()
    buffers = [None, pa.py_buffer(cuts), data]
    pieces = pa.BinaryArray.from_buffers(pa.binary(), max(0, len(cuts) - 1), buffers)
    return pieces.take(pa.array(np.arange(0, len(pieces), 2)))


@dataclass
class _Windows:
    """Cuts pages of keys into requests of ``rows`` keys, which may change from one to the next."""

    pages: Iterator[pa.Array]
    rows: int
    held: list[pa.Array] = field(default_factory=list)

    def next(self) -> pa.Array | None:
        while sum(map(len, self.held)) < self.rows and (page := next(self.pages, None)) is not None:
            self.held.append(page)
        if not self.held:
            return None
        keys = pa.concat_arrays(self.held) if len(self.held) > 1 else self.held[0]
        window, rest = keys.slice(0, self.rows), keys.slice(self.rows)
        self.held = [rest] if len(rest) else []
        return window
