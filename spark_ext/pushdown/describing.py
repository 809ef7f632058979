"""What the JVM part is told of a table beside its columns, as metadata of these.

Its half of this is ``TableDescription.java``.
"""

from __future__ import annotations

from typing import Any

from pyspark.sql.types import StructField, StructType

from spark_ext.pool import PooledSource
from spark_ext.types import spark_schema


def description(source: PooledSource) -> StructType:
    """The columns of a table; each notes the table's rows and its own bytes, where they are known.

    The key column is noted where it alone finds a row.
    """
    found = source.statistics()
    key = source.scan.key
    looked_up = key if len(key) == 1 and source.finds_by_key() else ()
    columns = StructType()
    for field in spark_schema(source.schema):
        notes: dict[str, Any] = {}
        if found is not None:
            notes |= {
                "kvlake.rows": found.rows,
                "kvlake.bytes": float(found.column_bytes[field.name]),
            }
        if field.name in looked_up:
            notes["kvlake.key"] = True
        columns.add(StructField(field.name, field.dataType, field.nullable, notes))
    return columns
