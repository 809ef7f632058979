"""Options of streaming queries: which streams, from where, how much at a time, and what losses mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from connector.errors import OptionError
from connector.options import Options, boolean, names, option, whole

Start: TypeAlias = tuple[tuple[str | None, str], ...]
"""Where to begin, by stream; None stands for every stream that is not named."""

_WHERE = re.compile(r"earliest|latest|[0-9]{1,20}(-[0-9]{1,20})?")
_WEEK = 7 * 24 * 3600


def start(text: str) -> Start:
    """Parse where to begin: for all streams, or ``stream=where`` for each, joined by commas."""
    found = []
    for part in text.split(","):
        name, separator, where = part.strip().rpartition("=")
        if not _WHERE.fullmatch(where):
            raise ValueError(
                "expected earliest, latest or the ID of an entry, or stream=where joined by commas"
            )
        found.append((name if separator else None, where))
    if len({name for name, _ in found}) < len(found):
        raise ValueError("a stream is named twice")
    return tuple(found)


@dataclass(frozen=True, kw_only=True, repr=False)
class StreamOptions(Options):
    """How a streaming query reads Redis Streams, or appends to them."""

    streams: tuple[str, ...] | None = option(
        names,
        doc="streaming: the streams, joined by commas; with `table` those under `table:stream`, else "
        "whole keys. Without it `table` is the key of the one stream",
        default=None,
    )
    start: Start = option(
        start,
        doc="reading streams: where a new query begins: `earliest` (by default), `latest`, the ID of the "
        "entry behind which to read, or `stream=where` for each, joined by commas",
        default=(),
        show=str,
    )
    max_entries_per_trigger: int | None = option(
        whole(1),
        doc="reading streams: most entries in a micro-batch, divided among the streams by what each "
        "has; Spark 4.2 and later",
        default=None,
    )
    fail_on_data_loss: bool = option(
        boolean,
        doc="reading streams: whether entries that went before they were read are an error, or a "
        "warning in the log",
        default=True,
    )
    group: str | None = option(
        doc="reading streams: a consumer group to move forward as micro-batches are done",
        default=None,
    )
    replay_seconds: int = option(
        whole(1),
        doc="appending to streams: for how long after its last batch a query may be started again "
        "without appending that batch twice",
        default=_WEEK,
    )

    def starts(self, streams: tuple[str, ...]) -> dict[str, str]:
        """Where to begin in each stream.

        Raises:
            OptionError: the option names a stream that is not read.
        """
        given = dict(self.start)
        unknown = [name for name in given if name is not None and name not in streams]
        if unknown:
            raise OptionError(
                f"option 'start' names stream {unknown[0]!r}, which is not read; "
                f"read are {', '.join(streams)}"
            )
        return {name: given.get(name, given.get(None, "earliest")) for name in streams}
