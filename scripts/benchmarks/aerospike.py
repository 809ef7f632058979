"""Aerospike: reading and writing records of 5 bins, beside the Java client and the bare official one.

The server is the one that the command line names; the case's own tables are written to its namespace
and removed in the end. Every contender meets the same warm records. The Java client keeps nothing of
what it scans; the bare loops of the official client do what a user would write with it: a query per
process into lists, of which Arrow columns are made, and batches of writes.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

import aerospike

from benchmarks import spark_work
from benchmarks.aerospike_java import built, java_scan
from benchmarks.aerospike_lookup import lookups
from benchmarks.aerospike_place import QTY, TABLE, Place, table_of
from benchmarks.aerospike_work import (
    read_bare,
    read_ours,
    read_then_filter,
    write_bare,
    write_ours,
)
from benchmarks.settings import Settings
from benchmarks.tables import BATCH_ROWS
from benchmarks.timing import Contender, in_turn, rate, timed
from connector import TableNotFoundError, WriteOptions, open_store

ROWS = 1_000_000
PROCESSES = 2
TWO_BINS = ("qty", "price")
BLOCKS = f"{TABLE}_blocks"
"""The same rows, kept as record batches."""
WANTED_QTY = 7
"""That of 1% of the rows."""
INDEX = "kvlake_bench_qty"
FINEST_FACTOR = 15
"""The partition factor of 32,768 partitions."""

Work = Callable[..., int]


class Workers:
    """Processes that do the shares of a work side by side, each always the same one.

    Args:
        place: the server.
        rows: of the table; every rate is of these, also that of a work which keeps a few of them.
        stack: ends the processes.
    """

    def __init__(self, place: Place, rows: int, stack: ExitStack) -> None:
        context = multiprocessing.get_context("spawn")
        pools = [ProcessPoolExecutor(1, context) for _ in range(PROCESSES)]
        self._place = place
        self._rows = rows
        self._pools = [stack.enter_context(pool) for pool in pools]

    def contender(
        self, work: Work, processes: int, *, matching: int | None = None, **more: Any
    ) -> Contender:
        """The rate of a work divided among processes, which together keep ``matching`` rows, or all."""
        expected = self._rows if matching is None else matching

        def run() -> int:
            parts = [
                pool.submit(functools.partial(work, self._place, part, processes, **more))
                for part, pool in enumerate(self._pools[:processes])
            ]
            found = sum(part.result() for part in parts)
            assert found == expected, f"{work.__name__} met {found} rows"
            return self._rows

        return timed(run)


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    place = Place.of(settings.url)
    rows = settings.rows_or(ROWS)
    with ExitStack() as stack:
        absent = []
        stack.enter_context(_tables(place))
        with open_store(place.url, model="arrow") as store:
            store.write(BLOCKS, table_of(rows).to_batches(BATCH_ROWS), WriteOptions(key=("id",)))
        workers = Workers(place, rows, stack)
        writes, reads = _writes(workers, rows), _reads(workers)
        if settings.peers is not None and built(settings.peers):
            java = stack.enter_context(java_scan(settings.peers, place, TABLE, rows))
            reads |= {f"java_scan_{n}": java.contender(n) for n in (1, PROCESSES)}
        else:
            absent.append("java client")
        through_spark = stack.enter_context(spark_work.ours(place.url, table_of(rows), TABLE))
        if through_spark:
            writes["spark_write"] = timed(through_spark["spark_write"])
            reads["spark_read"] = timed(through_spark["spark_read"])
        else:
            absent.append("pyspark")
        # Apart, as Spark ends Python workers that had nothing to do for a minute.
        figures = in_turn(writes, settings.repeats) | in_turn(reads, settings.repeats)
        with _index(place):
            figures |= in_turn(_filtered(workers, rows), settings.repeats)
        return {
            "server": place.server(),
            "rows": rows,
            "figures": figures,
            "ratios": ratios(figures),
            "planning_seconds": planning_seconds(place, settings.repeats),
            "lookup": lookups(place, rows, settings.repeats),
            "absent": absent,
        }


def ratios(figures: dict[str, dict[str, object]]) -> dict[str, float]:
    """Ours over each peer that ran; the Java client counts as it was faster."""
    rates = {name: rate(figures, name) for name in figures}
    javas = [found for name, found in rates.items() if name.startswith("java_scan")]
    if javas:
        rates["java_scan"] = max(javas)
    against = {
        "read_1": ("java_scan", "read_bare_1"),
        "read_2": ("java_scan", "read_bare_2", "read_1"),
        "read_2_bins": ("read_2", "read_bare_2_bins"),
        "read_blocks_1": ("read_1",),
        "write_1": ("write_bare_1",),
        "spark_write": ("write_bare_2",),
        "spark_read": ("java_scan", "read_bare_2"),
        "filter_pushed": ("filter_afterwards",),
        "filter_by_index": ("filter_afterwards", "filter_pushed"),
    }
    return {
        f"{mine} / {other}": round(rates[mine] / rates[other], 2)
        for mine, others in against.items()
        for other in others
        if mine in rates and other in rates
    }


def planning_seconds(place: Place, repeats: int) -> float:
    """The median time in which the finest plan is made, by a store that is connected."""
    spent = []
    with open_store(place.url, partition_factor=FINEST_FACTOR) as store:
        source = store.source(TABLE)
        for _ in range(repeats):
            started = time.perf_counter()
            assert len(source.partitions()) == 2**FINEST_FACTOR
            spent.append(time.perf_counter() - started)
    return round(statistics.median(spent), 4)


def _reads(workers: Workers) -> dict[str, Contender]:
    each = (1, PROCESSES)
    return {
        **{f"read_{n}": workers.contender(read_ours, n) for n in each},
        **{f"read_bare_{n}": workers.contender(read_bare, n) for n in each},
        "read_blocks_1": workers.contender(read_ours, 1, table=BLOCKS),
        "read_2_bins": workers.contender(read_ours, PROCESSES, columns=TWO_BINS),
        "read_bare_2_bins": workers.contender(read_bare, PROCESSES, names=TWO_BINS),
    }


def _writes(workers: Workers, rows: int) -> dict[str, Contender]:
    return {
        "write_1": workers.contender(write_ours, 1, rows=rows),
        "write_bare_1": workers.contender(write_bare, 1, rows=rows),
        "write_bare_2": workers.contender(write_bare, PROCESSES, rows=rows),
    }


def _filtered(workers: Workers, rows: int) -> dict[str, Contender]:
    """Reading 1% of the rows: the server finds them by an expression or an index, or we afterwards."""
    kept = functools.partial(
        workers.contender, processes=PROCESSES, matching=len(range(WANTED_QTY, rows, QTY))
    )
    wanted = f"qty = {WANTED_QTY}"
    return {
        "filter_afterwards": kept(read_then_filter, qty=WANTED_QTY),
        "filter_pushed": kept(read_ours, filter=wanted, sindex="off"),
        "filter_by_index": kept(read_ours, filter=wanted, sindex=INDEX),
    }


@contextlib.contextmanager
def _tables(place: Place) -> Iterator[None]:
    """Tables that are not there before and after, so that a run measures what it wrote itself."""

    def empty() -> None:
        for table in (TABLE, BLOCKS):
            with open_store(place.url) as store, contextlib.suppress(TableNotFoundError):
                store.drop(table)

    empty()
    try:
        yield
    finally:
        empty()


@contextlib.contextmanager
def _index(place: Place) -> Iterator[None]:
    """An index of ``qty``, once it has all records."""
    with place.client() as client:
        client.index_single_value_create(
            place.namespace, TABLE, "qty", aerospike.INDEX_NUMERIC, INDEX
        )
        try:
            yield
        finally:
            client.index_remove(place.namespace, INDEX)
