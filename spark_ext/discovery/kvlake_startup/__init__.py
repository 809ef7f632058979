"""Has plain PySpark sessions push down queries on our tables, from the first time that one is named.

PySpark knows no plugins in the driver's Python, so ``kvlake.pth`` imports this where an interpreter starts.
It must cost next to nothing: it imports nothing, and waits until PySpark's own modules are imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_FORMATS = ("redis", "aerospike")


def watch() -> None:
    """Be told of the import of PySpark's reader and session; once, however often it is called."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


class _Finder:
    """Finds modules as Python does, and has the two of PySpark changed when they have been imported."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        change = _CHANGES.get(name)
        if change is None:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = _Loader(spec, change)  # type: ignore[assignment]
        return spec


class _Loader:
    """Loads a module as its own loader does, which several modules may share, and changes it then."""

    def __init__(self, spec: ModuleSpec, change: Callable[[Any], None]) -> None:
        self._spec, self._change = spec, change
        self._own: Any = spec.loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._own.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._spec.loader = module.__loader__ = self._own  # as if we had not been there
        self._own.exec_module(module)
        self._change(module)


def _change_reader(module: Any) -> None:
    """Look at the format that a reader is given."""
    from functools import wraps

    given = module.DataFrameReader.format

    @wraps(given)
    def format(reader: Any, source: str) -> Any:
        if source in _FORMATS:
            _activate(reader._spark)
        return given(reader, source)

    module.DataFrameReader.format = format


def _change_session(module: Any) -> None:
    """Look for our formats in statements, such as of views and tables that use them."""
    from functools import wraps

    given = module.SparkSession.sql

    @wraps(given)
    def sql(spark: Any, sqlQuery: str, *args: Any, **named: Any) -> Any:
        text = sqlQuery.lower()
        if any(name in text for name in _FORMATS):
            _activate(spark)
        return given(spark, sqlQuery, *args, **named)

    module.SparkSession.sql = sql


def _activate(spark: Any) -> None:
    """Pushdown is a help: where it cannot come into a session, reads go on without it."""
    from py4j.protocol import Py4JError

    try:
        from spark_ext.pushdown import activate

        activate(spark)
    except (ImportError, Py4JError) as error:
        import warnings

        warnings.warn(
            f"kvlake could not bring pushdown into the Spark session: its reads fetch whole tables: {error}",
            stacklevel=3,
        )


_CHANGES = {"pyspark.sql.readwriter": _change_reader, "pyspark.sql.session": _change_session}
