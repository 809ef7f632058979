"""``kvlake inspect``, ``plan``, ``copy`` and ``bench``."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from connector.errors import OptionError
from connector.jobs import WriteMode, WriteOptions
from connector.options import masked_url
from connector.progress import progress
from connector.registry import is_store
from connector.source import Source
from connector.store import StoreSource
from loaders.cli.opening import add_source, opened_source, opened_store, url_of
from loaders.cli.output import Found

_LONGEST = 60  # of a value that is shown


def add_commands(commands: Any) -> None:
    """The commands of this module."""
    inspect = commands.add_parser("inspect", help="columns, size and some rows of a table")
    add_source(inspect)
    inspect.add_argument("--rows", type=int, default=5, help="how many to show")
    inspect.set_defaults(run=_inspect)
    plan = commands.add_parser("plan", help="the partitions that a table would be read by")
    add_source(plan)
    plan.set_defaults(run=_plan)
    copy = commands.add_parser("copy", help="a table into another store")
    add_source(copy)
    copy.add_argument("to_url", help="of the other store; env:NAME for the environment's")
    copy.add_argument("to_table", nargs="?", help="by default the same name")
    copy.add_argument("--overwrite", action="store_true", help="end with these rows alone")
    copy.set_defaults(run=_copy)
    bench = commands.add_parser("bench", help="how fast a table is read, by one process")
    add_source(bench)
    bench.add_argument("--seconds", type=float, default=5, help="for about how long")
    bench.set_defaults(run=_bench)


def _inspect(given: argparse.Namespace) -> Found:
    with opened_source(given, limit=given.rows) as source:
        sample = pa.Table.from_batches(
            [*_first(_batches(source), given.rows)], schema=source.schema
        )
        known = source.statistics() if isinstance(source, StoreSource) else None
        told: dict[str, Any] = {"fingerprint": source.fingerprint, "key": list(source.key)}
        if known is not None:
            told |= {"rows": known.rows, "rows are exact": known.exact}
            told["bytes of Arrow memory"] = int(known.rows * sum(known.column_bytes.values()))
        told["columns"] = [{"name": item.name, "type": str(item.type)} for item in source.schema]
        told["sample"] = [
            {name: _short(value) for name, value in row.items()} for row in sample.to_pylist()
        ]
        return Found(told)


def _plan(given: argparse.Namespace) -> Found:
    with opened_source(given) as source:
        parts = source.partitions()
        told = [{"partition": part.index, "reads": _short(part, 200)} for part in parts]
        return Found({"count": len(parts), "partitions": told})


def _copy(given: argparse.Namespace) -> Found:
    if given.table is not None and not is_store(url_of(given.url)):  # files have no table
        given.table, given.to_url, given.to_table = None, given.table, given.to_url
    to = url_of(given.to_url)
    if not is_store(to):
        raise OptionError(f"{masked_url(to)} is no store to copy to")
    name = given.to_table or given.table
    if name is None:
        raise OptionError("name the table to copy to")
    with opened_source(given) as source, opened_store(to, []) as store:
        mode = WriteMode.OVERWRITE if given.overwrite else WriteMode.APPEND
        read = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal read
            for batch in _batches(source):
                read += batch.num_rows
                yield batch

        batches: Iterable[pa.RecordBatch] = counted()
        if sys.stderr.isatty():
            batches = progress(batches, f"copying {name}")
        options = WriteOptions(key=tuple(given.key or source.key), mode=mode)
        written = store.write(name, batches, options).rows
        return Found({"table": name, "read": read, "written": written}, good=read == written)


def _bench(given: argparse.Namespace) -> Found:
    with opened_source(given) as source:
        rows = size = batches = 0
        began = time.perf_counter()
        for batch in itertools.chain.from_iterable(_batches(source) for _ in itertools.count()):
            rows, size, batches = rows + batch.num_rows, size + batch.nbytes, batches + 1
            if time.perf_counter() - began >= given.seconds:
                break
        seconds = time.perf_counter() - began
        return Found(
            {
                "rows": rows,
                "batches": batches,
                "seconds": round(seconds, 3),
                "rows a second": round(rows / seconds),
                "megabytes of Arrow memory a second": round(size / seconds / 1e6, 1),
            }
        )


def _batches(source: Source) -> Iterator[pa.RecordBatch]:
    return (batch for part in source.partitions() for batch in source.read(part))


def _first(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    while rows > 0 and (batch := next(batches, None)) is not None:
        yield batch.slice(0, rows)
        rows -= batch.num_rows


def _short(value: object, longest: int = _LONGEST) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
