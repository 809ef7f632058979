"""Lists that have one size in all rows of a seal: their columns are of fixed-size lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

ListSizes: TypeAlias = Mapping[str, tuple[int, int]]
"""For each column of lists the smallest and the largest size; a null's is -1."""


def list_sizes(batch: pa.RecordBatch) -> ListSizes:
    """The sizes of the lists of numbers in a batch that is not empty."""
    lists = (item.name for item in batch.schema if _has_numbers(item.type))
    return {name: _sizes(batch.column(name)) for name in lists}


def joined(found: Iterable[ListSizes]) -> ListSizes:
    """The sizes of all together."""
    all_of: dict[str, tuple[int, int]] = {}
    for sizes in found:
        for name, (least, most) in sizes.items():
            known = all_of.get(name, (least, most))
            all_of[name] = min(known[0], least), max(known[1], most)
    return all_of


def fixed(schema: pa.Schema, sizes: ListSizes) -> pa.Schema:
    """The schema in which lists that have but one size are of that size."""
    for name, (least, most) in sizes.items():
        at = schema.get_field_index(name)
        if least == most > 0 and at >= 0:
            kind = pa.list_(schema.field(at).type.value_field, most)
            schema = schema.set(at, schema.field(at).with_type(kind))
    return schema


def fits(sizes: ListSizes, schema: pa.Schema) -> bool:
    """Whether the lists that have one size in the schema have it."""
    kinds = {name: schema.field(name).type for name in sizes}
    return all(
        sizes[name] == (kind.list_size, kind.list_size)
        for name, kind in kinds.items()
        if pt.is_fixed_size_list(kind)
    )


def as_fixed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with lists of one size where the schema has such, in the same memory."""
    sizes = list_sizes(batch)
    columns, fields = batch.columns, list(batch.schema)
    for at, name in enumerate(batch.schema.names):
        kind = schema.field(name).type if name in schema.names else None
        if name in sizes and pt.is_fixed_size_list(kind) and fits({name: sizes[name]}, schema):
            columns[at] = pa.FixedSizeListArray.from_arrays(columns[at].flatten(), type=kind)
            fields[at] = fields[at].with_type(kind)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _has_numbers(kind: pa.DataType) -> bool:
    inner = kind.value_type if pt.is_list(kind) else pa.null()
    while pt.is_fixed_size_list(inner):
        inner = inner.value_type
    return bool(pt.is_primitive(inner))


def _sizes(lists: pa.Array) -> tuple[int, int]:
    if lists.null_count or not len(lists):
        return -1, -1
    found = pc.min_max(pc.list_value_length(lists))
    return found["min"].as_py(), found["max"].as_py()
