"""When rows expire: the command that goes with the write of each row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.errors import SchemaError
from connector.redis.commands import argument, bulk, const
from connector.redis.steps import Step


def expire_after(seconds: int) -> list[Step]:
    """Every row expires after the same time."""
    return [Step(b"EXPIRE", [const(bulk(b"%d" % seconds))], 1)]


def expire_by(table: str, column: str, ttl: pa.Array) -> list[Step]:
    """Every row expires as a column says; a null means never.

    Args:
        table: for messages.
        column: the column's name, for messages.
        ttl: whole seconds from now, or timestamps; those without a zone are UTC.

    Raises:
        SchemaError: a row would not live at all, or the column's type says no time.
    """
    moment = pt.is_timestamp(ttl.type)
    if not (moment or pt.is_integer(ttl.type)):
        raise SchemaError(
            f"table {table!r}: column {column!r} of type {ttl.type} cannot say when rows expire; give "
            f"whole seconds from now, or a timestamp"
        )
    if moment:
        ttl = ttl.cast(pa.timestamp("ms", ttl.type.tz), safe=False).cast(pa.int64())
    low = pc.min(ttl).as_py()
    if low is not None and low < 1:
        raise SchemaError(
            f"table {table!r}: column {column!r} gives a row {low} "
            f"{'ms since 1970' if moment else 'seconds'} to live; at least 1 is needed, and null where "
            f"a row never expires"
        )
    texts = pc.fill_null(ttl.cast(pa.string()).view(pa.binary()), b"")
    name = b"PEXPIREAT" if moment else b"EXPIRE"
    if not ttl.null_count:
        return [Step(name, argument(texts), 1)]
    expiring = np.asarray(ttl.is_valid())
    return [Step(name, argument(texts), 1, expiring), Step(b"PERSIST", rows=~expiring)]
