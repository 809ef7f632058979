"""Arithmetic as C does it on 64 bits: the server's expressions compute so."""

from __future__ import annotations

import math

_BITS = 64
_MASK = (1 << _BITS) - 1


def wrapped(number: int) -> int:
    """A number as a signed 64 bit integer holds it."""
    number &= _MASK
    return number - (1 << _BITS) if number >> _BITS - 1 else number


def unsigned(number: int) -> int:
    """The same bits, without a sign."""
    return number & _MASK


def quotient(a: int, b: int) -> int:
    """Division that cuts towards zero."""
    cut = abs(a) // abs(b)
    return wrapped(-cut if (a < 0) != (b < 0) else cut)


def remainder(a: int, b: int) -> int:
    """The remainder of that division: it has the sign of ``a``."""
    return a - b * quotient(a, b) if b != -1 else 0


def divided(a: float, b: float) -> float:
    """Division that gives infinity or NaN where there is no quotient."""
    if b:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1, b)


def power(a: float, b: float) -> float:
    """``pow`` of C."""
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        return math.inf if a == 0 else math.nan


def logarithm(number: float) -> float:
    """``log`` of C."""
    if number == 0:
        return -math.inf
    return math.log(number) if number > 0 else math.nan


def to_int(number: float) -> int:
    """The integer part; the least integer for what does not fit."""
    if math.isnan(number) or not -(2.0**63) <= number < 2.0**63:
        return -(1 << 63)
    return int(number)


def floored(number: float) -> float:
    """``floor`` of C."""
    return float(math.floor(number)) if math.isfinite(number) else number


def ceiled(number: float) -> float:
    """``ceil`` of C."""
    return float(math.ceil(number)) if math.isfinite(number) else number
