"""Filters as server expressions that are true of every wanted record, though perhaps of others.

The whole filter is tested on the rows that come. So a term of an AND of which the server can tell nothing is
left out, and a test that it cannot answer exactly is widened. What is unknown to the server, as of a
missing bin, is not let through, as a null is not; nor is a bin of a type that its column does not take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from types import MappingProxyType

import aerospike
import pyarrow as pa
import pyarrow.types as pt
from aerospike_helpers import expressions as exp
from aerospike_helpers.expressions.resources import ResultType

from connector.aerospike.expressions.metadata import metadata
from connector.aerospike.expressions.normal import normal
from connector.aerospike.expressions.numbers import booleans, floats, integers
from connector.aerospike.expressions.operands import (
    Expression,
    Operand,
    all_of,
    any_of,
    key_operand,
    operand,
)
from connector.aerospike.expressions.texts import binaries, decimals, texts
from connector.aerospike.records import METADATA
from connector.codecs import stored_type
from connector.filters import (
    And,
    ArrayContains,
    Comparison,
    FieldTest,
    Filter,
    In,
    IsNull,
    MapContainsKey,
    Not,
    Operator,
    Or,
)
from connector.filters.fields import locate

_MOST_TESTS = 200
"""Of a filter: with more, looking at a record takes the server far longer than sending it."""

_MOST_VALUES = 10_000
"""Of an IN: with more the expression may be larger than the megabyte that the server takes."""

_MOST_FLOATS = 50
"""Of an IN of floating-point numbers, each of which takes a range of its own."""


@dataclass(frozen=True)
class _Table:
    schema: pa.Schema
    key: tuple[str, ...]
    bins: Mapping[str, str]


def compiled(
    filter: Filter,
    schema: pa.Schema,
    key: tuple[str, ...],
    *,
    bins: Mapping[str, str] = MappingProxyType({}),
) -> Expression | None:
    """An expression that is true of at least every record whose row passes the filter.

    Args:
        filter: a filter that ``bind`` gave.
        schema: the columns.
        key: the names of the columns that are the records' user keys.
        bins: the bins of columns that have other names than their bins.

    Returns:
        An expression of the client, still to be compiled; None where the server can leave out no record.
    """
    if _tests(filter) > _MOST_TESTS:
        return None
    return _any_filter(normal(filter), _Table(schema, key, bins))


def _tests(filter: Filter) -> int:
    """About how many comparisons the server is asked for."""
    if isinstance(filter, And | Or):
        return sum(map(_tests, filter.terms))
    if isinstance(filter, Not):
        return _tests(filter.term)
    if not isinstance(filter, In) or not filter.values:
        return 1
    some = min(len(filter.values), _most_values(filter))
    return some if isinstance(filter.values[0], float) else isqrt(some)


def _any_filter(filter: Filter, table: _Table) -> Expression | None:
    if isinstance(filter, Not):
        assert isinstance(filter.term, FieldTest)
        return _test(filter.term, True, table)
    if isinstance(filter, FieldTest):
        return _test(filter, False, table)
    assert isinstance(filter, And | Or)
    found = [_any_filter(term, table) for term in filter.terms]
    told = [one for one in found if one is not None]
    if isinstance(filter, And):
        return all_of(told) if told else None
    return any_of(told) if len(told) == len(found) else None


def _test(test: FieldTest, negated: bool, table: _Table) -> Expression | None:
    if isinstance(test, In) and not test.values:
        return None
    if isinstance(test, In) and len(test.values) > _most_values(test):
        return _any_filter(Not(IsNull(test.path)) if negated else _span(test), table)
    name = test.path[0]
    if name in METADATA.names:
        return metadata(test, negated)
    if name in table.key:
        return _key_test(test, negated, table)
    column = stored_type(name, table.schema.field(name).type)
    of = operand(test.path, table.bins.get(name, name), column)
    if isinstance(test, IsNull):
        return of.held if negated else of.missing
    kind = stored_type(name, locate(test.path, table.schema, "a filter")[1])
    found = _of_type(test, negated, kind, of)
    return of.held if found is None else found


def _key_test(test: FieldTest, negated: bool, table: _Table) -> Expression | None:
    of = key_operand()
    if isinstance(test, IsNull):
        return of.held if negated else of.missing
    kind = stored_type(test.path[0], table.schema.field(test.path[0]).type)
    plain = pt.is_integer(kind) or pt.is_string(kind) or _is_bytes(kind)
    if len(table.key) > 1 or not plain:
        return None
    return _of_type(test, negated, kind, of)


def _of_type(test: FieldTest, negated: bool, kind: pa.DataType, of: Operand) -> Expression | None:
    """The test, or its opposite, of a value that is not null."""
    if isinstance(test, ArrayContains | MapContainsKey):
        return _contains(test, negated, kind, of)
    if pt.is_string(kind):
        return texts(test, negated, of)
    if _is_bytes(kind):
        return binaries(test, negated, of)
    if pt.is_decimal(kind):
        return decimals(test, negated, of)
    assert isinstance(test, Comparison | In)
    if pt.is_boolean(kind):
        return booleans(test, negated, of)
    if pt.is_floating(kind):
        return floats(test, negated, kind, of)
    return integers(test, negated, kind, of)


def _contains(
    test: ArrayContains | MapContainsKey, negated: bool, kind: pa.DataType, of: Operand
) -> Expression | None:
    """Whether a list has an element, or a map a key, of a type that is stored in one way alone."""
    inner = kind.key_type if isinstance(test, MapContainsKey) else kind.value_type
    value = test.value
    if isinstance(value, str):
        fits = pt.is_string(inner) and "\0" not in value and value[:1] != "{"
    elif isinstance(value, bytes):
        fits = _is_bytes(inner)
    else:
        fits = pt.is_integer(inner) and type(value) is int and abs(value) < 2**63
    if not fits:
        return None
    if isinstance(test, MapContainsKey):
        map_count, integer = aerospike.MAP_RETURN_COUNT, ResultType.INTEGER
        count = exp.MapGetByKey(None, map_count, integer, value, of.read(ResultType.MAP))
    else:
        list_count = aerospike.LIST_RETURN_COUNT
        count = exp.ListGetByValue(None, list_count, value, of.read(ResultType.LIST))
    return exp.Eq(count, 0) if negated else exp.GT(count, 0)


def _most_values(test: In) -> int:
    return _MOST_FLOATS if isinstance(test.values[0], float) else _MOST_VALUES


def _span(test: In) -> Filter:
    """From the least to the greatest of the values."""
    low, *_, high = sorted(test.values, key=lambda value: (value != value, value))
    ends = (Operator.GREATER_EQUAL, low), (Operator.LESS_EQUAL, high)
    return And(tuple(Comparison(test.path, operator, value) for operator, value in ends))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pt.is_binary(kind) or pt.is_fixed_size_binary(kind))
