"""Rows by their keys: keys as stores write them, and lookups that keep the order of the keys."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from connector.codecs import decode_keys, encode_keys
from connector.errors import SchemaError
from connector.scan import KeyList, Partition, Scan, pack_keys

Keys: TypeAlias = "pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray | Sequence[Any]"


@dataclass(frozen=True)
class Lookup:
    """Rows of one table by their keys.

    Attributes:
        scan: what is looked up; it has the key columns first.
        find: gives the columns beside the key's for encoded keys, each once: a row for each key in
            their order, of nulls where there is no row.
    """

    scan: Scan
    find: Callable[[pa.Array], list[pa.Array]]

    def rows(self, keys: Keys) -> pa.RecordBatch:
        """See ``Store.lookup``."""
        scan = self.scan
        names = encoded(keys, scan.schema, scan.key)
        if not len(names):
            return pa.RecordBatch.from_pylist([], schema=self._output)
        once = names.dictionary_encode()
        found = self.find(once.dictionary)
        if len(once.dictionary) < len(names):
            found = [column.take(once.indices) for column in found]
        asked = decode_keys(names, [scan.schema.field(name) for name in scan.key])
        return pa.RecordBatch.from_arrays([*asked, *found], names=self._output.names)

    @functools.cached_property
    def _output(self) -> pa.Schema:
        return self.scan.output


def read_rows(
    scan: Scan, read: Callable[[Partition], Iterator[pa.RecordBatch]], names: pa.Array
) -> list[pa.Array]:
    """What ``Lookup.find`` gives, by way of a source's ``read``."""
    batches = [*read(KeyList(0, pack_keys(names)))]
    found = pa.concat_batches(batches or [pa.RecordBatch.from_pylist([], schema=scan.output)])
    own = encode_keys([found.column(name) for name in scan.key], scan.key)
    place = pc.index_in(names, value_set=own)
    return [column.take(place) for column in found.columns[len(scan.key) :]]


def encoded(keys: Keys, schema: pa.Schema, key: Sequence[str]) -> pa.Array:
    """Keys as a store writes them, one ``pa.binary()`` value each.

    Args:
        keys: an Arrow table or batch that has the key columns; or an Arrow array or a sequence of
            values of the one key column; or a sequence of tuples, one value for each key column.
        schema: the table's columns.
        key: the key columns.

    Raises:
        SchemaError: the keys are not of the key columns' types, or one of them is null.
    """
    if isinstance(keys, (pa.Table, pa.RecordBatch)):
        columns = [keys.column(name) for name in key]
    elif isinstance(keys, (pa.Array, pa.ChunkedArray)):
        columns = [keys]
    else:
        rows = [item if isinstance(item, tuple) else (item,) for item in keys]
        if any(len(row) != len(key) for row in rows):
            raise SchemaError(f"each key must have a value for each of {', '.join(key)}")
        columns = [[row[i] for row in rows] for i in range(len(key))]
    arrays = []
    for name, column in zip(key, columns, strict=True):
        kind = schema.field(name).type
        try:
            array = pa.array(column, kind) if isinstance(column, list) else column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"keys do not fit column {name!r} of type {kind}: {error}") from error
        arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
    names = encode_keys(arrays, key)
    if names.null_count:
        raise SchemaError(f"{names.null_count} of {len(names)} keys are null")
    return names
