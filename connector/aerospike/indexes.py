"""Secondary indexes: which there are, and which one can answer a filter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.types as pt
from aerospike import predicates

from connector.aerospike.expressions.normal import normal
from connector.aerospike.expressions.numbers import GREATEST, LEAST, as_integer, integer_range
from connector.aerospike.records import METADATA
from connector.codecs import stored_type
from connector.errors import OptionError
from connector.filters import Comparison, Filter, In, Operator, conjuncts

AUTO, OFF = "auto", "off"

_ENTRY = re.compile(r";(?=ns=)")
_FIELD = re.compile(r":(?=(?:indexname|set|bin|type|indextype|context|exp|state)=)")
_NEEDED = frozenset(["indexname", "set", "bin", "type", "indextype", "state"])
_NUMERIC, _STRING = "numeric", "string"
_MOST_TEXT_BYTES = 2048  # of a longer text an index has nothing
_SPARSE = 8
"""How many times as many integers as there are in an IN may lie between its least and its greatest."""


@dataclass(frozen=True)
class Index:
    """A secondary index of a namespace.

    Attributes:
        name: of the index.
        set: whose records are in it; None for all of the namespace.
        bin: what is indexed; None where that is an expression.
        type: "numeric", "string", "blob" or "geo2dsphere": values of other types are not in it.
        collection: "default", or what of a list or a map is indexed.
        context: where in the bin that is; None for all of it.
        ready: whether it has all records already.
    """

    name: str
    set: str | None
    bin: str | None
    type: str
    collection: str
    context: str | None
    ready: bool


@dataclass(frozen=True)
class IndexUse:
    """An index and what to ask it.

    Attributes:
        index: the index.
        predicate: for ``Query.where`` of the client.
    """

    index: Index
    predicate: tuple[Any, ...]


@dataclass(frozen=True)
class _Span:
    """The integers from ``low`` to ``high``, or a text."""

    low: int = LEAST
    high: int = GREATEST
    text: str | None = None

    @property
    def exact(self) -> bool:
        return self.text is not None or self.low == self.high

    @property
    def closed(self) -> bool:
        return self.text is not None or (self.low > LEAST and self.high < GREATEST)

    def within(self, other: _Span) -> _Span:
        return _Span(max(self.low, other.low), min(self.high, other.high), self.text or other.text)


def parse(text: str) -> list[Index]:
    """The indexes in a server's answer to ``sindex-list:namespace=NAMESPACE;b64=true``."""
    found = []
    for entry in _ENTRY.split(text.strip().rstrip(";")):
        told = dict(part.partition("=")[::2] for part in _FIELD.split(entry))
        if not _NEEDED.issubset(told):
            continue
        by_expression = told.get("exp", "null") != "null"
        found.append(
            Index(
                told["indexname"],
                _given(told["set"]),
                None if by_expression else _given(told["bin"]),
                told["type"].lower(),
                told["indextype"].lower(),
                _given(told.get("context", "null")),
                told["state"] == "RW",
            )
        )
    return found


def chosen(
    filter: Filter | None,
    schema: pa.Schema,
    indexes: Sequence[Index],
    wanted: str,
    *,
    table: str,
    key: tuple[str, ...] = (),
    bins: Mapping[str, str] = MappingProxyType({}),
) -> IndexUse | None:
    """The index to ask for the rows of a filter, which loses none of them; the filter is still to be tested.

    Left to itself it takes an index for a value or for a range with two ends: half of a column may well be
    beyond one end, and a scan is the faster for that. An index that is named is taken for that, too.

    Args:
        filter: a filter that ``bind`` gave.
        schema: the columns.
        indexes: those of the namespace.
        wanted: "auto", "off", or the name of the one to take.
        table: the set.
        key: the names of the columns that are the records' user keys, and in no bin.
        bins: the bins of columns that have other names than their bins.

    Returns:
        The index and what to ask it; None where none can answer, or the named one not this filter.

    Raises:
        OptionError: there is no such index, or it is not one of a column's values in this set's records.
    """
    if wanted == OFF:
        return None
    columns = _columns(schema, {*key, *METADATA.names}, bins)
    fitting = [one for one in indexes if _fits(one, table, columns)]
    # Of two on one bin the server asks that of the set, even where it is not ready.
    unready = {one.bin for one in fitting if not one.ready}
    usable = [one for one in fitting if one.bin not in unready]
    if wanted != AUTO:
        usable = [_named(wanted, usable, indexes, table)]
    if filter is None:
        return None
    best: tuple[tuple[bool, int], IndexUse] | None = None
    for index in usable:
        span = _span(filter, columns[str(index.bin)])
        if span is None or not (span.closed or wanted != AUTO):
            continue
        rank = (not span.exact, span.high - span.low)
        if best is None or rank < best[0]:
            best = rank, IndexUse(index, _predicate(index, span))
    return best and best[1]


def _given(text: str) -> str | None:
    return None if text.lower() == "null" else text


def _columns(schema: pa.Schema, apart: set[str], bins: Mapping[str, str]) -> Mapping[str, pa.Field]:
    """The columns by their bins."""
    found = [field for field in schema if field.name not in apart]
    return {bins.get(field.name, field.name): field for field in found}


def _fits(index: Index, table: str, columns: Mapping[str, pa.Field]) -> bool:
    """Whether every row with a value in a column that the index is of is in it, once it is ready."""
    field = columns.get(index.bin or "")
    plain = index.collection == "default" and index.context is None
    if field is None or not plain or index.set not in (None, table):
        return False
    kind = stored_type(field.name, field.type)
    if index.type == _STRING:
        return bool(pt.is_string(kind))
    # Floating-point numbers and booleans may be stored as integers, but need not be.
    whole = pt.is_integer(kind) or pt.is_date(kind) or pt.is_timestamp(kind)
    return index.type == _NUMERIC and bool(whole and not pt.is_uint64(kind))


def _named(name: str, usable: list[Index], indexes: Sequence[Index], table: str) -> Index:
    for index in usable:
        if index.name == name:
            return index
    there = next((index for index in indexes if index.name == name), None)
    if there is None:
        wrong = "is not there"
    elif not there.ready:
        wrong = "is still being built, or is broken: wait for it, or make it anew"
    else:
        wrong = f"is not one of a whole column, of integers, times or texts, of table {table!r}"
    others = ", ".join(sorted(index.name for index in usable)) or "none"
    raise OptionError(f"option 'sindex': index {name!r} {wrong}; table {table!r} can use: {others}")


def _span(filter: Filter, field: pa.Field) -> _Span | None:
    """What of a column can pass all terms of a filter; None where an index cannot tell, or it is nothing."""
    kind = stored_type(field.name, field.type)
    span: _Span | None = None
    for term in conjuncts(normal(filter)):
        if not isinstance(term, Comparison | In) or term.path != (field.name,):
            continue
        one = _of_text(term) if pt.is_string(kind) else _of_integers(term, kind)
        if one is not None:
            span = one if span is None else span.within(one)
    return None if span is None or span.low > span.high else span


def _of_text(term: Comparison | In) -> _Span | None:
    given = term.values if isinstance(term, In) else (term.value,)
    equal = isinstance(term, In) or term.operator is Operator.EQUAL
    if not equal or len(given) != 1:
        return None
    text = str(given[0])
    # The index has no GeoJSON, which reads as text, and what the client sends ends at a NUL.
    usable = len(text.encode()) <= _MOST_TEXT_BYTES and not text.startswith("{")
    return _Span(text=text) if usable and "\0" not in text else None


def _of_integers(term: Comparison | In, kind: pa.DataType) -> _Span | None:
    if isinstance(term, Comparison):
        low, high = integer_range(term.operator, as_integer(term.value, kind))
        return None if (low, high) == (LEAST, GREATEST) else _Span(low, high)
    values = sorted({as_integer(value, kind) for value in term.values})
    if not values or values[-1] - values[0] >= _SPARSE * len(values):
        return None
    return _Span(values[0], values[-1])


def _predicate(index: Index, span: _Span) -> tuple[Any, ...]:
    if span.exact:
        return predicates.equals(index.bin, span.low if span.text is None else span.text)
    return predicates.between(index.bin, span.low, span.high)
