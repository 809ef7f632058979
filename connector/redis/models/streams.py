"""The stream model: a key is a stream, and every entry of it a row.

An entry's ID is the column ``_entry``, its fields are columns as those of a hash. A row is named by its
key and its ID together: entries cannot be changed, and a stream takes them in the order of their IDs only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector.codecs import decode, encode, stored_type
from connector.errors import SchemaError
from connector.redis.commands import argument, buffer, bulk, const, joined, keyed_request
from connector.redis.link import Link
from connector.redis.models.hashes import PRESENT, present_fields
from connector.redis.models.inferring import narrowest
from connector.redis.models.model import Found
from connector.redis.resp import Entries, Ints
from connector.redis.steps import Step

ENTRY = "_entry"
"""Name of the column with an entry's ID: milliseconds since 1970 and a number, joined by ``-``."""

PAGE = 500
"""Most entries of a stream that are asked for at once."""

_SAMPLED = 100
_ID = r"^(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})$"
_LIMIT = bulk(b"+") + bulk(b"COUNT") + bulk(b"%d" % PAGE)
_ADD = b"""
local added = redis.pcall('XADD', KEYS[1], unpack(ARGV))
if type(added) ~= 'table' then return 1 end
local there = redis.pcall('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if there.err or #there == 0 then return added end
local fields, stored = there[1][2], {}
for i = 1, #fields, 2 do stored[fields[i]] = fields[i + 1] end
local same = #fields == #ARGV - 1
for i = 2, #ARGV, 2 do same = same and stored[ARGV[i]] == ARGV[i + 1] end
if same then return 1 end
local why = ' is there with other fields, and entries cannot be changed'
return redis.error_reply('ERR entry ' .. ARGV[1] .. why)
"""
"""Adds an entry, or finds that it has been added before: an answer of one line, as XADD's own is not."""

Sampled: TypeAlias = Sequence[tuple[bytes, Mapping[bytes, bytes]]]


@dataclass(frozen=True)
class EntryFetch:
    """XRANGE, some entries of each stream at a time; a stream cannot give some fields alone."""

    names: tuple[str, ...]
    presence: ClassVar[bytes] = b"EXISTS"

    def request(self, keys: pa.Array) -> memoryview:
        return keyed_request(b"XRANGE", keys, [b"-", b"+", b"COUNT", b"%d" % PAGE])

    def request_after(self, keys: pa.Array, after: pa.Array) -> memoryview:
        opening = const(b"*6\r\n" + bulk(b"XRANGE"))
        return buffer(joined([opening, *argument(keys), *argument(after), const(_LIMIT)]))

    def receive(self, link: Link, keys: pa.Array) -> Found:
        found = link.entries(len(keys))
        texts = found.values.columns()[0]
        heads = _heads(found)
        ids = texts.take(pa.array(heads))
        fields = [name for name in self.names if name != ENTRY]
        columns = _pivoted(found, heads, texts, fields) if fields else {}
        if ENTRY in self.names:
            columns[ENTRY] = ids
        empty = found.counts == 0
        empty[list(found.errors)] = False
        return Found(
            columns,
            found.errors,
            found.size,
            doubtful=empty if empty.any() else None,
            rows=found.counts,
            after=_after(found.counts, ids),
        )


@dataclass(frozen=True)
class EntryCount:
    """XLEN: how many entries a stream has; none where there is no stream."""

    presence: ClassVar[bytes] = b"EXISTS"

    def request(self, keys: pa.Array) -> memoryview:
        return keyed_request(b"XLEN", keys)

    def receive(self, link: Link, keys: pa.Array) -> Found:
        lengths = link.statuses(len(keys))
        return Found({}, lengths.errors, lengths.size, rows=lengths.numbers)


@dataclass(frozen=True)
class StreamModel:
    """Rows as entries of streams. They can be added, not replaced."""

    spec: ClassVar[str] = "stream"
    kinds: ClassVar[tuple[str, ...]] = ("stream",)
    apart: ClassVar[tuple[str, ...]] = (ENTRY,)

    def fetch(self, columns: Sequence[pa.Field]) -> EntryFetch:
        return EntryFetch(tuple(column.name for column in columns))

    def counting(self) -> EntryCount:
        return EntryCount()

    def decode(self, column: pa.Field, stored: pa.Array) -> pa.Array:
        return decode(column.name, stored, column.type)

    def check(self, table: str, schema: pa.Schema, key: Sequence[str]) -> pa.Schema:
        stored = pa.schema([item.with_type(stored_type(item.name, item.type)) for item in schema])
        if ENTRY in key:
            raise SchemaError(
                f"table {table!r}: column {ENTRY!r} cannot be part of the key: the key names a stream, "
                f"and {ENTRY!r} a row in it"
            )
        if ENTRY not in stored.names or stored.field(ENTRY).type != pa.string():
            raise SchemaError(
                f"table {table!r}: rows of model 'stream' need a column {ENTRY!r} of text with the ID of "
                f"each entry, such as '1700000000000-0', rising within each stream: with IDs that the "
                f"server draws, rows that are written again would be there twice"
            )
        return stored

    def steps(self, batch: pa.RecordBatch, *, replace: bool, uniform: bool) -> list[Step]:
        if replace:
            raise SchemaError("entries of a stream cannot be replaced; append them")
        ids = batch.column(ENTRY)
        right = pc.fill_null(pc.match_substring_regex(ids, _ID), False)
        if not pc.all(right).as_py():
            bad = ids.filter(pc.invert(right))
            raise SchemaError(
                f"column {ENTRY!r}: {len(bad)} of {len(ids)} rows have no ID of an entry, such as "
                f"{bad[0].as_py()!r}; give milliseconds and a number as in '1700000000000-0'"
            )
        names = [name for name in batch.schema.names if name != ENTRY]
        columns = {name.encode(): encode(name, batch.column(name)) for name in names}
        nulls = np.zeros(batch.num_rows, np.int64)
        for column in columns.values():
            nulls += np.asarray(column.is_null())
        parts, count = present_fields(columns, nulls)
        return [
            Step(b"EVAL", [*argument(encode(ENTRY, ids)), *parts], count + 1, leading=(_ADD, b"1"))
        ]

    def sample(self, pipeline: redis.client.Pipeline, key: bytes) -> None:
        pipeline.xrange(key, count=_SAMPLED)

    def infer(self, table: str, sample: Sequence[Sampled]) -> list[pa.Field]:
        columns: dict[bytes, list[bytes]] = {}
        for entries in sample:
            for _, fields in entries:
                for name, value in fields.items():
                    if name != PRESENT:
                        columns.setdefault(name, []).append(value)
        found = [pa.field(ENTRY, pa.string(), nullable=False)]
        return found + [
            pa.field(_text(table, name), narrowest(columns[name])) for name in sorted(columns)
        ]


def _heads(found: Entries) -> Ints:
    """Where each entry begins among the texts."""
    heads: Ints = np.cumsum(1 + found.widths) - 1 - found.widths
    return heads


def _after(counts: Ints, ids: pa.Array) -> pa.Array | None:
    """The last ID of each stream that filled its page, as the open end of a range."""
    full = counts == PAGE
    if not full.any():
        return None
    last = ids.take(pa.array(np.cumsum(counts) - 1, mask=~full))
    return pc.binary_join_element_wise(b"(", last, b"")


def _pivoted(
    found: Entries, heads: Ints, texts: pa.Array, names: Sequence[str]
) -> dict[str, pa.Array]:
    """The values of some fields, a column each; of a field that an entry has twice, the last."""
    pairs = found.widths // 2
    entry = np.repeat(np.arange(len(heads)), pairs)
    nth = np.arange(len(entry)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    places = heads[entry] + 1 + 2 * nth
    coded = texts.take(pa.array(places)).dictionary_encode()
    codes = np.asarray(coded.indices)
    columns = {}
    for name in names:
        code = pc.index(coded.dictionary, pa.scalar(name.encode(), pa.binary())).as_py()
        mine = codes == code
        at = np.full(len(heads), -1, np.int64)
        at[entry[mine]] = places[mine] + 1
        columns[name] = texts.take(pa.array(at, mask=at < 0))
    return columns


def _text(table: str, name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise SchemaError(
            f"table {table!r}: the field name {name!r} is not UTF-8; give the schema, without it"
        ) from None
    if text == ENTRY:
        raise SchemaError(
            f"table {table!r} has a field {ENTRY!r}, which is the name of the column with the IDs of "
            f"entries; give the schema, without it"
        )
    return text
