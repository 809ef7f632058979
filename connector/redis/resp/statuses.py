"""Parsing replies of one line each: integers, states, errors, and transactions of such."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from connector.redis.resp.lines import (
    ARRAY,
    INTEGER,
    MINUS,
    STATE,
    Bytes,
    Flags,
    Ints,
    Lines,
    ProtocolError,
    parse_numbers,
)


@dataclass(frozen=True)
class Statuses:
    """Replies of one line each (integers, states, errors, in a transaction EXEC's header), in order.

    Attributes:
        numbers: each integer reply; 0 for one that is no integer.
        errors: which replies are errors, and their texts.
        size: how many of the received bytes these replies are.
    """

    numbers: Ints
    errors: dict[int, str]
    size: int


def parse_statuses(lines: Lines, count: int, queued: int = 0) -> Statuses | None:
    """Parse ``count`` replies of one line each.

    Args:
        lines: what has been received.
        count: how many lines there are if no transaction is refused.
        queued: commands in each transaction. EXEC of a refused transaction is answered by an error
            alone, without the replies to these commands: they are counted as if they were there.
            Where MULTI was refused, the commands are answered at once.

    Returns:
        The replies, or None while they are not complete.

    Raises:
        ProtocolError: a reply is of another kind.
    """
    least = count * (2 + queued) // (2 + 2 * queued)  # where every transaction is refused
    if len(lines) < least:
        return None
    kinds = lines.kinds[:count]
    errors = {
        i: lines.text(i)[1:].decode("utf-8", "replace")
        for i in np.flatnonzero(kinds == MINUS).tolist()
    }
    refused = np.zeros(len(kinds), np.int64)
    if queued and errors:
        refused[_undone(kinds, queued)] = queued
    at = np.arange(len(kinds)) + np.cumsum(refused) - refused
    mine = at < count
    kinds, at, refused, used = kinds[mine], at[mine], refused[mine], int(mine.sum())
    wrong = np.flatnonzero(~_in_place(lines, kinds, at, refused > 0, queued))
    if len(wrong):
        raise ProtocolError(f"expected a status, got {lines.text(int(wrong[0]))[:40]!r}")
    if count and (not len(at) or at[-1] + 1 + refused[-1] < count):
        return None
    number = np.flatnonzero(kinds == INTEGER)
    opens, closes = lines.starts[number] + 1, lines.ends[number]
    negative = lines.data[opens] == MINUS
    values, right = parse_numbers(lines.data, opens + negative, closes)
    if not right.all():
        raise ProtocolError(
            f"expected a number, got {lines.text(int(number[np.argmin(right)]))[:40]!r}"
        )
    numbers = np.zeros(count, np.int64)
    numbers[at[number]] = np.where(negative, -values, values)
    found = {int(at[line]): text for line, text in errors.items() if line < used}
    return Statuses(numbers, found, lines.length_after(used))


def _undone(kinds: Bytes, queued: int) -> list[int]:
    """Where EXEC was answered by an error, from one transaction to the next."""
    found: list[int] = []
    at = 1 + queued
    while at < len(kinds):
        if kinds[at] == MINUS:
            found.append(at)
            at += 2 + queued
        else:
            at += 2 + 2 * queued
    return found


def _in_place(lines: Lines, kinds: Bytes, at: Ints, refused: Flags, queued: int) -> Flags:
    """Which lines are of a kind that their place allows.

    Args:
        lines: what has been received.
        kinds: first bytes of the lines asked about, which are the first.
        at: the place of each among all replies.
        refused: which of them say that a transaction was refused.
        queued: commands in each transaction; 0 where there are none.
    """
    number: Flags = kinds == INTEGER
    plain: Flags = (kinds == STATE) | ((kinds == MINUS) & ~refused)
    if not queued:
        return plain | number
    step = at % (2 + 2 * queued)  # MULTI's reply, one for each command queued, EXEC's, the results
    done = np.flatnonzero((step == queued + 1) & ~refused)
    results, right = parse_numbers(lines.data, lines.starts[done] + 1, lines.ends[done])
    executed = refused.copy()
    executed[done] = right & (results == queued) & (kinds[done] == ARRAY)
    in_place: Flags = np.where(step == queued + 1, executed, plain | (number & (step > 0)))
    return in_place
