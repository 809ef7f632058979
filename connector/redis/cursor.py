"""Cutting one node's keyspace into ranges of SCAN cursors, and reading the keys of a range.

SCAN walks the hash table's buckets in the order of their bit-reversed numbers, and its cursor is the
number of the next bucket. So the reversed cursor is a position on a line from 0 to 2**64 that only
grows; it does not move when the table grows or shrinks; and a scan can start anywhere on it. A part
is a range of positions. This is how Redis and Valkey are built (dict.c, hashtable.c), not a
documented promise: ``node_ranges`` checks it at every plan, and plans the node whole where it fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import redis

from connector.errors import PlanExpiredError, StoreError
from connector.redis.commands import command
from connector.redis.link import Link, reply_error
from connector.redis.resp import Values
from connector.scan import Partition

END = 1 << 64
_KEYS_PER_PART = 1000  # a bucket must be far narrower than a part, or resizing can lose keys


@dataclass(frozen=True, slots=True)
class CursorRange(Partition):
    """Positions ``start`` to ``stop`` of one node's keyspace.

    Where a key stands depends on a seed that the server draws when it starts, so a range that is not
    the whole means nothing to another run of the server.

    Attributes:
        start: first position.
        stop: position behind the last.
        run_id: the run of the server that the range is of; empty for the whole keyspace.
        keep: the share of its keys that is wanted.
    """

    start: int = 0
    stop: int = END
    run_id: str = ""
    keep: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether it is the whole keyspace, for which cursors need no meaning."""
        return self.start == 0 and self.stop == END


def reverse_bits(number: int) -> int:
    """The 64-bit number with its bits in the opposite order."""
    return int(f"{number:064b}"[::-1], 2)


def ranges(parts: int, keys: int) -> list[tuple[int, int]]:
    """Cut the positions into at most ``parts`` near-equal ranges for a node of ``keys`` keys.

    Every border is a multiple of 2**64 / 2**b, where 2**b is at most a thousandth of the keys: the
    border of a bucket then, as the table has more buckets than that.
    """
    grains = 1 << max(0, (keys // _KEYS_PER_PART).bit_length() - 1)
    parts = max(1, min(parts, grains))
    borders = [grains * i // parts * (END // grains) for i in range(parts + 1)]
    return list(itertools.pairwise(borders))


def node_ranges(client: redis.Redis, parts: int) -> list[CursorRange]:
    """Plan a node: ranges of positions if its cursors behave as they must, else one for all."""
    planned = ranges(parts, int(client.dbsize()))
    run = run_id(client) if len(planned) > 1 else None
    if run is None:
        return [CursorRange(0)]
    with client.pipeline(transaction=False) as pipeline:
        for start, _ in planned:
            pipeline.scan(reverse_bits(start), count=1)
        steps = pipeline.execute()
    positions = [position(int(step[0])) for step in steps]
    # A step of COUNT 1 from a part's first position passes a few buckets, so it stays in the part.
    if all(start < at <= stop for (start, stop), at in zip(planned, positions, strict=True)):
        return [CursorRange(i, *part, run) for i, part in enumerate(planned)]
    return [CursorRange(0)]


def run_id(client: redis.Redis) -> str | None:
    """What names this run of the server; None where it does not say, or not to this user."""
    try:
        found = client.info("server").get("run_id")
    except redis.exceptions.NoPermissionError:
        return None
    return str(found) if found else None


def check_run(link: Link, part: CursorRange) -> None:
    """Raise PlanExpiredError where a range was planned on another run of the server.

    The link that scans is asked: another connection may lead elsewhere while servers are replaced.
    """
    if part.whole:
        return
    link.send(command(b"INFO", b"server"))
    told = link.values(1, 1, None)
    if told.errors:
        raise (reply_error(told.errors[0]) or StoreError)(f"asking for the run: {told.errors[0]}")
    if f"run_id:{part.run_id}\r\n".encode() not in told.columns()[0][0].as_py():
        raise PlanExpiredError(
            f"partition {part.index} was planned before the server was restarted or replaced: its keys "
            f"lie elsewhere now; plan again and read every partition anew"
        )


def position(cursor: int) -> int:
    """The position that SCAN goes on from; END behind the last bucket."""
    return reverse_bits(cursor) if 0 < cursor < END else END


def scan_keys(
    link: Link, part: CursorRange, pattern: bytes, count: int, kind: str | None = None
) -> Iterator[pa.Array]:
    """Yield the keys of a range that match a glob pattern, in arrays of ``pa.binary()``.

    Args:
        link: the connection to use.
        part: which range.
        pattern: what the server matches keys with.
        count: COUNT to begin with.
        kind: only keys of this type, as TYPE names it.

    The reply that runs over the range's end would bring keys of the next range too. It is asked for
    again with COUNT halved; at COUNT 1 the server stops at the first bucket that holds a key, so a
    reply that still runs over holds only keys from behind the end.

    The next page is asked for before the last is handed on. Close the link to end early.
    """
    cursor = 0 if part.whole else reverse_bits(part.start)
    _ask(link, cursor, pattern, count, kind)
    while True:
        following, keys = link.page()
        if keys.errors:
            refused = reply_error(keys.errors[0]) or StoreError
            raise refused(f"listing the keys {pattern!r}: {keys.errors[0]}")
        at = position(following)
        if not part.whole and at > part.stop:
            if count == 1:
                return
            count //= 2
            _ask(link, cursor, pattern, count, kind)
            continue
        page = _page(keys)
        cursor = following
        ended = following == 0 or (not part.whole and at == part.stop)
        if not ended:
            _ask(link, cursor, pattern, count, kind)
        if page is not None:
            yield page
        if ended:
            return


def _ask(link: Link, cursor: int, pattern: bytes, count: int, kind: str | None) -> None:
    words = [b"SCAN", b"%d" % cursor, b"MATCH", pattern, b"COUNT", b"%d" % count]
    words += [b"TYPE", kind.encode()] if kind else []
    link.send(command(*words))


def _page(keys: Values) -> pa.Array | None:
    if not len(keys.starts):
        return None
    if (keys.lengths < 0).any():
        raise StoreError("SCAN answered a key that is nil")
    return keys.columns()[0]
