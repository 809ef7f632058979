"""Predicates on rows: built as objects, fitted to a schema, and evaluated on batches.

    adults = (column("age") >= 18) & column("address", "city").isin(["a", "b"])
    rows = keep(bind(adults, batch.schema, "people"), batch)

Comparisons mean what they mean in Spark SQL: NaN equals itself and is greater than every number,
-0.0 equals 0.0, text compares by its UTF-8 bytes, times compare as instants, and one without a zone
is in UTC. A number compares with an integer or a decimal column by its exact value, where Spark rounds
both to doubles if one is a double; and a null is never less than a number out of the column's range,
where Spark's optimizer takes ``n < 99999999999999999999`` for true. A field of a struct is null where
the struct is. Regular expressions are RE2's, where Spark's are Java's.
"""

from connector.filters.binding import bind
from connector.filters.choosing import Column, all_of, column, columns_of, conjuncts, key_values
from connector.filters.evaluation import evaluate, keep
from connector.filters.fields import FieldPath
from connector.filters.literals import Value
from connector.filters.text import parse_filter
from connector.filters.values import (
    And,
    ArrayContains,
    Comparison,
    FieldTest,
    Filter,
    In,
    IsNull,
    Like,
    MapContainsKey,
    Match,
    Not,
    Operator,
    Or,
    Regex,
    TextMatch,
)

__all__ = [
    "And",
    "ArrayContains",
    "Column",
    "Comparison",
    "FieldPath",
    "FieldTest",
    "Filter",
    "In",
    "IsNull",
    "Like",
    "MapContainsKey",
    "Match",
    "Not",
    "Operator",
    "Or",
    "Regex",
    "TextMatch",
    "Value",
    "all_of",
    "bind",
    "column",
    "columns_of",
    "conjuncts",
    "evaluate",
    "keep",
    "key_values",
    "parse_filter",
]
