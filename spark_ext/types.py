"""Arrow types and Spark types: which Spark type a column is read as, and batches as Spark wants them.

Spark has fewer types than Arrow. What it lacks is widened on read, to a type that holds every value:

==========================================  ===============================================
uint8, uint16, uint32                       smallint, int, bigint
uint64                                      decimal(20,0)
float16                                     float
large_string, string_view, dictionary       string; the same for binary, and fixed_size_binary
fixed_size_list, large_list                 array
date64                                      date
timestamp of any unit                       timestamp_ntz, in microseconds
timestamp of any unit and zone              timestamp, the same instant, in microseconds
time32, time64                              time(0) of seconds, time(3) of ms, time(6) of the rest;
                                            Spark 4.0 has no such type
duration                                    interval day to second, in microseconds
decimal32, decimal64, decimal256            decimal, up to 38 digits
==========================================  ===============================================

Nanoseconds that microseconds cannot hold are an error, not rounded: read the column as a string, by
a schema of your own, and convert it as you see fit.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt
from pyspark.errors import PySparkException
from pyspark.sql import types as st

from connector.errors import SchemaError
from connector.schema import conform, is_inferred, key_of
from spark_ext.versions import HAS_TIME, SPARK_VERSION, UNSTORABLE, to_arrow_schema

_MOST_DIGITS = 38

_PLAIN: dict[pa.DataType, st.DataType] = {
    pa.bool_(): st.BooleanType(),
    pa.int8(): st.ByteType(),
    pa.int16(): st.ShortType(),
    pa.int32(): st.IntegerType(),
    pa.int64(): st.LongType(),
    pa.uint8(): st.ShortType(),
    pa.uint16(): st.IntegerType(),
    pa.uint32(): st.LongType(),
    pa.uint64(): st.DecimalType(20, 0),
    pa.float16(): st.FloatType(),
    pa.float32(): st.FloatType(),
    pa.float64(): st.DoubleType(),
    pa.string(): st.StringType(),
    pa.large_string(): st.StringType(),
    pa.string_view(): st.StringType(),
    pa.binary(): st.BinaryType(),
    pa.large_binary(): st.BinaryType(),
    pa.binary_view(): st.BinaryType(),
    pa.date32(): st.DateType(),
    pa.date64(): st.DateType(),
}
_TIME_DIGITS = {pa.time32("s"): 0, pa.time32("ms"): 3, pa.time64("us"): 6, pa.time64("ns"): 6}


def spark_type(column: str, kind: pa.DataType) -> st.DataType:
    """The Spark type that a column of this Arrow type is read as.

    Raises:
        SchemaError: Spark has no type that holds every value.
    """
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain
    if pt.is_dictionary(kind):
        return spark_type(column, kind.value_type)
    if pt.is_fixed_size_binary(kind):
        return st.BinaryType()
    if pt.is_timestamp(kind):
        return st.TimestampNTZType() if kind.tz is None else st.TimestampType()
    if pt.is_time(kind) and HAS_TIME:
        return st.TimeType(_TIME_DIGITS[kind])
    if pt.is_duration(kind):
        return st.DayTimeIntervalType()
    if pt.is_decimal(kind) and kind.precision <= _MOST_DIGITS and 0 <= kind.scale <= kind.precision:
        return st.DecimalType(kind.precision, kind.scale)
    if pt.is_map(kind):
        return st.MapType(
            spark_type(column, kind.key_type),
            spark_type(column, kind.item_type),
            kind.item_field.nullable,
        )
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return st.ArrayType(spark_type(column, kind.value_type), kind.value_field.nullable)
    if pt.is_struct(kind):
        return spark_schema(pa.schema(list(kind)))
    raise SchemaError(
        f"column {column!r} of type {kind} has no counterpart in Spark {SPARK_VERSION}; leave it out"
    )


def spark_schema(schema: pa.Schema) -> st.StructType:
    """The Spark schema that columns of this Arrow schema are read as."""
    return st.StructType(
        [
            st.StructField(field.name, spark_type(field.name, field.type), field.nullable)
            for field in schema
        ]
    )


def arrow_schema(schema: st.StructType) -> pa.Schema:
    """The Arrow schema that Spark demands of a reader's batches, and that ours are written with.

    Raises:
        SchemaError: a column's values cannot be handed over as Arrow, or would not come back as
            what they were.
    """
    for field in schema:
        if isinstance(field.dataType, UNSTORABLE):
            raise SchemaError(
                f"column {field.name!r} of type {field.dataType.simpleString()} cannot be stored; "
                f"cast it to string or binary first"
            )
    try:
        return to_arrow_schema(schema)
    except PySparkException as error:
        raise SchemaError(
            f"the columns {schema.simpleString()} cannot be handed over as Arrow; "
            f"cast what has no Arrow type first: {error}"
        ) from error


def fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly this schema, as ``arrow_schema`` gives it; no copy where types agree.

    Raises:
        SchemaError: a value does not fit without loss, or is null where it must not be.
    """
    for field in batch.schema:
        if field.type == pa.time64("ns"):  # Spark counts them, but prints and compares microseconds
            conform(batch.select([field.name]), pa.schema([(field.name, pa.time64("us"))]))
    return conform(batch, schema)


def requested(stored: pa.Schema, wanted: st.StructType, *, texts: bool) -> pa.Schema:
    """The stored columns, with those that are wanted otherwise in the types wanted.

    What the store can read as the type wanted is read so right away; the others are read as what they
    are stored as, and ``fit`` casts them.

    Args:
        stored: the columns of the table.
        wanted: those wanted, in the types wanted.
        texts: whether flat columns are stored as text, which can be parsed as any type.

    Raises:
        SchemaError: the stored schema is a saved one, and has no such column.
    """
    for field in arrow_schema(wanted):
        at = stored.get_field_index(field.name)
        if at < 0 and is_inferred(stored):  # no row of the sample had it
            stored = stored.append(field.with_nullable(True).remove_metadata())
            continue
        if at < 0:
            raise SchemaError(
                f"there is no column {field.name!r} to read; there are {', '.join(stored.names)}"
            )
        found = stored.field(at)
        parsed = _is_text(found.type) if texts else _is_same_value(stored, found, field.type)
        if parsed and spark_type(found.name, found.type) != wanted[found.name].dataType:
            stored = stored.set(at, field.remove_metadata())
    return stored


def _is_text(kind: pa.DataType) -> bool:
    return not (pt.is_nested(kind) or pt.is_time(kind) or pt.is_duration(kind))


def _is_same_value(stored: pa.Schema, found: pa.Field, wanted: pa.DataType) -> bool:
    """Whether a store of typed values keeps values of both types as the same.

    A type that was inferred tells only what is kept. That of a key column says how rows are found by it.
    """
    if pt.is_integer(found.type) and pt.is_integer(wanted):
        return True
    if not is_inferred(stored) or found.name in key_of(stored):
        return False
    if pt.is_integer(found.type):
        return bool(pt.is_floating(wanted) or pt.is_temporal(wanted))
    return bool(pt.is_string(found.type) and pt.is_decimal(wanted))
