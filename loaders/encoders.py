"""Text as numbers, for transforms: by a hash, or by a vocabulary."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.errors import OptionError, SchemaError
from connector.source import Source
from loaders.convert import column_of
from loaders.splits import mixed


def hashed(batch: pa.RecordBatch, column: str, buckets: int) -> pa.RecordBatch:
    """The batch with a column of text or bytes as int64 from 0 to ``buckets`` - 1, the same for ever.

    A null is a value like others: the empty text's.

    Raises:
        SchemaError: there is no such column, or it is neither text nor bytes.
        OptionError: ``buckets`` is less than 1.
    """
    if buckets < 1:
        raise OptionError(f"column {column!r}: buckets must be at least 1, got {buckets}")
    texts = pc.fill_null(_texts(batch, column).cast(pa.binary()), b"")
    numbers = (mixed(texts) % np.uint64(buckets)).astype(np.int64)
    return _replaced(batch, column, pa.array(numbers))


def indexed(batch: pa.RecordBatch, column: str, vocabulary: pa.Array) -> pa.RecordBatch:
    """The batch with a column of text or bytes as int32 places in a vocabulary.

    What is not in it, and nulls, are the number behind the last: ``len(vocabulary)``.

    Raises:
        SchemaError: there is no such column, or it is neither text nor bytes.
    """
    texts = _texts(batch, column)
    places = pc.index_in(texts, value_set=vocabulary.cast(texts.type).drop_null())
    return _replaced(batch, column, pc.fill_null(places, len(vocabulary.drop_null())))


def vocabulary(source: Source, column: str, *, most: int | None = None) -> pa.Array:
    """The values of a column of text or bytes: the most frequent first, and of those in their order.

    Reads the whole source once; memory holds the distinct values.

    Args:
        source: what to read; give it that column alone.
        column: its name.
        most: how many values to keep; None for all.

    Raises:
        SchemaError: there is no such column, or it is neither text nor bytes.
    """
    counts: Counter[str | bytes] = Counter()
    for partition in source.partitions():
        for batch in source.read(partition):
            found = pc.value_counts(_texts(batch, column).drop_null())
            counts.update(
                dict(
                    zip(
                        found.field("values").to_pylist(),
                        found.field("counts").to_pylist(),
                        strict=True,
                    )
                )
            )
    kind = source.schema.field(column).type
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    values = pa.array(counts.keys(), kind)
    times = pa.array(counts.values(), pa.int64())
    order = pc.sort_indices(
        pa.table({"times": times, "values": values}),
        sort_keys=[("times", "descending"), ("values", "ascending")],
    )
    return values.take(order[:most])


def _texts(batch: pa.RecordBatch, column: str) -> pa.Array:
    values = column_of(batch, column)
    kind = values.type
    if not (
        pt.is_string(kind)
        or pt.is_large_string(kind)
        or pt.is_binary(kind)
        or pt.is_large_binary(kind)
    ):
        raise SchemaError(f"column {column!r} of type {kind} is neither text nor bytes")
    return values


def _replaced(batch: pa.RecordBatch, column: str, values: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(column), column, values)
