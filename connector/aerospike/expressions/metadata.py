"""Tests of what the server keeps of a record beside its bins, as server expressions.

Nothing of a record has to be read for them.
"""

from __future__ import annotations

from aerospike_helpers import expressions as exp

from connector.aerospike.expressions.numbers import GREATEST, LEAST, as_integer, integer_range
from connector.aerospike.expressions.operands import Expression, Operand, all_of
from connector.aerospike.expressions.texts import texts
from connector.aerospike.records import EXPIRY, LAST_UPDATE, METADATA, SET, TTL
from connector.filters import Comparison, FieldTest, In, IsNull

_SLACK_SECONDS = 300
"""How far the clocks of client and server may be apart, and a record read after the server looked at it."""

_NANOSECONDS = 10**9
_MILLISECOND = 10**6  # nanoseconds


def metadata(test: FieldTest, negated: bool) -> Expression | None:
    """A test of a metadata column; None where the server cannot tell."""
    (name, *_) = test.path
    if name == SET:
        return _set(test, negated)
    if name == TTL:
        return _time(test, negated, exp.TTL(), 1)
    if name == EXPIRY:
        return _time(test, negated, exp.VoidTime(), _NANOSECONDS)
    if name == LAST_UPDATE:
        return _updated(test, negated)
    return None


def _set(test: FieldTest, negated: bool) -> Expression | None:
    none = exp.Eq(exp.SetName(), "")
    of = Operand(lambda result: exp.SetName(), exp.Not(none), none)
    if isinstance(test, IsNull):
        return of.held if negated else of.missing
    return texts(test, negated, of)


def _updated(test: FieldTest, negated: bool) -> Expression | None:
    """Every record has such a time, of which the server keeps milliseconds and tells nanoseconds."""
    if isinstance(test, IsNull) or (isinstance(test, In) and negated):
        return None
    kind = METADATA.field(LAST_UPDATE).type
    if isinstance(test, In):
        wanted = [as_integer(one, kind) for one in test.values]
        low, high = min(wanted), max(wanted)
    elif isinstance(test, Comparison):
        low, high = integer_range(test.operator, as_integer(test.value, kind))
    else:
        return None
    first, last = low * _MILLISECOND, (high + 1) * _MILLISECOND
    terms = [exp.GE(exp.LastUpdateTime(), min(max(first, 0), GREATEST))]
    return all_of([*terms, exp.LT(exp.LastUpdateTime(), last)] if last <= GREATEST else terms)


def _time(test: FieldTest, negated: bool, value: Expression, unit: int) -> Expression | None:
    """Of a record that never expires, the server says -1."""
    if isinstance(test, IsNull):
        return exp.NE(value, -1) if negated else exp.Eq(value, -1)
    kind = METADATA.field(test.path[0]).type
    low, high = LEAST, GREATEST
    if isinstance(test, In) and not negated:
        wanted = [as_integer(one, kind) for one in test.values]
        low, high = min(wanted), max(wanted)
    elif isinstance(test, Comparison):
        low, high = integer_range(test.operator, as_integer(test.value, kind))
    least, most = (low - _SLACK_SECONDS) * unit, (high + _SLACK_SECONDS) * unit
    terms = [exp.GE(value, min(max(least, 0), GREATEST))]
    return all_of([*terms, exp.LE(value, most)] if most <= GREATEST else terms)
