"""Reading the rows of keys, whatever the model: requests ahead, moves survived, nothing lost unseen."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.codecs import decode, decode_keys, unparsable
from connector.errors import DecodeError, SchemaError
from connector.reads import OnBadField, ReadCounts
from connector.redis.commands import keyed_request
from connector.redis.exchange import Answer, Exchange, Links
from connector.redis.keyspace import Keyspace
from connector.redis.link import ASKING, Link, reply_error
from connector.redis.models.model import Fetch, Flags, Found, Model, PagedFetch
from connector.redis.options import OnBadKey
from connector.redis.servers import Rows, Servers
from connector.scan import Scan

_FIRST_ROWS = 64  # asked for before the size of a row is known

Milliseconds: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

KEY = "__key"
TTL = "__ttl"
METADATA = pa.schema([(KEY, pa.string()), (TTL, pa.int64())])
"""What a read can tell of a row beside its columns: its key in the server, and the whole seconds, begun
ones counted, until it expires; null for a row that does not."""


@dataclass
class RedisCounts(ReadCounts):
    """What a read met.

    Attributes:
        vanished: keys that were gone when their row was asked for, deleted or expired meanwhile.
        bad_keys: keys of another type that were left out.
    """

    vanished: int = 0
    bad_keys: int = 0


@dataclass(frozen=True)
class Keys:
    """Keys to be fetched; where they were begun already, from ``after`` on."""

    keys: pa.Array
    after: pa.Array | None = None

    def take(self, rows: Rows) -> Keys:
        place = pa.array(rows)
        return Keys(self.keys.take(place), None if self.after is None else self.after.take(place))


@dataclass(frozen=True)
class Fetched:
    """What was fetched for keys.

    Attributes:
        found: what the model found.
        ttl: milliseconds each key has left, -1 for ever, -2 for a key that is gone; None where it was
            not asked for.
        errors: the refused keys, and why.
    """

    found: Found
    ttl: Milliseconds | None
    errors: dict[int, str]


@dataclass
class RowReader:
    """Reads the rows of keys, and turns them into batches of ``scan.output``.

    Attributes:
        scan: what is read.
        keyspace: what of a key names the row.
        model: how the rows lie under the keys.
        fetch: asks for what is needed of them.
        servers: who has which key.
        links: the connections to use.
        doing: what is being done, for messages.
        on_bad_field: what to do with a value that does not parse.
        on_bad_key: what to do with a key of another type.
        window_rows: most keys in a request.
        window_bytes: about how many bytes of values to ask for in a request.
        counts: what was met so far.
    """

    scan: Scan
    keyspace: Keyspace
    model: Model
    fetch: Fetch
    servers: Servers
    links: Links
    doing: str
    on_bad_field: OnBadField
    on_bad_key: OnBadKey
    window_rows: int
    window_bytes: int
    counts: RedisCounts = field(default_factory=RedisCounts)

    def batches(self, pages: Iterable[pa.Array]) -> Iterator[pa.RecordBatch]:
        """Fetch the rows of the keys and yield them as batches of any size but empty."""
        for answer in self._answers(pages):
            batch = self._decoded(*self._kept(answer))
            if batch.num_rows:
                self.counts.rows += batch.num_rows
                yield batch

    def count(self, pages: Iterable[pa.Array]) -> int:
        """How many rows lie under the keys; nothing of them is parsed."""
        rows = 0
        for answer in self._answers(pages):
            keys, found, _ = self._kept(answer)
            rows += len(keys) if found.rows is None else int(found.rows.sum())
        return rows

    @functools.cached_property
    def _with_ttl(self) -> bool:
        return TTL in self.scan.output.names and TTL not in self.scan.key

    def _answers(self, pages: Iterable[pa.Array]) -> Iterator[Answer[Keys, Fetched]]:
        exchange: Exchange[Keys, Fetched] = Exchange(
            self.servers,
            self.links,
            self.doing,
            send=self._send,
            receive=self._receive,
            limit_bytes=1 << 62,  # requests are small; window_bytes limits the answers
        )
        windows = _Windows(iter(pages), min(_FIRST_ROWS, self.window_rows))
        while True:
            work = windows.next()
            for answer in exchange.drain() if work is None else exchange.put(work):
                windows.rows = self._window(answer)
                windows.go_on(answer.work.keys, answer.result.found.after)
                yield answer
            if work is None and not windows.begun:
                return

    def _window(self, answer: Answer[Keys, Fetched]) -> int:
        row_bytes = max(1, answer.result.found.size // len(answer.work.keys))
        return max(1, min(self.window_rows, self.window_bytes // row_bytes))

    def _send(self, link: Link, work: Keys, asked: bool) -> int:
        if work.after is None:
            request = self.fetch.request(work.keys)
        else:
            assert isinstance(self.fetch, PagedFetch)
            request = self.fetch.request_after(work.keys, work.after)
        link.send(request)
        if self._with_ttl:
            ttl = keyed_request(b"PTTL", work.keys)
            link.send(memoryview(bytes(ASKING) + bytes(ttl)) if asked else ttl)
        return len(request)

    def _receive(self, link: Link, work: Keys, asked: bool) -> Fetched:
        found = self.fetch.receive(link, work.keys)
        errors, ttl = dict(found.errors), None
        if self._with_ttl:
            answer = link.statuses(len(work.keys) + asked)
            ttl = answer.numbers[asked:]
            errors = {row - asked: text for row, text in answer.errors.items()} | errors
        if found.doubtful is not None and ttl is None:
            suspects = np.flatnonzero(found.doubtful)
            if asked:
                link.asking()
            else:
                ((node, _),) = self.servers.split(work.keys.slice(0, 1))
                link = self.links.to(node, "recheck")
            link.send(keyed_request(self.fetch.presence, work.keys.take(pa.array(suspects))))
            answer = link.statuses(len(suspects))
            errors |= {int(suspects[i]): text for i, text in answer.errors.items()}
            ttl = np.full(len(work.keys), -1, np.int64)
            ttl[suspects[answer.numbers == 0]] = -2
        return Fetched(found, ttl, errors)

    def _kept(self, answer: Answer[Keys, Fetched]) -> tuple[pa.Array, Found, Any]:
        """The keys that are there and can be read, and what was found under them."""
        keys, fetched = answer.work.keys, answer.result
        found, ttl = fetched.found, fetched.ttl
        drop = np.zeros(len(keys), np.bool_)
        drop[list(answer.postponed)] = True
        refused = {row: text for row, text in fetched.errors.items() if not drop[row]}
        self._refuse(keys, refused)
        drop[list(refused)] = True
        gone = np.zeros(len(keys), np.bool_) if found.missing is None else found.missing & ~drop
        if ttl is not None:
            gone = gone | (~drop & (ttl == -2))
        self.counts.vanished += int(gone.sum())
        drop |= gone
        if not drop.any():
            return keys, found, ttl
        return _without(keys, found, ttl, drop)

    def _refuse(self, keys: pa.Array, errors: dict[int, str]) -> None:
        """Raise what the server said, or count keys of another type where they are to be skipped."""
        bad = {row: text for row, text in errors.items() if is_wrong_type(text)}
        other = {row: text for row, text in errors.items() if row not in bad}
        self.counts.bad_keys += len(bad)
        if not other and (not bad or self.on_bad_key is OnBadKey.SKIP):
            return
        row, text = next(iter((other or bad).items()))
        hint = (
            f". Every key that matches {self.keyspace.pattern!r} must hold a {self.model.kinds[0]}; set "
            f"on.bad.key to skip to leave others out"
        )
        raise (reply_error(text) or SchemaError)(
            f"reading table {self.scan.table!r}: {len(errors)} of {len(keys)} keys were refused, such as "
            f"{keys[row].as_py()!r}: {text}{'' if other else hint}"
        )

    def _decoded(self, keys: pa.Array, found: Found, ttl: Any) -> pa.RecordBatch:
        """Parse the keys and values that are asked for; rows may be left out by option."""
        output = self.scan.output
        if found.rows is not None:
            place = pa.array(np.repeat(np.arange(len(keys)), found.rows))
            keys, ttl = keys.take(place), None if ttl is None else np.repeat(ttl, found.rows)
        bad_rows = np.zeros(len(keys), np.bool_)
        columns: dict[str, pa.Array] = {}
        if any(name in self.scan.key for name in output.names):
            columns.update(self._decoded_keys(keys))
        for item in output:
            if item.name in columns:
                continue
            if item.name in found.columns:
                stored = found.columns[item.name]
                columns[item.name] = self._decoded_field(item, stored, keys, bad_rows)
            elif item.name == KEY:
                columns[KEY] = decode(KEY, keys, item.type)
            else:
                seconds = pa.array((ttl + 999) // 1000, mask=ttl < 0)
                columns[TTL] = seconds.cast(item.type)
        batch = pa.RecordBatch.from_arrays([columns[name] for name in output.names], schema=output)
        if bad_rows.any():
            self.counts.dropped_rows += int(bad_rows.sum())
            batch = batch.filter(pa.array(~bad_rows))
        return batch

    def _decoded_keys(self, keys: pa.Array) -> dict[str, pa.Array]:
        items = [self.scan.schema.field(name) for name in self.scan.key]
        try:
            columns = decode_keys(self.keyspace.names(keys), items)
        except DecodeError as error:
            raise DecodeError(
                f"reading table {self.scan.table!r}: a key does not parse, in a batch from "
                f"{keys[0].as_py()!r} to {keys[-1].as_py()!r}: {error}"
            ) from error
        return dict(zip(self.scan.key, columns, strict=True))

    def _decoded_field(
        self, item: pa.Field, stored: pa.Array, keys: pa.Array, bad_rows: Flags
    ) -> pa.Array:
        try:
            column = self.model.decode(item, stored)
        except DecodeError as error:
            bad = unparsable(stored, lambda some: self.model.decode(item, some))
            if self.on_bad_field is OnBadField.ERROR:
                raise DecodeError(
                    f"reading table {self.scan.table!r}: field {item.name!r} of key "
                    f"{keys[bad[0]].as_py()!r} holds {str(stored[bad[0]].as_py())[:60]}, which is not "
                    f"{item.type}; {len(bad)} of {len(keys)} rows are so. Give the schema, or set "
                    f"on.bad.field to null or drop"
                ) from error
            good = np.ones(len(keys), np.bool_)
            good[bad] = False
            if self.on_bad_field is OnBadField.DROP:
                bad_rows[bad] = True
            else:
                self.counts.bad_fields += len(bad)
            kept = pc.if_else(pa.array(good), stored, pa.scalar(None, stored.type))
            return self.model.decode(item, kept)
        if column.null_count and not item.nullable:
            row = int(np.argmax(np.asarray(column.is_null())))
            raise SchemaError(
                f"reading table {self.scan.table!r}: key {keys[row].as_py()!r} has no field "
                f"{item.name!r}, which the schema declares not null"
            )
        return column


def fetch_of(model: Model, scan: Scan) -> Fetch:
    """What asks for the columns of a scan, but for those that are told by a key alone."""
    apart = {*scan.key, *METADATA.names}
    return model.fetch([item for item in scan.output if item.name not in apart])


def is_wrong_type(text: str) -> bool:
    """Whether an error reply says that a key holds another type."""
    return text.startswith("WRONGTYPE") or "wrong type" in text or "wrong Redis type" in text


def _without(keys: pa.Array, found: Found, ttl: Any, drop: Flags) -> tuple[pa.Array, Found, Any]:
    """What was found under the keys that are not dropped."""
    keep = ~drop
    rows = found.rows
    values = pa.array(keep if rows is None else np.repeat(keep, rows))
    columns = {name: column.filter(values) for name, column in found.columns.items()}
    left = Found(columns, {}, found.size, rows=None if rows is None else rows[keep])
    return keys.filter(pa.array(keep)), left, None if ttl is None else ttl[keep]


@dataclass
class _Windows:
    """Cuts pages of keys into requests of ``rows`` keys, which may change from one to the next.

    Keys that have more rows come before new ones, so that they do not heap up.
    """

    pages: Iterator[pa.Array]
    rows: int
    held: list[pa.Array] = field(default_factory=list)
    begun: list[Keys] = field(default_factory=list)

    def go_on(self, keys: pa.Array, after: pa.Array | None) -> None:
        """Take back the keys that have more rows."""
        if after is not None and after.null_count < len(after):
            rows = np.flatnonzero(np.asarray(after.is_valid()))
            pieces = np.split(rows, range(self.rows, len(rows), self.rows))
            self.begun += [Keys(keys, after).take(piece) for piece in pieces]

    def next(self) -> Keys | None:
        if self.begun:
            return self.begun.pop(0)
        while sum(map(len, self.held)) < self.rows and (page := next(self.pages, None)) is not None:
            self.held.append(page)
        if not self.held:
            return None
        keys = pa.concat_arrays(self.held) if len(self.held) > 1 else self.held[0]
        window, rest = keys.slice(0, self.rows), keys.slice(self.rows)
        self.held = [rest] if len(rest) else []
        return Keys(window)
