"""Evaluating a bound filter on batches of rows."""

from __future__ import annotations

import functools
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.errors import SchemaError
from connector.filters.binding import member, plain_type
from connector.filters.fields import locate, path_text
from connector.filters.literals import Value
from connector.filters.members import any_true, flattened
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

_WILD = {"%": ".*", "_": "."}
_MATCHES = {
    Match.STARTS: pc.starts_with,
    Match.ENDS: pc.ends_with,
    Match.CONTAINS: pc.match_substring,
}
_COMPARE = {
    Operator.EQUAL: (pc.equal, False),
    Operator.NOT_EQUAL: (pc.equal, True),
    Operator.LESS: (pc.less, False),
    Operator.GREATER_EQUAL: (pc.less, True),
    Operator.LESS_EQUAL: (pc.less_equal, False),
    Operator.GREATER: (pc.less_equal, True),
}


def keep(filter: Filter, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows for which a bound filter is true."""
    return batch.filter(evaluate(filter, batch))


def evaluate(filter: Filter, batch: pa.RecordBatch) -> pa.BooleanArray:
    """Whether the filter holds for each row; null where that is unknown.

    Args:
        filter: a filter that ``bind`` gave for the batch's schema.
        batch: rows with at least the filter's columns.

    Raises:
        SchemaError: the batch lacks a column or a field, or a value was not bound to its type.
    """
    if isinstance(filter, And):
        return functools.reduce(pc.and_kleene, (evaluate(term, batch) for term in filter.terms))
    if isinstance(filter, Or):
        return functools.reduce(pc.or_kleene, (evaluate(term, batch) for term in filter.terms))
    if isinstance(filter, Not):
        return pc.invert(evaluate(filter.term, batch))
    assert isinstance(filter, FieldTest)
    (at, *inner), _ = locate(filter.path, batch.schema, "a batch")
    values = pc.struct_field(batch.column(at), inner) if inner else batch.column(at)
    if isinstance(filter, IsNull):
        return pc.is_null(values)
    return _test(filter, _plain(values))


def _plain(values: pa.Array) -> pa.Array:
    if pt.is_dictionary(values.type):
        return _plain(values.dictionary_decode())
    kind = plain_type(values.type)
    return values if values.type == kind else values.cast(kind)


def _test(filter: FieldTest, values: pa.Array) -> pa.BooleanArray:
    if isinstance(filter, Comparison):
        return _compare(values, filter)
    if isinstance(filter, In):
        return _is_in(values, filter)
    if isinstance(filter, ArrayContains | MapContainsKey):
        return _contains(values, filter)
    if isinstance(filter, TextMatch):
        return _MATCHES[filter.match](values, filter.text)
    if isinstance(filter, Regex):
        return pc.match_substring_regex(values, filter.pattern)
    assert isinstance(filter, Like)
    return pc.match_substring_regex(values, _regex(filter.pattern))


def _compare(values: pa.Array, filter: Comparison) -> pa.BooleanArray:
    values, value = _comparable(values, filter, filter.value)
    # Greater is not-less-or-equal, which counts a NaN in the column among the greater.
    compare, negated = _COMPARE[filter.operator]
    found = compare(values, value)
    return pc.invert(found) if negated else found


def _comparable(values: pa.Array, filter: FieldTest, given: Value) -> tuple[pa.Array, pa.Scalar]:
    value = _values_of(filter, [given], values.type)[0]
    if isinstance(given, float) and math.isnan(given):
        return pc.is_nan(values), pa.scalar(True)  # NaN is the greatest, as True is
    return values, value


def _contains(lists: pa.Array, filter: ArrayContains | MapContainsKey) -> pa.BooleanArray:
    try:
        value = member(filter, lists.type)
    except ValueError as error:
        raise _not_bound(filter, lists.type, error) from None
    members, offsets = flattened(lists)
    members = _plain(members)
    if value is None:
        found = np.zeros(len(lists), bool)
    else:
        found = any_true(pc.equal(*_comparable(members, filter, value)), offsets)
    unknown = any_true(pc.is_null(members), offsets) & ~found
    return pa.array(found, mask=unknown | pc.is_null(lists).to_numpy(zero_copy_only=False))


def _is_in(values: pa.Array, filter: In) -> pa.BooleanArray:
    if not filter.values:
        return pa.repeat(False, len(values))
    wanted = _values_of(filter, list(filter.values), values.type)
    if not pt.is_floating(values.type):
        found = pc.is_in(values, value_set=wanted)
    else:  # adding 0.0 makes -0.0 and 0.0 one
        found = pc.is_in(pc.add(values, 0.0), value_set=pc.add(wanted, 0.0))
        if pc.any(pc.is_nan(wanted)).as_py():
            found = pc.or_(found, pc.is_nan(values))
    return pc.if_else(pc.is_valid(values), found, pa.scalar(None, pa.bool_()))


def _values_of(filter: FieldTest, given: list[Value], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(given, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _not_bound(filter, kind, error) from None


def _not_bound(filter: FieldTest, kind: pa.DataType, error: Exception) -> SchemaError:
    return SchemaError(
        f"column {path_text(filter.path)!r} of type {kind} meets a filter that is not bound to it: "
        f"{error}"
    )


def _regex(pattern: str) -> str:
    """A LIKE pattern as one of RE2."""
    parts = re.findall(r"\\?.", pattern, re.DOTALL)
    return f"(?s)\\A{''.join(_WILD.get(part) or _literal(part[-1]) for part in parts)}\\z"


def _literal(character: str) -> str:
    plain = character.isalnum() or not character.isascii()
    return character if plain else f"\\x{ord(character):02x}"
