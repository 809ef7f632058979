"""Appending rows to streams once, however often the same rows are sent.

What has been appended is marked beside each stream, in its slot, by the script that appends: for a query,
its latest batch, and of every part of that batch how many of its rows. Who sends rows again
is told by the mark which of them are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connector.codecs import encode
from connector.errors import WriteRejectedError
from connector.redis.commands import Text, argument, buffer, bulk, const, joined
from connector.redis.exchange import Answer, Exchange, Links
from connector.redis.keyspace import RESERVED
from connector.redis.link import Link, reply_error
from connector.redis.models.hashes import present_fields
from connector.redis.options import RedisOptions
from connector.redis.replicas import confirm_written
from connector.redis.resp import Ints
from connector.redis.servers import Rows, Servers
from connector.redis.slots import key_slots, slot_tags
from connector.redis.streams.connected import connected

_APPEND = b"""
local batch, part = tonumber(ARGV[1]), ARGV[2]
local mark = redis.call('HMGET', KEYS[2], 'batch', part)
local marked, done = tonumber(mark[1] or '-1'), tonumber(mark[2] or '0')
if marked > batch then
  return redis.error_reply('ERR batch ' .. marked .. ' has been appended already')
end
if marked < batch then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'batch', batch)
  done = 0
end
if done < tonumber(ARGV[3]) then
  return redis.error_reply('ERR the rows before these are not there')
end
local at, appended, failed = 5, 0, nil
while at <= #ARGV and not failed do
  local row, words = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  if row >= done then
    local added = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, at + 2, at + 1 + words))
    if type(added) == 'table' and added.err then
      failed = added
    else
      done, appended = row + 1, appended + 1
    end
  end
  at = at + 2 + words
end
redis.call('HSET', KEYS[2], part, done)
redis.call('EXPIRE', KEYS[2], ARGV[4])
return failed or appended
"""
"""Takes batch, part, how many rows must be there already, seconds to keep the mark, and rows: the number
of each in its part, how many arguments it has, and these. Answers how many it had to append."""


@dataclass(frozen=True)
class Mark:
    """Whose rows are appended.

    Attributes:
        query: names the writer, the same one after it was started again.
        batch: number of its batch; batches rise.
        part: number of a part of the batch. A part that is sent again has the same rows in the same order.
        ttl_seconds: how long the mark is kept behind its last batch.
    """

    query: str
    batch: int
    part: int
    ttl_seconds: int

    def keys(self, streams: pa.Array) -> pa.Array:
        """Where the marks of some streams are: each in the slot of its stream."""
        tags = pa.array(slot_tags(), pa.binary()).take(pa.array(key_slots(streams)))
        opening, middle = f"{RESERVED}appended:{{", f"}}:{self.query}:"
        return joined([const(opening.encode()), tags, const(middle.encode()), streams])


@dataclass(frozen=True)
class Pieces:
    """Calls of the script, each for rows of one stream.

    Attributes:
        keys: the streams.
        calls: the calls as they are sent.
        rows: how many rows each has.
    """

    keys: pa.Array
    calls: pa.Array
    rows: Ints

    def take(self, rows: Rows) -> Pieces:
        place = pa.array(rows)
        return Pieces(self.keys.take(place), self.calls.take(place), self.rows[rows])


@dataclass(frozen=True)
class Appended:
    """What the server said: how many rows of each call were not there yet, and the refused calls."""

    numbers: Ints
    errors: dict[int, str]


def append_rows(
    label: str,
    mark: Mark,
    options: RedisOptions,
    batches: Iterable[tuple[pa.Array, pa.RecordBatch]],
) -> tuple[int, int]:
    """Append batches of rows, each with the stream that every row goes to.

    Args:
        label: the table or stream, for messages.
        mark: whose rows they are.
        options: of the store.
        batches: keys of streams, and the rows for them.

    Returns:
        How many rows there were, and how many of them had not been appended before.

    Raises:
        WriteRejectedError: the server refused rows.
        StoreError: a server was lost; what it had acknowledged may be lost with it: append again.
    """
    doing = f"appending to {label!r} in {options.location}"
    return Appender(label, mark, connected(options), options, doing).append(batches)


class Appender:
    """Appends the rows of one part of a batch.

    Args:
        label: the table or stream, for messages.
        mark: whose rows they are.
        servers: who has which key.
        options: sizes of requests, and how many replicas to wait for.
        doing: what is being done, for messages.
    """

    def __init__(
        self, label: str, mark: Mark, servers: Servers, options: RedisOptions, doing: str
    ) -> None:
        self._label = label
        self._mark = mark
        self._servers = servers
        self._options = options
        self._doing = doing
        self._sent: dict[bytes, int] = {}  # the number behind the last row that each stream got
        self._numbered = 0
        self._appended = 0

    def append(self, batches: Iterable[tuple[pa.Array, pa.RecordBatch]]) -> tuple[int, int]:
        """See ``append_rows``."""
        with Links(self._servers, self._doing) as links:
            exchange: Exchange[Pieces, Appended] = Exchange(
                self._servers,
                links,
                self._doing,
                send=_send,
                receive=_receive,
                limit_bytes=self._options.inflight_bytes,
                survives=False,
            )
            for streams, rows in batches:
                for pieces in self._pieces(streams, rows):
                    for answer in exchange.put(pieces):
                        self._take(answer)
            for answer in exchange.drain():
                self._take(answer)
            confirm_written(links, self._options, self._doing)
        return self._numbered, self._appended

    def _pieces(self, streams: pa.Array, rows: pa.RecordBatch) -> Iterator[Pieces]:
        """The rows as calls, those of a stream together, in requests of bounded size."""
        texts, words = self._texts(rows)
        coded = streams.dictionary_encode()
        codes = np.asarray(coded.indices)
        order = np.argsort(codes, kind="stable")
        most = self._most_rows(texts)
        starts = _starts(codes[order], most)
        sizes = np.diff(np.append(starts, len(order)))
        keys = coded.dictionary.take(pa.array(codes[order[starts]]))
        last = self._numbered + order[starts + sizes - 1] + 1
        lists = _joined_runs(texts.take(pa.array(order)), starts)
        totals = np.add.reduceat(words[order], starts)
        calls = self._calls(keys, self._before(keys, last), lists, totals)
        whole = Pieces(keys, calls, sizes)
        self._numbered += len(order)
        of_request = (np.cumsum(sizes) - 1) // most
        for cut in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(of_request)) + 1):
            yield whole.take(cut)

    def _texts(self, rows: pa.RecordBatch) -> tuple[pa.Array, Ints]:
        """Every row as arguments of the script, and how many these are."""
        columns = {name.encode(): encode(name, rows.column(name)) for name in rows.schema.names}
        nulls = np.zeros(rows.num_rows, np.int64)
        for column in columns.values():
            nulls += np.asarray(column.is_null())
        parts, count = present_fields(columns, nulls)
        counts = np.broadcast_to(np.asarray(count, np.int64), rows.num_rows)
        numbers = np.arange(self._numbered, self._numbered + rows.num_rows)
        texts = joined([*argument(_text(numbers)), *argument(_text(counts)), *parts])
        return texts, counts + 2

    def _most_rows(self, texts: pa.Array) -> int:
        """How many rows a request may have."""
        row_bytes = max(1, int(texts.nbytes) // max(1, len(texts)))
        limit = self._options.max_pipeline_bytes // row_bytes
        return max(1, min(self._options.max_pipeline_size, limit))

    def _before(self, keys: pa.Array, last: Ints) -> Ints:
        """How many of the part's rows must have gone to each stream before a call."""
        before = np.zeros(len(keys), np.int64)
        for i, key in enumerate(keys.to_pylist()):
            before[i] = self._sent.get(key, 0)
            self._sent[key] = int(last[i])
        return before

    def _calls(self, keys: pa.Array, before: Ints, lists: pa.Array, words: Ints) -> pa.Array:
        mark = self._mark
        given = bulk(b"%d" % mark.batch) + bulk(b"%d" % mark.part)
        opening = b"\r\n" + bulk(b"EVAL") + bulk(_APPEND) + bulk(b"2")
        parts: list[Text] = [const(b"*"), _text(words + 9), const(opening)]
        parts += [*argument(keys), *argument(mark.keys(keys)), const(given)]
        parts += [*argument(_text(before)), const(bulk(b"%d" % mark.ttl_seconds)), lists]
        return joined(parts)

    def _take(self, answer: Answer[Pieces, Appended]) -> None:
        said, postponed = answer.result, answer.postponed
        refused = {row: text for row, text in said.errors.items() if row not in postponed}
        if refused:
            row, text = next(iter(refused.items()))
            raise (reply_error(text) or WriteRejectedError)(
                f"{self._doing}: rows for stream {answer.work.keys[row].as_py()!r} were refused: {text}. "
                f"Those before them may be there; appending the batch again is safe"
            )
        self._appended += int(said.numbers.sum())


def _send(link: Link, pieces: Pieces, asked: bool) -> int:
    request = buffer(joined([pieces.calls, const(b"")]))
    link.send(request)
    size: int = request.nbytes
    return size


def _receive(link: Link, pieces: Pieces, asked: bool) -> Appended:
    answer = link.statuses(len(pieces.keys))
    return Appended(answer.numbers, answer.errors)


def _starts(codes: Ints, most: int) -> Ints:
    """Where runs of equal codes begin, a new one after every ``most`` rows; shape (runs,)."""
    first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    sizes = np.diff(np.append(first, len(codes)))
    within = np.arange(len(codes)) - np.repeat(first, sizes)
    found: Ints = np.flatnonzero(within % most == 0)
    return found


def _joined_runs(texts: pa.Array, starts: Ints) -> pa.Array:
    """The texts of each run, one after the other: the same bytes, cut in other places."""
    _, places, data = texts.buffers()
    ends = np.frombuffer(places, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    cuts = np.append(ends[starts], ends[-1])
    return pa.BinaryArray.from_buffers(pa.binary(), len(starts), [None, pa.py_buffer(cuts), data])


def _text(numbers: Ints) -> pa.Array:
    return pa.array(numbers).cast(pa.string()).view(pa.binary())
