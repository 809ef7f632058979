"""Writing rows: each to the node that has its key, every reply checked, keys kept for an overwrite."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connector.batching import capped
from connector.codecs import encode, encode_keys
from connector.errors import WriteRejectedError
from connector.jobs import WriteJob, WriteMode, WriteResult, WriteRows
from connector.pace import Pace
from connector.redis.exchange import Answer, Exchange, Links
from connector.redis.expiry import expire_after, expire_by
from connector.redis.keyspace import Keyspace
from connector.redis.link import Link, reply_error
from connector.redis.models.model import Model
from connector.redis.models.sharing import Sharing, Tied
from connector.redis.options import RedisOptions
from connector.redis.replicas import confirm_written
from connector.redis.servers import Rows, Servers
from connector.redis.steps import Request, conditional, plain, script_request, transaction
from connector.rejects import RejectSink
from connector.scan import pack_keys
from connector.schema import check_rows, conform


@dataclass(frozen=True)
class Batch:
    """Rows to be written.

    Attributes:
        keys: their complete keys.
        rows: their columns, without those of the key.
        ttl: when they expire, where a column says so.
    """

    keys: pa.Array
    rows: pa.RecordBatch
    ttl: pa.Array | None

    def take(self, rows: Rows) -> Batch:
        place = pa.array(rows)
        ttl = None if self.ttl is None else self.ttl.take(place)
        return Batch(self.keys.take(place), self.rows.take(place), ttl)


@dataclass(frozen=True)
class Written:
    """What the server said to a batch: the refused rows, and those whose condition did not hold."""

    errors: dict[int, str]
    skipped: int


class RowWriter:
    """Writes the rows of one task.

    Args:
        job: what is written, and how.
        keyspace: the table's keys.
        model: how the rows lie under them.
        servers: who has which key.
        options: sizes of requests, rates.
        doing: what is being done, for messages.
    """

    def __init__(
        self,
        job: WriteJob,
        keyspace: Keyspace,
        model: Model,
        servers: Servers,
        options: RedisOptions,
        doing: str,
    ) -> None:
        self._job = job
        self._keyspace = keyspace
        self._model = model
        self._servers = servers
        self._options = options
        self._doing = doing
        self._sent: dict[Link, deque[Request]] = {}
        self._prepared: set[Link] = set()
        self._rows = self._skipped = 0

    def write(self, batches: Iterable[pa.RecordBatch]) -> WriteResult:
        """Write the batches, and check that the server took every row.

        Raises:
            SchemaError: a null key, one key twice in a batch, or a value that cannot be stored.
            WriteRejectedError: the server refused rows, and they may not be rejected.
        """
        job, options = self._job, self._job.options
        keep_keys = options.mode is WriteMode.OVERWRITE
        written: list[bytes] = []
        pace = Pace(self._options.rows_per_second)
        sink = RejectSink(options.reject_path or "", options.reject_limit, job.table, job.id)
        with Links(self._servers, self._doing) as links, sink:
            exchange = self._exchange(links)
            for batch in self._batches(batches):
                pace.wait(len(batch.keys))
                for answer in exchange.put(batch):
                    self._take(answer, sink)
                if keep_keys:
                    written.append(pack_keys(batch.keys))
            for answer in exchange.drain():
                self._take(answer, sink)
            confirm_written(links, self._options, self._doing)
        return WriteResult(self._rows, tuple(written), self._skipped, sink.rows)

    def _exchange(self, links: Links) -> Exchange[Batch, Written]:
        return Exchange(
            self._servers,
            links,
            self._doing,
            send=self._send,
            receive=self._receive,
            limit_bytes=self._options.inflight_bytes,
            survives=False,
        )

    def _batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Batch]:
        """Batches as they are sent: within the limits of a request, with their keys."""
        job = self._job
        names = [name for name in job.stored.names if name not in job.key]
        for whole in batches:
            fitted = conform(whole, job.schema)
            own = encode_keys([fitted.column(name) for name in job.key], job.key)
            self._check_rows(fitted, own)
            start = 0
            limits = (self._options.max_pipeline_size, self._options.max_pipeline_bytes)
            for piece in capped([fitted], *limits):
                keys = self._keyspace.keys(own.slice(start, piece.num_rows))
                start += piece.num_rows
                ttl = None if job.ttl_column is None else piece.column(job.ttl_column)
                yield Batch(keys, piece.select(names), ttl)

    def _check_rows(self, rows: pa.RecordBatch, keys: pa.Array) -> None:
        """Refuse nulls and repeats in what tells rows apart."""
        job, apart = self._job, self._model.apart if isinstance(self._model, Sharing) else ()
        if apart:
            keys = encode_keys([keys, *(encode(name, rows.column(name)) for name in apart)])
        check_rows(job.table, (*job.key, *apart), rows, keys)

    def _request(self, batch: Batch, asked: bool) -> Request:
        job, options = self._job, self._job.options
        expiry = []
        if batch.ttl is not None:
            expiry = expire_by(job.table, str(job.ttl_column), batch.ttl)
        elif options.ttl_seconds is not None:
            expiry = expire_after(options.ttl_seconds)
        chosen = options.rows is not WriteRows.UPSERT
        # A row must be seen neither missing nor without its expiry.
        atomic = job.replaces or bool(expiry) or asked or isinstance(self._model, Tied)
        steps = self._model.steps(batch.rows, replace=job.replaces, uniform=atomic and not chosen)
        steps += expiry
        if chosen:
            return conditional(batch.keys, steps, exists=options.rows is WriteRows.UPDATE)
        return (transaction if atomic else plain)(batch.keys, steps)

    def _send(self, link: Link, batch: Batch, asked: bool) -> int:
        request = self._request(batch, asked)
        if request.conditional and link not in self._prepared:
            link.send(script_request())
            link.values(1, 1, None)
            self._prepared.add(link)
        link.send(request.request)
        self._sent.setdefault(link, deque()).append(request)
        return len(request.request)

    def _receive(self, link: Link, batch: Batch, asked: bool) -> Written:
        request = self._sent[link].popleft()
        answer = link.statuses(int(request.replies[-1]), request.queued)
        errors: dict[int, str] = {}
        for reply, text in answer.errors.items():
            row = int(np.searchsorted(request.replies, reply, side="right")) - 1
            errors.setdefault(row, text)
        skipped = 0
        if request.conditional:
            skipped = int((answer.numbers == 0).sum()) - len(errors)
        return Written(errors, skipped)

    def _take(self, answer: Answer[Batch, Written], sink: RejectSink) -> None:
        """Count what was written; raise or reject what was refused."""
        keys, said = answer.work.keys, answer.result
        refused = {row: said.errors[row] for row in said.errors if row not in answer.postponed}
        self._skipped += said.skipped
        self._rows += len(keys) - said.skipped - len(said.errors)
        if not refused:
            return
        if self._job.options.reject_path is None:
            raise refusal(self._job.table, keys, refused)
        serious = [text for text in refused.values() if reply_error(text) is not None]
        if serious:
            raise refusal(self._job.table, keys, refused)
        sink.add({keys[row].as_py(): text for row, text in refused.items()})


def refusal(table: str, keys: pa.Array, errors: dict[int, str]) -> Exception:
    """The error for rows that the server refused, by what it said to the first of them."""
    row, text = next(iter(errors.items()))
    return (reply_error(text) or WriteRejectedError)(
        f"writing table {table!r}: the server refused {len(errors)} of {len(keys)} rows of a request, "
        f"such as key {keys[row].as_py()!r}: {text}. Other rows of this write may be stored; writing "
        f"it again is safe"
    )
