"""Which keys are a table's rows, and what of a key names the row."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.errors import SchemaError

RESERVED = "_kvlake:"
"""Begins every key that is no row; no table may be named so."""


@dataclass(frozen=True)
class Keyspace:
    """The keys of one table.

    Attributes:
        prefix: what every key begins with and the row's name does not hold; empty where a pattern
            does not tell.
        pattern: the glob pattern that the server matches.
        by_pattern: whether ``prefix`` says less than ``pattern``.
    """

    prefix: bytes
    pattern: bytes
    by_pattern: bool = False

    @staticmethod
    def of_table(table: str) -> Keyspace:
        """The keys ``<table>:...``.

        Raises:
            SchemaError: a table cannot be named so.
        """
        if not table or table.startswith(RESERVED):
            raise SchemaError(f"a table cannot be named {table!r}")
        prefix = f"{table}:".encode()
        return Keyspace(prefix, escaped(prefix) + b"*")

    @staticmethod
    def of_pattern(pattern: str) -> Keyspace:
        """The keys that match a glob pattern; of ``text*`` the text is no part of a row's name."""
        text = pattern.encode()
        literal = re.fullmatch(rb"((?:[^*?\[\\]|\\.)*)\*", text, re.DOTALL)
        prefix = re.sub(rb"\\(.)", rb"\1", literal[1], flags=re.DOTALL) if literal else b""
        return Keyspace(prefix, text, by_pattern=True)

    def narrowed(self, pattern: str) -> Keyspace:
        """Those of a table's keys whose names match a pattern."""
        return Keyspace(self.prefix, escaped(self.prefix) + pattern.encode(), by_pattern=True)

    def own(self, keys: pa.Array) -> pa.Array:
        """Those of some keys that are this table's, as a server that matches the pattern would say."""
        if not self.by_pattern:
            return keys.filter(pc.starts_with(keys, self.prefix))
        matching = pc.match_substring_regex(keys, glob_regex(self.pattern))
        return without_bookkeeping(keys.filter(matching))

    def names(self, keys: pa.Array) -> pa.Array:
        """What names each row: the key without the prefix."""
        return without_prefix(keys, len(self.prefix))

    def keys(self, names: pa.Array) -> pa.Array:
        """The keys of rows with these names."""
        return pc.binary_join_element_wise(pa.scalar(self.prefix, pa.binary()), names, b"")


def escaped(text: bytes) -> bytes:
    """A glob pattern that matches this text alone."""
    return re.sub(rb"([\\*?\[])", rb"\\\1", text)


def glob_regex(pattern: bytes) -> bytes:
    """The regular expression for a glob pattern, as the server understands it."""
    found = [b"(?s)^"]
    at = 0
    while at < len(pattern):
        one = pattern[at : at + 1]
        closing = pattern.find(b"]", at + 1)
        if one == b"\\" and at + 1 < len(pattern):
            found.append(_literal(pattern[at + 1]))
            at += 1
        elif one == b"*":
            found.append(b".*")
        elif one == b"?":
            found.append(b".")
        elif one == b"[" and closing > 0:
            found.append(_class(pattern[at + 1 : closing]))
            at = closing
        else:
            found.append(_literal(pattern[at]))
        at += 1
    return b"".join([*found, b"$"])


def _literal(octet: int) -> bytes:
    return b"\\x%02x" % octet


def _class(inside: bytes) -> bytes:
    negated, inside = inside.startswith(b"^"), inside.removeprefix(b"^")
    found, at = [], 0
    while at < len(inside):
        if inside[at : at + 1] == b"\\" and at + 1 < len(inside):
            at += 1
        found.append(_literal(inside[at]))
        if inside[at + 1 : at + 2] == b"-" and at + 2 < len(inside):
            low, high = sorted((inside[at], inside[at + 2]))
            found[-1] = _literal(low) + b"-" + _literal(high)
            at += 2
        at += 1
    if not found:
        return b"." if negated else b"[^\\x00-\\xff]"
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(found))


def without_bookkeeping(keys: pa.Array) -> pa.Array:
    """The keys that are not ours to keep books with."""
    return keys.filter(pc.invert(pc.starts_with(keys, RESERVED.encode())))


def without_prefix(keys: pa.Array, length: int) -> pa.Array:
    """The keys from byte ``length`` on: every second piece of the same bytes, cut there too."""
    _, places, data = keys.buffers()
    ends = np.frombuffer(places, np.int32)[keys.offset : keys.offset + len(keys) + 1]
    cuts = np.stack([ends[:-1] + length, ends[1:]], axis=1).ravel()
    buffers = [None, pa.py_buffer(cuts), data]
    pieces = pa.BinaryArray.from_buffers(pa.binary(), max(0, len(cuts) - 1), buffers)
    return pieces.take(pa.array(np.arange(0, len(pieces), 2)))
