"""Looking up rows by key: ours beside a pipeline of redis-py written by hand, call by call in turn.

Each call asks for other keys, chosen at random; the calls that the cache answers ask for keys that it
has. A contender that decodes gives numbers and texts; the raw one, bytes as they came.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import redis

from benchmarks import server
from benchmarks.settings import Settings
from connector import Store, WriteOptions, open_store

ROWS = 100_000
TABLE = "lookup"
CALLS = 120
"""In a round; fewer where a call has very many keys."""
KEYS_IN_A_ROUND = 200_000

T = TypeVar("T")
Call = Callable[[list[int]], Any]
KINDS: tuple[Callable[[bytes], Any], ...] = (bytes.decode, int, float)


@dataclass(frozen=True)
class Shape:
    """How many keys a call asks for, and how many fields of each."""

    keys: int
    fields: int

    def __str__(self) -> str:
        return f"{self.keys}x{self.fields}"

    @property
    def names(self) -> list[str]:
        return [f"f{i}" for i in range(self.fields)]


SHAPES = (Shape(100, 50), Shape(1, 5), Shape(10_000, 5))
FIELDS = max(shape.fields for shape in SHAPES)


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    with server.start() as running:
        url = running.url
        with open_store(url) as store:
            store.write(TABLE, _batches(rows), WriteOptions(key=("id",)))
        with (
            open_store(url) as plain,
            open_store(url, lookup_cache_rows=max(shape.keys for shape in SHAPES)) as caching,
            redis.Redis.from_url(url, protocol=2) as client,
        ):
            shapes = {
                str(shape): _figures(shape, plain, caching, client, rows, settings.repeats)
                for shape in SHAPES
            }
        return {"server": server.name_of(url), "rows": rows, "shapes": shapes, "absent": []}


def _batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Texts, integers and doubles by turns."""
    random = np.random.default_rng(0)
    for start in range(0, rows, 10_000):
        count = min(10_000, rows - start)
        columns: dict[str, Any] = {"id": np.arange(start, start + count)}
        for i in range(FIELDS):
            numbers = random.integers(0, 1_000_000, count)
            texts = [f"text-{number}" for number in numbers.tolist()] if i % 3 == 0 else None
            columns[f"f{i}"] = texts or (numbers if i % 3 == 1 else numbers / 8)
        yield pa.RecordBatch.from_pydict(columns)


def _figures(
    shape: Shape, plain: Store, caching: Store, client: redis.Redis, rows: int, repeats: int
) -> dict[str, object]:
    names = shape.names
    calls: dict[str, Call] = {
        "ours": lambda keys: plain.lookup(TABLE, keys, names),
        "redis_py_decoded": functools.partial(_decoded, client, names),
        "redis_py_raw": functools.partial(_raw, client, names),
        "ours_cached": lambda keys: caching.lookup(TABLE, keys, names),
    }
    known = list(range(0, rows, max(1, rows // shape.keys)))[: shape.keys]
    _check(calls, known, names)
    times: dict[str, list[float]] = {name: [] for name in calls}
    random = np.random.default_rng(1)
    count = max(1, min(CALLS, KEYS_IN_A_ROUND // shape.keys))
    for round_number in range(repeats + 1):
        for turn in range(count if round_number else 5):
            keys = random.integers(0, rows, shape.keys).tolist()
            for name, call in _from(turn, list(calls.items())):
                started = time.perf_counter()
                call(known if name == "ours_cached" else keys)
                if round_number:
                    times[name].append(time.perf_counter() - started)
    figures = {name: _summary(found) for name, found in times.items()}
    figures["server_alone"] = {"mean_ms": _server_ms(client, calls["redis_py_raw"], shape, rows)}
    print(f"{shape}: {figures}", file=sys.stderr)
    ours = statistics.median(times["ours"])
    return {
        "calls": len(times["ours"]),
        "figures": figures,
        "ratios": {
            f"ours / {name}": round(ours / statistics.median(times[name]), 2)
            for name in ("redis_py_raw", "redis_py_decoded", "ours_cached")
        },
    }


def _from(turn: int, items: list[T]) -> list[T]:
    """The items, another one first at each turn: whoever is first finds the server's caches cold."""
    first = turn % len(items)
    return items[first:] + items[:first]


def _summary(times: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.array(times) * 1000, [50, 99])
    return {"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def _server_ms(client: redis.Redis, call: Call, shape: Shape, rows: int) -> float:
    """What a call costs the server by its own count: its commands, without reading and writing."""
    random = np.random.default_rng(2)
    client.config_resetstat()
    for _ in range(10):
        call(random.integers(0, rows, shape.keys).tolist())
    spent: int = client.info("commandstats")["cmdstat_hmget"]["usec"]
    return round(spent / 10 / 1000, 4)


def _raw(client: redis.Redis, names: list[str], keys: list[int]) -> list[list[bytes | None]]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hmget(f"{TABLE}:{key}", names)
    found: list[list[bytes | None]] = pipeline.execute()
    return found


def _decoded(client: redis.Redis, names: list[str], keys: list[int]) -> list[list[Any]]:
    kinds = [KINDS[i % 3] for i in range(len(names))]
    return [
        [None if value is None else kind(value) for kind, value in zip(kinds, row, strict=True)]
        for row in _raw(client, names, keys)
    ]


def _check(calls: dict[str, Call], keys: list[int], names: list[str]) -> None:
    """All that decode must have the same rows; the cache has them from then on."""
    expected = calls["redis_py_decoded"](keys)
    for name in ("ours", "ours_cached", "ours_cached"):
        found = calls[name](keys).select(names)
        columns = [column.to_pylist() for column in found.columns]
        assert [list(row) for row in zip(*columns, strict=True)] == expected, name
