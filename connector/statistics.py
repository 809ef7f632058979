"""How large a table is, as far as a store can tell without reading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.types as pt

_UNSEEN_BYTES = 64.0  # of a value of any length, where there was no row to look at


@dataclass(frozen=True)
class Statistics:
    """How large a table is: to plan a query by, not to answer one, which ``Store.count`` is for.

    Attributes:
        rows: how many rows it has; where that is estimated, rather too many than too few.
        column_bytes: for each column that is read, how many bytes of Arrow memory a value of it takes
            on average.
        exact: whether there were exactly so many rows when they were counted.
    """

    rows: int
    column_bytes: Mapping[str, float]
    exact: bool


def varying(schema: pa.Schema) -> list[str]:
    """The columns whose values differ in size, so that rows have to be looked at."""
    return [item.name for item in schema if _fixed_bytes(item.type) is None]


def column_bytes(schema: pa.Schema, sample: Iterable[pa.RecordBatch]) -> dict[str, float]:
    """How many bytes a value of each column takes on average.

    Args:
        schema: the columns.
        sample: some rows, with at least the ``varying`` ones of them.
    """
    rows, held = 0, dict.fromkeys(varying(schema), 0)
    for batch in sample:
        rows += batch.num_rows
        for name in held:
            held[name] += batch.column(name).nbytes
    seen = {name: size / rows if rows else _UNSEEN_BYTES for name, size in held.items()}
    fixed = {item.name: _fixed_bytes(item.type) or 0.0 for item in schema}
    return fixed | seen


def _fixed_bytes(kind: pa.DataType) -> float | None:
    """The size of every value of a type; None where it differs from value to value."""
    if pt.is_null(kind):
        return 0.0
    if pt.is_dictionary(kind):
        return None
    try:
        return float(kind.bit_width / 8)
    except ValueError:
        return None
