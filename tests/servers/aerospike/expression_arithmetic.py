"""Expressions on numbers. An unknown operand makes the result unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from . import c_arithmetic as c
from .expression_types import UNKNOWN, Kind, Node, Scope
from .protocol import Refused, Result

Build = Callable[[Sequence[Node]], Node]


def _node(kind: Kind, nodes: Sequence[Node], compute: Callable[..., Any]) -> Node:
    operands = [node.evaluate for node in nodes]

    def evaluate(scope: Scope) -> Any:
        values = []
        for operand in operands:
            value = operand(scope)
            if value is UNKNOWN:
                return UNKNOWN
            values.append(value)
        return compute(*values)

    return Node(kind, evaluate)


def _common(nodes: Sequence[Node]) -> Kind:
    kinds = {node.kind for node in nodes}
    if kinds not in ({Kind.INT}, {Kind.FLOAT}):
        raise Refused(Result.PARAMETER)
    (kind,) = kinds
    assert kind is not None
    return kind


def _of_numbers(of_ints: Callable[..., Any], of_floats: Callable[..., Any]) -> Build:
    """Any number of operands, all integers or all floats."""

    def built(nodes: Sequence[Node]) -> Node:
        kind = _common(nodes)
        return _node(kind, nodes, of_ints if kind == Kind.INT else of_floats)

    return built


def _of(operands: Sequence[Kind], result: Kind, compute: Callable[..., Any]) -> Build:
    """Operands of exactly these types."""

    def built(nodes: Sequence[Node]) -> Node:
        if [node.kind for node in nodes] != list(operands):
            raise Refused(Result.PARAMETER)
        return _node(result, nodes, compute)

    return built


def _folded(step: Callable[[int, int], int]) -> Build:
    """Any number of integers, from the left."""

    def built(nodes: Sequence[Node]) -> Node:
        if not nodes or {node.kind for node in nodes} != {Kind.INT}:
            raise Refused(Result.PARAMETER)
        return _node(Kind.INT, nodes, lambda *values: reduce(step, values))

    return built


def _subtracted(first: Any, *others: Any) -> Any:
    return reduce(lambda a, b: a - b, others, first) if others else 0 - first


def _quotient(first: int, *others: int) -> Any:
    over, under = (first, _product(*others)) if others else (1, first)
    return c.quotient(over, under) if under else UNKNOWN


def _product(*values: int) -> int:
    return c.wrapped(reduce(lambda a, b: a * b, values, 1))


def _divided(first: float, *others: float) -> float:
    over, under = (first, _float_product(*others)) if others else (1.0, first)
    return c.divided(over, under)


def _float_product(*values: float) -> float:
    return reduce(lambda a, b: a * b, values, 1.0)


def _least(*values: Any) -> Any:
    return reduce(lambda a, b: b if a > b else a, values)


def _greatest(*values: Any) -> Any:
    return reduce(lambda a, b: b if a < b else a, values)


def _scan(found: Callable[[int], int]) -> Callable[[int, bool], int]:
    return lambda number, bit: found(c.unsigned(number if bit else ~number))


_INT, _FLOAT = Kind.INT, Kind.FLOAT

ARITHMETIC: dict[int, Build] = {
    20: _of_numbers(lambda *v: c.wrapped(sum(v)), lambda *v: reduce(lambda a, b: a + b, v)),
    21: _of_numbers(lambda *v: c.wrapped(_subtracted(*v)), _subtracted),
    22: _of_numbers(_product, _float_product),
    23: _of_numbers(_quotient, _divided),
    24: _of((_FLOAT, _FLOAT), _FLOAT, c.power),
    25: _of((_FLOAT, _FLOAT), _FLOAT, lambda a, b: c.divided(c.logarithm(a), c.logarithm(b))),
    26: _of((_INT, _INT), _INT, lambda a, b: c.remainder(a, b) if b else UNKNOWN),
    27: _of_numbers(lambda a: c.wrapped(abs(a)), abs),
    28: _of((_FLOAT,), _FLOAT, c.floored),
    29: _of((_FLOAT,), _FLOAT, c.ceiled),
    30: _of((_FLOAT,), _INT, c.to_int),
    31: _of((_INT,), _FLOAT, float),
    32: _folded(lambda a, b: a & b),
    33: _folded(lambda a, b: a | b),
    34: _folded(lambda a, b: a ^ b),
    35: _of((_INT,), _INT, lambda a: ~a),
    36: _of((_INT, _INT), _INT, lambda a, b: c.wrapped(a << (b & 63))),
    37: _of((_INT, _INT), _INT, lambda a, b: c.wrapped(c.unsigned(a) >> (b & 63))),
    38: _of((_INT, _INT), _INT, lambda a, b: a >> (b & 63)),
    39: _of((_INT,), _INT, lambda a: c.unsigned(a).bit_count()),
    40: _of((_INT, Kind.BOOL), _INT, _scan(lambda n: 64 - n.bit_length() if n else -1)),
    41: _of((_INT, Kind.BOOL), _INT, _scan(lambda n: 64 - (n & -n).bit_length() if n else -1)),
    50: _of_numbers(_least, _least),
    51: _of_numbers(_greatest, _greatest),
}
