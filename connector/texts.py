"""Flat Arrow values as text and back: the one spelling that hashes and JSON share."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt


def text(values: pa.Array) -> pa.Array:
    """Flat values that are not text already, as strings that ``parse`` reads back exactly."""
    kind = values.type
    if pt.is_time(kind) or pt.is_duration(kind):
        return as_integer(values).cast(pa.string())
    if pt.is_timestamp(kind) and kind.tz is not None:
        return values.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.string())
    return values.cast(pa.string())


def parse(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """The opposite of ``text``; raises pa.ArrowInvalid where a text does not parse."""
    if pt.is_time(kind) or pt.is_duration(kind):
        return texts.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    return texts.cast(kind)


def as_integer(values: pa.Array) -> pa.Array:
    """Dates, times and durations as the integers that they are stored as."""
    return values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
