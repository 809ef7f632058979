"""Spark's Python workers: what they must not pay for again and again."""

from __future__ import annotations

import gc
import sys

_DAEMON = "pyspark.daemon"


def spare_imports() -> None:
    """In a worker of Spark, have garbage collections pass over what was imported.

    Spark's daemon collects after every task and every step of planning: 40 to 100 ms of a core for
    what PyArrow, pandas and we have loaded, where there is no garbage at all. Elsewhere this does
    nothing.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == _DAEMON:
        gc.callbacks.append(_Freezer())


class _Freezer:
    """Takes out of further collections what one has found alive, each time that modules were added.

    Not at every collection: whatever is alive at the moment would stay, if it is part of a cycle.
    """

    def __init__(self) -> None:
        self._modules = 0

    def __call__(self, phase: str, found: dict[str, int]) -> None:
        if phase == "stop" and found["generation"] == 2 and len(sys.modules) > self._modules:
            self._modules = len(sys.modules)
            gc.freeze()
