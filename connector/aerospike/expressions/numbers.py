"""Tests of integers, times, booleans and floating-point numbers as server expressions.

Each is true of at least the records whose value passes the test; of what the server cannot tell, None.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from aerospike_helpers import expressions as exp
from aerospike_helpers.expressions.resources import ResultType

from connector.aerospike.expressions.operands import (
    COMPARE,
    Expression,
    Operand,
    all_of,
    any_of,
    one_of,
)
from connector.filters import Comparison, In, Operator, Value

LEAST, GREATEST = -(2**63), 2**63 - 1
"""What an integer bin can hold."""

_HOLDS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
}
_WIDTHS = {16: np.float16, 32: np.float32, 64: np.float64}


def as_integer(value: Value, kind: pa.DataType) -> int:
    """A bound value as the integer that is stored of it."""
    if isinstance(value, int):
        return value
    stored: int = pa.scalar(value, kind).value
    return stored


def integer_range(operator: Operator, value: int) -> tuple[int, int]:
    """The first and the last integer of 64 bits that compares so; of ``<>`` those of all."""
    if operator is Operator.EQUAL:
        return value, value
    if operator in (Operator.LESS, Operator.LESS_EQUAL):
        return LEAST, value - (operator is Operator.LESS)
    if operator in (Operator.GREATER, Operator.GREATER_EQUAL):
        return value + (operator is Operator.GREATER), GREATEST
    return LEAST, GREATEST


def integers(
    test: Comparison | In, negated: bool, kind: pa.DataType, of: Operand
) -> Expression | None:
    """A test of a column of integers, dates or timestamps."""
    given = test.values if isinstance(test, In) else (test.value,)
    values = sorted({as_integer(value, kind) for value in given})
    if values[-1] > GREATEST:
        return None
    number = of.read(ResultType.INTEGER)
    if isinstance(test, In):
        found = exp.Not(one_of(number, values)) if negated else one_of(number, values)
    else:
        found = COMPARE[test.operator](number, values[0])
    # A bin is signed: what one below zero is here is for the decoder to say.
    return exp.Or(found, exp.LT(number, 0)) if pt.is_uint64(kind) else found


def booleans(test: Comparison | In, negated: bool, of: Operand) -> Expression | None:
    """A test of a column of booleans, which are stored as such or as 0 and 1."""
    if isinstance(test, In):
        wanted = [one for one in (False, True) if (one in test.values) is not negated]
    else:
        wanted = [one for one in (False, True) if _HOLDS[test.operator](one, test.value)]
    if len(wanted) != 1:
        return None
    return exp.Or(
        exp.Eq(of.read(ResultType.BOOLEAN), wanted[0]),
        exp.Eq(of.read(ResultType.INTEGER), int(wanted[0])),
    )


def floats(
    test: Comparison | In, negated: bool, kind: pa.DataType, of: Operand
) -> Expression | None:
    """A test of a column of floating-point numbers, which are stored as doubles or as integers."""
    if isinstance(test, Comparison):
        return _float(test.operator, test.value, kind, of)
    operator = Operator.NOT_EQUAL if negated else Operator.EQUAL
    terms = [_float(operator, value, kind, of) for value in test.values]
    told = [one for one in terms if one is not None]
    if negated:
        return all_of(told) if told else None
    return any_of(told) if len(told) == len(terms) else None


def _float(operator: Operator, value: Value, kind: pa.DataType, of: Operand) -> Expression | None:
    assert isinstance(value, float)
    double, integer = of.read(ResultType.FLOAT), of.read(ResultType.INTEGER)
    if math.isnan(value):
        return _nan(operator, double, integer)
    if operator is Operator.NOT_EQUAL:
        return _unequal(value, kind, double, integer)
    low, high = _bounds(operator, value, kind)
    upwards = operator in (Operator.GREATER, Operator.GREATER_EQUAL)
    if upwards and low is None:
        return None
    return any_of(
        [_doubles_within(double, low, high, upwards), *_integers_within(integer, low, high)]
    )


def _nan(operator: Operator, double: Expression, integer: Expression) -> Expression | None:
    """NaN equals itself and is the greatest; to the server it is unequal to itself."""
    if operator in (Operator.EQUAL, Operator.GREATER_EQUAL):
        return exp.NE(double, double)
    if operator in (Operator.LESS, Operator.NOT_EQUAL):
        return exp.Or(exp.Eq(double, double), exp.Eq(integer, integer))
    return None


def _unequal(
    value: float, kind: pa.DataType, double: Expression, integer: Expression
) -> Expression | None:
    if float(_rounded(value, kind)) != value:
        return None
    whole = value.is_integer() and LEAST <= value <= GREATEST
    other = exp.NE(integer, int(value)) if whole else exp.Eq(integer, integer)
    return exp.Or(exp.NE(double, value), other)


def _bounds(
    operator: Operator, value: float, kind: pa.DataType
) -> tuple[float | None, float | None]:
    """Two numbers with all between them, themselves left out, that compares so; None for no bound.

    A double is rounded to the column's type when it is read, and an integer to a double. Either may come
    to be a number of that type, but is never moved past one. So the bounds are the nearest numbers of the
    type that do not compare so.
    """
    rounded = _rounded(value, kind)
    ends = (rounded.dtype.type(end) for end in (-math.inf, math.inf))
    near = float(rounded)
    with np.errstate(over="ignore", under="ignore"):
        down, up = (float(np.nextafter(rounded, end)) for end in ends)
    if operator is Operator.GREATER:
        return (near if near <= value else down), None
    if operator is Operator.LESS:
        return None, (near if near >= value else up)
    # Nothing is beyond an infinity.
    low = None if value == -math.inf else near if near < value else down
    high = None if value == math.inf else near if near > value else up
    if operator is Operator.EQUAL:
        return low, high
    return (low, None) if operator is Operator.GREATER_EQUAL else (None, high)


def _rounded(value: float, kind: pa.DataType) -> Any:
    with np.errstate(over="ignore", under="ignore"):
        return _WIDTHS[kind.bit_width](value)


def _doubles_within(
    double: Expression, low: float | None, high: float | None, upwards: bool
) -> Expression:
    if low is None and high is None:
        return exp.Eq(double, double)
    terms = []
    if low is not None:
        # NaN is not less or equal either, and belongs above.
        terms.append(exp.Not(exp.LE(double, low)) if upwards else exp.GT(double, low))
    if high is not None:
        terms.append(exp.LT(double, high))
    return all_of(terms)


def _integers_within(
    integer: Expression, low: float | None, high: float | None
) -> list[Expression]:
    """One term, or none where no integer is there."""
    if low == math.inf or high == -math.inf:
        return []
    first = LEAST if low is None or low < LEAST else math.floor(low) + 1
    last = GREATEST if high is None or high > GREATEST else math.ceil(high) - 1
    if first > last or first > GREATEST or last < LEAST:
        return []
    return [exp.And(exp.GE(integer, first), exp.LE(integer, last))]
