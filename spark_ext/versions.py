"""What differs between the versions of PySpark that kvlake runs on: found out here, nowhere else."""

from __future__ import annotations

import inspect
from typing import Any

import pyarrow as pa
import pyspark
from pyspark.sql import types as st
from pyspark.sql.pandas import types as arrow_types

SPARK_VERSION = ".".join(pyspark.__version__.split(".")[:2])
"""The minor version, as messages name it."""

HAS_TIME = hasattr(st, "TimeType")
"""Whether there is a type for the time of day: since 4.1."""

UNSTORABLE: tuple[type[st.DataType], ...] = tuple(
    getattr(st, name)
    for name in ("VariantType", "GeometryType", "GeographyType")
    if hasattr(st, name)
)
"""Types whose Arrow form is Spark's own affair; those of places came with 4.1."""

# Up to 4.1 instants are in UTC unless told otherwise, and the parameter has another name.
_IN_UTC: dict[str, Any] = (
    {"timezone": "UTC"}
    if "timezone" in inspect.signature(arrow_types.to_arrow_schema).parameters
    else {}
)


def to_arrow_schema(schema: st.StructType) -> pa.Schema:
    """The Arrow schema by which Spark exchanges these columns; instants are in UTC.

    Raises:
        PySparkException: a column has no Arrow type.
    """
    return arrow_types.to_arrow_schema(schema, **_IN_UTC)
