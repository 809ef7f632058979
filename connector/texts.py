"""Flat Arrow values as text and back: the one spelling that hashes and JSON share."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

_WITHOUT_ZONE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]+$"


def text(values: pa.Array) -> pa.Array:
    """Flat values that are not text already, as strings that ``parse`` reads back exactly."""
    kind = values.type
    if pt.is_time(kind) or pt.is_duration(kind):
        return as_integer(values).cast(pa.string())
    if pt.is_timestamp(kind) and kind.tz is not None:
        return values.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.string())
    return values.cast(pa.string())


def parse(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """The opposite of ``text``; raises pa.ArrowInvalid where a text does not parse.

    Timestamps of other writers, which name no zone, are taken as UTC where the type has a zone.
    """
    if pt.is_time(kind) or pt.is_duration(kind):
        return texts.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    if pt.is_timestamp(kind) and kind.tz is not None:
        bare = pc.match_substring_regex(texts, _WITHOUT_ZONE)
        if pc.any(bare).as_py():
            texts = pc.if_else(bare, pc.binary_join_element_wise(texts, "Z", ""), texts)
    return texts.cast(kind)


def as_integer(values: pa.Array) -> pa.Array:
    """Dates, times and durations as the integers that they are stored as."""
    return values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
