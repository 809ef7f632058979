"""Timing contenders in turn: A B C A B C ..., so that a drift of the machine meets all of them."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping

Contender = Callable[[], float]
"""Does the work once and returns its rate in rows per second."""


def timed(work: Callable[[], int]) -> Contender:
    """The rate of work that returns how many rows it was."""

    def run() -> float:
        started = time.perf_counter()
        rows = work()
        return rows / (time.perf_counter() - started)

    return run


def in_turn(contenders: Mapping[str, Contender], repeats: int) -> dict[str, dict[str, object]]:
    """Rows per second of each contender: once to warm up, then ``repeats`` counted rounds."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(repeats + 1):
        for name, work in contenders.items():
            found = work()
            print(f"{name}: {found:,.0f} rows/s", file=sys.stderr)
            if round_number:
                rates[name].append(found)
    return {name: summary(found) for name, found in rates.items()}


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
