"""Types for stored text: the narrowest that all values of a sample are written as."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
# Only text that a number, date or timestamp of this type is written as: "007" is no number.
_FORMS: list[tuple[str, pa.DataType]] = [
    (r"^(0|-?[1-9][0-9]{0,17})$", pa.int64()),
    (
        r"^-?(0|[1-9][0-9]{0,14})?(\.[0-9]+)?([eE][-+]?[0-9]+)?$|^-?(inf|Infinity)$|^(nan|NaN)$",
        pa.float64(),
    ),
    (r"^(true|false)$", pa.bool_()),
    (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", pa.date32()),
    (rf"^{_MOMENT}$", pa.timestamp("us")),
    (rf"^{_MOMENT}Z$", pa.timestamp("us", "UTC")),
]


def narrowest(values: Sequence[bytes]) -> pa.DataType:
    """The narrowest type that every value parses as, and is written as; binary at the widest."""
    try:
        texts = pa.array(values, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.binary()
    for form, kind in _FORMS:
        if pc.all(pc.match_substring_regex(texts, form)).as_py() and _parses(texts, kind):
            return kind
    return pa.string()


def _parses(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
