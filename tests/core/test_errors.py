"""The errors: their tree as drawn, and that they survive the way from a worker."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import connector
from connector import errors
from connector.errors import ConnectorError

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
]


def drawn_tree() -> dict[str, tuple[str | None, bool]]:
    """Each error's parent and whether it is retryable, as the docstring draws them."""
    tree: dict[str, tuple[str | None, bool]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^([│ ]*(?:[├└]── )?)([A-Z]\w+Error)\b(.*)", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            tree[found[2]] = (path[depth - 1] if depth else None, "(retryable)" in found[3])
    return tree


def test_the_tree_is_as_drawn() -> None:
    actual = {}
    for kind in CLASSES:
        parent = next((base.__name__ for base in kind.__bases__ if base in CLASSES), None)
        actual[kind.__name__] = (parent, kind.retryable)
    assert actual == drawn_tree()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_pickle(kind: type[ConnectorError]) -> None:
    error = pickle.loads(pickle.dumps(kind("table 't': what, and what to do")))
    assert type(error) is kind
    assert str(error) == "table 't': what, and what to do"
    assert isinstance(error, ConnectorError)


def test_every_error_is_exported() -> None:
    assert {kind.__name__ for kind in CLASSES} <= set(connector.__all__)
