"""Timing contenders in turn: A B C A B C ..., so that a drift of the machine meets all of them."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping

Contender = Callable[[], float]
"""Does the work once and returns its rate in rows per second."""


_WARM_UP_SECONDS = 20.0
"""After these no further round is begun to warm up."""

_FASTER = 1.05
_STILL_ROUNDS = 3
"""So many rounds, one after the other, that were not faster than before: noise alone makes one."""


def timed(work: Callable[[], int]) -> Contender:
    """The rate of work that returns how many rows it was."""

    def run() -> float:
        started = time.perf_counter()
        rows = work()
        return rows / (time.perf_counter() - started)

    return run


def in_turn(contenders: Mapping[str, Contender], repeats: int) -> dict[str, dict[str, object]]:
    """Rows per second of each contender: warmed up, and then ``repeats`` counted rounds."""
    for name, work in contenders.items():
        _warm_up(name, work)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, work in contenders.items():
            rates[name].append(_told(name, work()))
    return {name: summary(found) for name, found in rates.items()}


def _warm_up(name: str, work: Contender) -> None:
    """Run until it gets no faster: a JVM compiles its code bit by bit, the more the longer it runs."""
    deadline = time.perf_counter() + _WARM_UP_SECONDS
    best, still = 0.0, 0
    while still < _STILL_ROUNDS:
        found = _told(name, work())
        still = 0 if found > best * _FASTER else still + 1
        best = max(best, found)
        if time.perf_counter() > deadline:
            return


def _told(name: str, rate: float) -> float:
    print(f"{name}: {rate:,.0f} rows/s", file=sys.stderr)
    return rate


def summary(rates: list[float]) -> dict[str, object]:
    """Median and all values, rounded to rows per second."""
    return {"rows_per_second": round(statistics.median(rates)), "all": [round(r) for r in rates]}


def rate(figures: Mapping[str, Mapping[str, object]], name: str) -> float:
    """A contender's median rate."""
    found = figures[name]["rows_per_second"]
    assert isinstance(found, int)
    return found


def over(
    figures: Mapping[str, Mapping[str, object]], mine: str, others: Iterable[str]
) -> dict[str, float]:
    """A contender's rate over that of each other one that ran."""
    return {
        f"{mine} / {other}": round(rate(figures, mine) / rate(figures, other), 2)
        for other in others
        if other in figures
    }
