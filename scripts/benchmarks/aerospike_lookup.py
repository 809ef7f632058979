"""Looking up rows of an Aerospike table: ours beside the official client's batch read, call by call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.aerospike_place import BINS, TABLE, Place
from connector import open_store

KEYS = 1000
CALLS = 40
"""In a round."""

Call = Callable[[list[int]], Any]


def lookups(place: Place, rows: int, repeats: int) -> dict[str, object]:
    """Milliseconds of a call that asks for keys chosen at random, other ones at each turn.

    The raw contender gives the records as they came; the decoded one makes Arrow columns of them.
    """
    asked = min(KEYS, rows)
    random = np.random.default_rng(1)
    with open_store(place.url) as store, place.client() as client:
        calls: dict[str, Call] = {
            "ours": lambda keys: store.lookup(TABLE, keys),
            "bare_decoded": lambda keys: _decoded(client, place.namespace, keys),
            "bare_raw": lambda keys: _raw(client, place.namespace, keys),
        }
        _check(calls, list(range(asked)))
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(repeats * CALLS):
            keys = random.choice(rows, asked, replace=False).tolist()
            # Whoever is first finds the server's caches cold.
            order = [*calls][turn % len(calls) :] + [*calls][: turn % len(calls)]
            for name in order:
                started = time.perf_counter()
                calls[name](keys)
                times[name].append((time.perf_counter() - started) * 1000)
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        "keys": asked,
        "calls": repeats * CALLS,
        "figures": {
            name: {"p50_ms": round(medians[name], 3), "p99_ms": round(np.percentile(found, 99), 3)}
            for name, found in times.items()
        },
        "ratios": {
            f"ours / {name}": round(medians["ours"] / medians[name], 2)
            for name in ("bare_decoded", "bare_raw")
        },
    }


def _raw(client: Any, namespace: str, keys: list[int]) -> list[Any]:
    asked = [(namespace, TABLE, key) for key in keys]
    found: list[Any] = client.batch_read(asked, [*BINS]).batch_records
    return found


def _decoded(client: Any, namespace: str, keys: list[int]) -> pa.Table:
    bins = [answer.record[2] for answer in _raw(client, namespace, keys)]
    columns = [[one[name] for one in bins] for name in BINS]
    return pa.table([keys, *columns], ["id", *BINS])


def _check(calls: dict[str, Call], keys: list[int]) -> None:
    """Those that decode have the same rows."""
    assert calls["ours"](keys).to_pydict() == calls["bare_decoded"](keys).to_pydict()
