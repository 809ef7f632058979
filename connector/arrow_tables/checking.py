"""Which tables can be kept as record batches, and how they may be written."""

from __future__ import annotations

import pyarrow as pa

from connector.codecs import stored_type
from connector.errors import OptionError, SchemaError
from connector.jobs import SchemaEvolution, WriteFields, WriteOptions, WriteRows
from connector.schema import check_append, key_of


def kept_schema(
    table: str,
    schema: pa.Schema,
    options: WriteOptions,
    stored: pa.Schema | None,
    metadata: pa.Schema,
) -> pa.Schema:
    """The schema of batches as it will be read back.

    Args:
        table: for messages.
        schema: of the batches.
        options: how they are to be written.
        stored: the table's, where there is one and it is not overwritten.
        metadata: columns about single records, which there are none of.

    Raises:
        OptionError: these tables are not written so.
        SchemaError: such rows cannot be kept, or do not fit the table, or lack columns of it.
    """
    refused = {
        "ttl": options.ttl_seconds is not None or options.ttl_column is not None,
        f"write.mode = {options.rows.value}": options.rows is not WriteRows.UPSERT,
        "reject.path": options.reject_path is not None,
    }
    for name in [name for name, is_set in refused.items() if is_set]:
        raise OptionError(
            f"table {table!r}: option {name!r} is about single rows, which have no keys of their "
            f"own in model 'arrow'; leave it out, or choose another model"
        )
    for name in set(schema.names) & set(metadata.names):
        raise OptionError(
            f"table {table!r}: column {name!r} is about the keys of single rows, which there are "
            f"none of in model 'arrow'; drop it"
        )
    plain = pa.schema([_kept(table, item) for item in schema])
    if stored is not None:
        add = options.evolution is SchemaEvolution.ADD
        check_append(table, stored, plain, options.key or key_of(stored), add=add)
        lacking = [name for name in stored.names if name not in schema.names]
        if lacking and options.fields is WriteFields.MERGE:
            raise SchemaError(
                f"table {table!r}: model 'arrow' writes whole rows, and the batches lack the columns "
                f"{', '.join(lacking)}; add them, or set write.fields to replace to make them null"
            )
    return plain


def _kept(table: str, item: pa.Field) -> pa.Field:
    """A column as it is kept: as it is, if rows of it can be picked out, or as its plain type.

    Raises:
        SchemaError: neither can be kept.
    """
    if _can_be_kept(item.type):
        return item
    plain = item.with_type(stored_type(item.name, item.type))
    if not _can_be_kept(plain.type):
        raise SchemaError(
            f"table {table!r}: column {item.name!r} of type {item.type} cannot be stored; cast it first"
        )
    return plain


def _can_be_kept(kind: pa.DataType) -> bool:
    try:
        pa.nulls(1, kind).filter(pa.array([True]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
