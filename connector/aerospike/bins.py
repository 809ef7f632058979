"""How columns lie in bins: the Arrow type that holds exactly what the bins of a column hold."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt

FILLER = "_kvlake"
"""The bin of a row whose other columns are all null: a record without bins cannot be."""


def bin_type(kind: pa.DataType, *, parsed: bool = False) -> pa.DataType:
    """The type of a column's values as its bins hold them, to which they are cast.

    Floating-point numbers are doubles; dates and times are integers in the column's own unit, those
    with a zone in UTC; decimals are text. Integers keep their type, as that tells which of them fit.

    Args:
        kind: a type that ``connector.codecs.stored_type`` gives.
        parsed: whether decimals are told apart from text already.
    """

    def within(field: pa.Field) -> pa.Field:
        return field.with_type(bin_type(field.type, parsed=parsed))

    if pt.is_temporal(kind):
        return pa.int64() if kind.bit_width == 64 else pa.int32()
    if pt.is_floating(kind):
        return pa.float64()
    if pt.is_decimal(kind):
        return kind if parsed else pa.string()
    if pt.is_fixed_size_binary(kind):
        return pa.binary()
    if pt.is_map(kind):
        return pa.map_(within(kind.key_field), within(kind.item_field))
    if pt.is_struct(kind):
        return pa.struct([*map(within, kind)])
    if pt.is_list(kind) or pt.is_fixed_size_list(kind):
        return pa.list_(within(kind.value_field))
    return kind
