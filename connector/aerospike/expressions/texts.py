"""Tests of texts, bytes and decimals as server expressions.

Each is true of at least the records whose value passes the test; of what the server cannot tell, None.
The client gives a text up to its first NUL, and so does the server to a regular expression.
"""

from __future__ import annotations

from decimal import Decimal

import aerospike
from aerospike_helpers import expressions as exp
from aerospike_helpers.expressions.resources import ResultType

from connector.aerospike.expressions.operands import COMPARE, Expression, Operand, all_of, one_of
from connector.aerospike.expressions.patterns import MOST_PATTERN, escaped, from_like, from_re2
from connector.filters import Comparison, FieldTest, In, Like, Match, Operator, Regex, TextMatch

_LAST_CHARACTER, _LAST_BYTE = "\U0010ffff", b"\xff"


def texts(test: FieldTest, negated: bool, of: Operand) -> Expression | None:
    """A test of a column of texts, which are stored as such or as GeoJSON."""
    found = _text(test, of.read(ResultType.STRING))
    if found is None or (negated and not _is_exact(test)):
        return None
    if negated:
        found = exp.Not(found)
    if of.bin is None or not (negated or _may_be_object(test)):
        return found
    return exp.Or(found, exp.Eq(exp.BinType(of.bin), aerospike.AS_BYTES_GEOJSON))


def binaries(test: FieldTest, negated: bool, of: Operand) -> Expression | None:
    """A test of a column of bytes, which are stored as a blob or as a HyperLogLog."""
    found = _binary(test, of.read(ResultType.BLOB))
    if found is None:
        return None
    if negated:
        found = exp.Not(found)
    if of.bin is None:
        return found
    kind = exp.BinType(of.bin)  # between the two are the blobs of old clients
    above = [exp.GT(kind, aerospike.AS_BYTES_BLOB), exp.LE(kind, aerospike.AS_BYTES_HLL)]
    return exp.Or(found, all_of(above))


def decimals(test: FieldTest, negated: bool, of: Operand) -> Expression | None:
    """A test of a column of decimals, which are stored as texts that need not be alike."""
    if isinstance(test, In) and not negated:
        given = test.values
    elif isinstance(test, Comparison) and test.operator is Operator.EQUAL:
        given = (test.value,)
    else:
        return None
    spellings = [_spellings(value) for value in given if isinstance(value, Decimal)]
    # An exponent may say anything.
    return _matches("|".join([*spellings, "[eE]"]), of.read(ResultType.STRING))


def _text(test: FieldTest, text: Expression) -> Expression | None:
    if isinstance(test, Comparison):
        return None if _has_nul(test.value) else COMPARE[test.operator](text, test.value)
    if isinstance(test, In):
        wanted = sorted({value for value in test.values if not _has_nul(value)})
        return one_of(text, wanted) if wanted else None
    if isinstance(test, Like):
        return _matches(from_like(test.pattern), text)
    if isinstance(test, Regex):
        return _matches(from_re2(test.pattern), text)
    if not isinstance(test, TextMatch) or _has_nul(test.text):
        return None
    if test.match is Match.STARTS:
        return _starts(text, test.text)
    if not test.text:
        return None
    return _matches(escaped(test.text) + ("$" if test.match is Match.ENDS else ""), text)


def _binary(test: FieldTest, data: Expression) -> Expression | None:
    if isinstance(test, Comparison):
        return COMPARE[test.operator](data, test.value)
    if isinstance(test, In):
        return one_of(data, sorted(set(test.values)))
    if isinstance(test, TextMatch) and test.match is Match.STARTS:
        return _starts(data, test.text.encode())
    return None


def _starts(value: Expression, prefix: str | bytes) -> Expression | None:
    """From the prefix up to the next text, or bytes, that does not begin with it."""
    if not prefix:
        return None
    behind = _behind_text(prefix) if isinstance(prefix, str) else _behind_bytes(prefix)
    return all_of([exp.GE(value, prefix), *([exp.LT(value, behind)] if behind else [])])


def _behind_text(prefix: str) -> str:
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return ""
    last = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if last == 0xD800 else last)  # between are no characters


def _behind_bytes(prefix: bytes) -> bytes:
    kept = prefix.rstrip(_LAST_BYTE)
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b""


def _matches(pattern: str | None, text: Expression) -> Expression | None:
    if pattern is None or len(pattern) > MOST_PATTERN:
        return None
    # No flag but this one: the client's others are numbered unlike the server's.
    return exp.CmpRegex(aerospike.REGEX_EXTENDED, pattern, text)


def _is_exact(test: FieldTest) -> bool:
    """Whether the server's answer is that of the test, and not yes more often."""
    return not isinstance(test, Regex) and not (isinstance(test, Like) and "_" in test.pattern)


def _may_be_object(test: FieldTest) -> bool:
    """Whether a text that begins like a JSON object may pass."""
    begins: tuple[object, ...] = ("",)
    if isinstance(test, In):
        begins = test.values
    elif isinstance(test, Comparison) and test.operator is Operator.EQUAL:
        begins = (test.value,)
    elif isinstance(test, TextMatch) and test.match is Match.STARTS:
        begins = (test.text,)
    elif isinstance(test, Like) and test.pattern[:1] not in ("%", "_", "\\"):
        begins = (test.pattern,)
    return any(str(one)[:1] in ("", "{") for one in begins)


def _spellings(value: Decimal) -> str:
    """A pattern for the texts without exponent that parse to a decimal."""
    sign, digits, exponent = value.normalize().as_tuple()
    assert isinstance(exponent, int)
    if not value:
        return r"^[+-]?0*\.?0*$"
    written = "".join(map(str, digits)) + "0" * max(exponent, 0)
    behind = max(-exponent, 0)
    whole = written[: len(written) - behind].lstrip("0")
    part = written[len(written) - behind :].rjust(behind, "0") if behind else ""
    return f"^{'-' if sign else '[+]?'}0*{whole}" + (rf"\.{part}0*$" if part else r"(\.0*)?$")


def _has_nul(value: object) -> bool:
    return isinstance(value, str) and "\0" in value
