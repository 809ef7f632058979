"""What commands print: JSON, or names and values and tables by rich."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.errors import MissingDependencyError


@dataclass(frozen=True)
class Found:
    """What a command found out.

    Attributes:
        told: names and values; lists of mappings are tables.
        good: whether all is well.
    """

    told: Mapping[str, Any]
    good: bool = True


def shown(told: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was found.

    Raises:
        MissingDependencyError: rich is not installed.
    """
    if as_json:
        print(json.dumps(told, indent=2, default=str))
        return
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "kvlake prints by rich: pip install 'kvlake[cli]', or use --json"
        ) from error
    console = Console(soft_wrap=True)
    for name, value in told.items():
        if not (isinstance(value, list) and value and isinstance(value[0], Mapping)):
            console.print(f"[bold]{escape(name)}[/bold]: {escape(_text(value))}")
            continue
        table = Table(title=escape(name), title_justify="left")
        columns = list(dict.fromkeys(key for row in value for key in row))
        for column in columns:
            numbers = all(isinstance(row.get(column), int | float | None) for row in value)
            table.add_column(escape(column), justify="right" if numbers else "left")
        for row in value:
            table.add_row(*(escape(_text(row.get(column))) for column in columns))
        console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return str(value)
