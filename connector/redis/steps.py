"""Writing rows: the commands of each row, sent as they are, as one transaction, or on a condition."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.redis.commands import Text, argument, buffer, bulk, const, joined

Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_SCRIPT = b"""
if redis.call('EXISTS', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
local at = 2
while at <= #ARGV do
  local words = tonumber(ARGV[at + 1])
  redis.call(ARGV[at], KEYS[1], unpack(ARGV, at + 2, at + 1 + words))
  at = at + 2 + words
end
return 1
"""
"""Runs commands on a key only where it exists, or does not: the condition, then name, number of further
arguments and the arguments of every command. Answers 1 where they ran."""

SCRIPT_SHA = hashlib.sha1(_SCRIPT).hexdigest().encode()


@dataclass(frozen=True)
class Step:
    """One command of every row: ``name leading ... key argument ...``.

    Attributes:
        name: the command's name.
        parts: the texts whose concatenation is the further arguments, as they are sent.
        count: how many further arguments there are; one number, or one for each row.
        rows: which rows have this command; None for all.
        leading: arguments before the key; none for a command that is to run on a condition.
    """

    name: bytes
    parts: Sequence[Text] = ()
    count: int | Counts = 0
    rows: Flags | None = None
    leading: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Request:
    """A request that writes rows, and how its replies belong to them.

    Attributes:
        request: the bytes to send.
        replies: number of one-line replies before each row's, and in all; length rows + 1.
        queued: commands in each row's transaction; 0 where there is none.
        conditional: whether a row's reply says if its condition held: 1 or 0.
    """

    request: memoryview
    replies: Counts
    queued: int = 0
    conditional: bool = False


def plain(keys: pa.Array, steps: Sequence[Step]) -> Request:
    """Every row's commands, one after the other."""
    key = joined(argument(keys))
    commands = np.zeros(len(keys), np.int64)
    for step in steps:
        commands += 1 if step.rows is None else step.rows
    return Request(buffer(joined([_command(key, step) for step in steps])), _offsets(commands))


def transaction(keys: pa.Array, steps: Sequence[Step]) -> Request:
    """Every row's commands as one transaction.

    Every row must have as many commands as every other, whichever steps they come from: when one is
    refused, its replies could not be told apart otherwise.
    """
    key = joined(argument(keys))
    commands = sum(len(keys) if step.rows is None else int(step.rows.sum()) for step in steps)
    queued, rest = divmod(commands, max(1, len(keys)))
    assert not rest, "rows of one transaction differ in their number of commands"
    opening, closing = const(b"*1\r\n$5\r\nMULTI\r\n"), const(b"*1\r\n$4\r\nEXEC\r\n")
    request = joined([opening, *(_command(key, step) for step in steps), closing])
    # MULTI's reply, one for each command as it is queued, EXEC's header, and one more for each.
    return Request(buffer(request), _offsets(np.full(len(keys), 2 + 2 * queued)), queued)


def conditional(keys: pa.Array, steps: Sequence[Step], exists: bool) -> Request:
    """Every row's commands as one call of a script, run only where its key exists, or does not."""
    words = np.full(len(keys), 4, np.int64)
    parts: list[Text] = [*argument(keys), const(bulk(b"1" if exists else b"0"))]
    for step in steps:
        count: Counts = np.broadcast_to(np.asarray(step.count, np.int64), len(keys))
        numbers = pa.array(count).cast(pa.string()).view(pa.binary())
        text = joined([const(bulk(step.name)), *argument(numbers), *step.parts])
        parts.append(_where(step.rows, text))
        words += 2 + count if step.rows is None else np.where(step.rows, 2 + count, 0)
    opening = const(b"\r\n" + bulk(b"EVALSHA") + bulk(SCRIPT_SHA) + bulk(b"1"))
    lengths = pa.array(words + 1).cast(pa.string()).view(pa.binary())
    request = joined([const(b"*"), lengths, opening, *parts])
    return Request(buffer(request), _offsets(np.ones(len(keys), np.int64)), conditional=True)


def script_request() -> memoryview:
    """SCRIPT LOAD of what ``conditional`` calls."""
    return memoryview(b"*3\r\n" + bulk(b"SCRIPT") + bulk(b"LOAD") + bulk(_SCRIPT))


def _command(key: pa.Array, step: Step) -> Text:
    """One command as it is sent; empty for the rows that do not have it."""
    words = (step.name, *step.leading)
    name, count = b"".join(map(bulk, words)), len(words) + 1 + step.count
    if isinstance(count, int):
        opening: list[Text] = [const(b"*%d\r\n" % count + name)]
    else:
        numbers = pa.array(count).cast(pa.string()).view(pa.binary())
        opening = [const(b"*"), numbers, const(b"\r\n" + name)]
    return _where(step.rows, joined([*opening, key, *step.parts]))


def _where(rows: Flags | None, text: pa.Array) -> pa.Array:
    return text if rows is None else pc.if_else(pa.array(rows), text, const(b""))


def _offsets(commands: Counts) -> Counts:
    return np.concatenate([[0], np.cumsum(commands)])
