"""Options as Spark carries them, parsed."""

from __future__ import annotations

from collections.abc import Mapping

from connector.errors import OptionError
from connector.options import Options, parse_options
from connector.registry import store_class
from spark_ext.options import TableOptions
from spark_ext.streaming.options import StreamOptions


def parse_table_options(scheme: str, given: Mapping[str, object]) -> tuple[TableOptions, Options]:
    """The options of a table, and those of the store that serves the scheme.

    Raises:
        OptionError: an option is unknown, missing or malformed.
        MissingDependencyError: the store's client is not installed.
    """
    table, store = parse_options(given, TableOptions, store_class(scheme).options_class)
    assert isinstance(table, TableOptions)
    return table, store


def parse_all_options(
    scheme: str, given: Mapping[str, object]
) -> tuple[TableOptions, StreamOptions, Options]:
    """Those of ``parse_table_options`` and, between them, those of streaming queries."""
    kinds = TableOptions, StreamOptions, store_class(scheme).options_class
    table, streams, store = parse_options(given, *kinds)
    assert isinstance(table, TableOptions)
    assert isinstance(streams, StreamOptions)
    return table, streams, store


def table_name(table: TableOptions, store: Options) -> str:
    """The table's name; of one that is read by a pattern of keys, the pattern."""
    name = table.table or getattr(store, "keys_pattern", None)
    if name is None:
        raise OptionError("option 'table' is missing: name of the table")
    return str(name)
