"""Arrays that lie under keys as elements: taken apart to be written, put together when read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.codecs import decode
from connector.errors import DecodeError, SchemaError
from connector.redis.models.asking import offsets
from connector.redis.models.model import Counts, Flags
from connector.redis.steps import Step

SAMPLED = 100
"""Elements of a key that are looked at to infer a type."""

_MOST_SENT = 1_000_000  # arguments of a command: servers before Redis 7 take 1,048,576
_MOST_UNPACKED = 6_000  # arguments of a command inside of a script: Lua's stack has 8,000 places


def taken_apart(name: str, values: pa.Array) -> tuple[pa.Array, Counts]:
    """The elements of all arrays, and how many each has; none of those that are null.

    Raises:
        SchemaError: an element is null.
    """
    flat = values.flatten()
    if flat.null_count:
        raise SchemaError(
            f"column {name!r} has {flat.null_count} nulls inside its arrays, which Redis cannot hold as "
            f"elements; drop or fill them"
        )
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    return flat, np.asarray(lengths).astype(np.int64)


def put_together(column: pa.Field, stored: pa.Array, elements: pa.Array | None = None) -> pa.Array:
    """Arrays of the column's type from arrays of stored elements.

    Args:
        column: the column.
        stored: the arrays as they were found.
        elements: the decoded elements of all of them, where ``decode`` does not do.

    Raises:
        DecodeError: an element does not parse, or an array does not fit the type.
    """
    if elements is None:
        elements = decode(column.name, stored.flatten(), column.type.value_type)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(stored), 0)).astype(np.int64)
    mask = stored.is_null() if stored.null_count else None
    found = pa.ListArray.from_arrays(offsets(lengths), elements, mask=mask)
    try:
        return found.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DecodeError(
            f"column {column.name!r} does not parse as {column.type}: {error}"
        ) from error


def adding(name: bytes, texts: pa.Array, words: int, lengths: Counts, uniform: bool) -> list[Step]:
    """Commands that add elements, as many at a time as one command may have.

    Args:
        name: the command.
        texts: each element as arguments.
        words: how many arguments that is.
        lengths: how many elements each row has; shape (rows,).
        uniform: whether every row must have as many commands as every other.
    """
    most = (_MOST_SENT if uniform else _MOST_UNPACKED) // words
    ends = np.cumsum(lengths)
    starts = ends - lengths
    steps: list[Step] = []
    for first in range(0, max(1, int(lengths.max(initial=0))), most):
        low = np.minimum(starts + first, ends)
        high = np.minimum(low + most, ends)
        some = high > low
        whole = bool(some.all())
        steps.append(
            Step(name, [_pieces(texts, low, high)], words * (high - low), None if whole else some)
        )
        if not whole and (uniform or not first):
            steps.append(_nothing(~some))
    return steps


def added(
    name: bytes,
    values: pa.Array,
    texts: pa.Array,
    words: int,
    lengths: Counts,
    *,
    replace: bool,
    uniform: bool,
) -> list[Step]:
    """Commands that merge arrays into what is there, or put them in its place; a null one deletes it.

    Args:
        name: the command that adds elements.
        values: the arrays.
        texts: each element of them as arguments.
        words: how many arguments that is.
        lengths: how many elements each row has; shape (rows,).
        replace: whether nothing else is left.
        uniform: whether every row must have as many commands as every other.
    """
    steps = adding(name, texts, words, lengths, uniform)
    if replace:
        return [Step(b"DEL"), *steps]
    if not values.null_count:
        return steps
    null = np.asarray(values.is_null())
    return [*steps, Step(b"DEL", rows=null), *([_nothing(~null)] if uniform else [])]


def _nothing(rows: Flags) -> Step:
    """A command that changes nothing, for rows that must have one."""
    return Step(b"EXISTS", rows=rows)


def _pieces(texts: pa.Array, low: Counts, high: Counts) -> pa.Array:
    """The texts from ``low`` to ``high`` of each row, one after the other; rows follow each other."""
    if not len(texts):
        return pa.array([b""] * len(low), pa.binary())
    _, places, data = texts.buffers()
    ends = np.frombuffer(places, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    cuts = np.stack([ends[low], ends[high]], axis=1).ravel()
    cuts = np.append(cuts, cuts[-1:])
    buffers = [None, pa.py_buffer(cuts), data if data is not None else pa.py_buffer(b"")]
    whole = pa.BinaryArray.from_buffers(pa.binary(), len(cuts) - 1, buffers)
    return whole.take(pa.array(np.arange(0, len(whole), 2)))
