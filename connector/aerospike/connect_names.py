"""Options of Aerospike Connect for Spark that are written in another way here, or are not needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NoReturn

from connector.options import boolean


def no_licence(text: str) -> None:
    """Parse an option that has nothing to say here, and say that."""
    warnings.warn(
        "options 'aerospike.keyPath' and 'aerospike.featureKey' have no effect: no licence is needed; leave "
        "them out",
        stacklevel=2,
    )


def _sindex_enabled(text: str) -> str:
    return "auto" if boolean(text) else "off"


def _instead(advice: str) -> Callable[[str], NoReturn]:
    """A parser that refuses an option, and says what to do in place of it."""

    def parse(text: str) -> NoReturn:
        raise ValueError(advice)

    return parse


_RENAME = "rename the column of the DataFrame"
_FILTER = _instead(
    "give option 'filter', or filter the DataFrame: the servers evaluate it, by a secondary index where "
    "one fits"
)

OF_SINDEX = {
    "aerospike.sindex.enable": _sindex_enabled,
    "aerospike.sindex.filter": _FILTER,
    "aerospike.pushdown.expressions": _FILTER,
}
OF_SEND_KEY = {
    "aerospike.digestcolumn": _instead(f"a read has it as `__digest`; {_RENAME}"),
    "aerospike.updatebydigest": _instead(
        "give key.column=__digest, and the digests in a column of that name"
    ),
}
OF_EXPIRY = {
    "aerospike.expirycolumn": _instead(f"a read has it as `__expiry`; {_RENAME}"),
}
OF_GENERATION = {
    "aerospike.generationcolumn": _instead(
        f"reads and writes have it as `__generation`; {_RENAME}"
    ),
}
