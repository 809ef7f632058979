"""Replies of HMGET to Arrow columns: ours beside hiredis and ``pa.array``, on the same bytes.

Both are given the replies of one request after the other, as they arrive, and both cast the bytes
to the columns' types by the same kernels. Python's garbage collector runs as it does by default;
what it costs hiredis's lists shows beside the same without it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import hiredis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.settings import Settings
from benchmarks.tables import FIELDS, table_of
from benchmarks.timing import Contender, in_turn, rate, timed
from connector.codecs import decode, encode
from connector.redis.options import RedisOptions
from connector.redis.resp import Lines, line_ends, parse_values

ROWS = 200_000
WINDOW_ROWS = RedisOptions().max_pipeline_size
NULL_SHARES = {"": 0.0, "_with_nulls": 0.2}


@dataclass(frozen=True)
class Replies:
    """The recorded replies to one request.

    Attributes:
        rows: how many there are.
        data: their bytes.
    """

    rows: int
    data: bytes


Decoder = Callable[[Iterable[Replies], pa.Schema], Iterator[pa.RecordBatch]]


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    contenders: dict[str, Contender] = {}
    for suffix, share in NULL_SHARES.items():
        table = with_nulls(table_of(rows).select(FIELDS), share)
        recorded = [replies_of(batch) for batch in table.to_batches(WINDOW_ROWS)]
        for name, decoder in (("ours", ours), ("hiredis", peer)):
            found = pa.Table.from_batches(decoder(recorded, table.schema))
            assert found.equals(table), f"{name} decodes other rows"
            work = _counting(decoder, recorded, table.schema)
            contenders[f"{name}{suffix}"] = timed(work)
            contenders[f"{name}{suffix}_without_gc"] = timed(_without_gc(work))
    figures = in_turn(contenders, settings.repeats)
    pairs = [(name, name.replace("ours", "hiredis")) for name in figures if name.startswith("ours")]
    return {
        "rows": rows,
        "rows_in_a_request": WINDOW_ROWS,
        "null_share": NULL_SHARES["_with_nulls"],
        "figures": figures,
        "ratios": {
            f"{mine} / {other}": round(rate(figures, mine) / rate(figures, other), 2)
            for mine, other in pairs
        },
        "absent": [],
    }


def ours(recorded: Iterable[Replies], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The library's way: lines, places of the values, columns."""
    width = len(schema)
    for replies in recorded:
        data = np.frombuffer(replies.data, np.uint8)
        lines = Lines(data, line_ends(data))
        values = parse_values(lines, replies.rows, width, b"*%d" % width)
        assert values is not None
        yield _batch(values.columns(), schema)


def peer(recorded: Iterable[Replies], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The reader of hiredis, its lists turned into columns."""
    reader = hiredis.Reader()
    for replies in recorded:
        reader.feed(replies.data)
        rows = [reader.gets() for _ in range(replies.rows)]
        columns = zip(*rows, strict=True)
        yield _batch([pa.array(column, pa.binary()) for column in columns], schema)


def _batch(columns: list[pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    found = [
        decode(item.name, column, item.type) for item, column in zip(schema, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(found, schema=schema)


def with_nulls(table: pa.Table, share: float) -> pa.Table:
    """The table with a share of each column's values replaced by nulls, here and there."""
    random = np.random.default_rng(2)
    kept = [pa.array(random.random(table.num_rows) >= share) for _ in table.column_names]
    columns = [pc.if_else(keep, table[i], None) for i, keep in enumerate(kept)]
    return pa.table(columns, schema=table.schema)


def replies_of(batch: pa.RecordBatch) -> Replies:
    """What a server answers when it is asked for these rows."""
    stored = [encode(name, batch[name]).to_pylist() for name in batch.schema.names]
    header = b"*%d\r\n" % len(stored)
    data = b"".join(header + b"".join(map(_bulk, values)) for values in zip(*stored, strict=True))
    return Replies(batch.num_rows, data)


def _bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def _counting(decoder: Decoder, recorded: list[Replies], schema: pa.Schema) -> Callable[[], int]:
    return lambda: sum(batch.num_rows for batch in decoder(recorded, schema))


def _without_gc(work: Callable[[], int]) -> Callable[[], int]:
    def run() -> int:
        gc.disable()
        try:
            return work()
        finally:
            gc.enable()

    return run
