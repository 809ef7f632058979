"""Types for the bins of a table whose schema was not saved, from a sample of its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aerospike
import pyarrow as pa
from aerospike_helpers import HyperLogLog

from connector.aerospike.bins import FILLER

_MOST_FIELDS = 100  # of a map that is read as a struct
_FLAT: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    aerospike.GeoJSON: pa.string(),
    bytes: pa.binary(),
    bytearray: pa.binary(),
    HyperLogLog: pa.binary(),
}


def columns(records: Iterable[Mapping[str, Any]]) -> list[pa.Field]:
    """The columns that the bins of some records fit into, by name.

    Integers and doubles in one bin meet as float64. Of other kinds the one that is there most often
    counts: values of the rest do not fit then, and ``on.bad.field`` says what happens to them.
    """
    bins: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            bins.setdefault(name, []).append(value)
    bins.pop(FILLER, None)
    return [pa.field(name, fitting(bins[name])) for name in sorted(bins)]


def fitting(values: Sequence[Any]) -> pa.DataType:
    """The type that most of these values fit into; string where there are none."""
    kinds = Counter(_kind(value) for value in values if value is not None)
    if not kinds:
        return pa.string()
    if kinds.keys() >= {pa.int64(), pa.float64()}:
        kinds[pa.float64()] += kinds.pop(pa.int64())
    most = max(kinds.values())
    kind = next(kind for kind, seen in kinds.items() if seen == most)
    if kind is list:
        return pa.list_(
            fitting([item for value in values if type(value) is list for item in value])
        )
    if kind is dict:
        return _fitting_map([value for value in values if isinstance(value, dict)])
    return kind


def _kind(value: Any) -> Any:
    """The Arrow type of a flat value; ``list`` or ``dict`` for others."""
    return _FLAT.get(type(value)) or (list if isinstance(value, list) else dict)


def _fitting_map(values: Sequence[Mapping[Any, Any]]) -> pa.DataType:
    """A struct of maps with few keys that are text; a map of others."""
    names = dict.fromkeys(name for value in values for name in value)
    if all(isinstance(name, str) for name in names) and len(names) <= _MOST_FIELDS:
        fields = ((name, [value.get(name) for value in values]) for name in sorted(names))
        return pa.struct([(name, fitting(some)) for name, some in fields])
    items = fitting([item for value in values for item in value.values()])
    return pa.map_(fitting([*names]), items)
