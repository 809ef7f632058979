"""Errors as Spark's users see them: Spark puts the whole traceback of Python code into its message."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from connector.errors import ConnectorError

P = ParamSpec("P")
R = TypeVar("R")


def concise(called: Callable[P, R]) -> Callable[P, R]:
    """Leave out where in our code an error of ours came from; what it says is meant for users."""

    @functools.wraps(called)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return called(*args, **kwargs)
        except ConnectorError as error:
            raise error.with_traceback(None) from None

    return run
