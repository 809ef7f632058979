"""Asking for some bins of every record: one query, or two where the server cannot do it in one.

A scan that names bins passes over records that have none of them. From 8.1.2 on a query may read bins by
operations instead, and then has every record. Before that, a second query asks for the records that
have none of the bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aerospike_helpers import expressions as exp
from aerospike_helpers.operations import expression_operations, operations

from connector.aerospike.expressions import Expression, all_of
from connector.aerospike.records import LAST_UPDATE
from connector.errors import OptionError

_READING_OPERATIONS = (8, 1, 2)


@dataclass(frozen=True)
class Pass:
    """One query over the records of a partition.

    Attributes:
        bins: the bins to select; none for all.
        operations: the bins to read by operations in place of that; LAST_UPDATE among them is the time
            when the record was last written.
        no_bins: whether records come without bins.
        condition: of which records; None for all.
    """

    bins: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    no_bins: bool = False
    condition: Expression | None = None

    def prepare(self, query: Any) -> None:
        """Have a query of the client fetch the bins."""
        if self.operations:
            query.add_ops(read_operations(self.operations))
        elif self.bins:
            query.select(*self.bins)


def read_operations(names: Sequence[str]) -> list[dict[str, Any]]:
    """The operations that read bins, and for LAST_UPDATE when the record was last written."""
    return [_updated() if name == LAST_UPDATE else operations.read(name) for name in names]


def _updated() -> dict[str, Any]:
    told: dict[str, Any] = expression_operations.expression_read(
        LAST_UPDATE, exp.LastUpdateTime().compile()
    )
    return told


def passes(
    bins: Sequence[str], builds: Sequence[str], *, whole: bool, some_needed: bool
) -> list[Pass]:
    """The queries that together give every record, once.

    Args:
        bins: the bins wanted, LAST_UPDATE among them.
        builds: the versions of the nodes.
        whole: whether these are all bins that records are known to have: then records are sent as they
            are, which costs a server least.
        some_needed: whether only records that have one of the bins are wanted.

    Raises:
        OptionError: LAST_UPDATE is wanted, and a node cannot tell it.
    """
    if not bins:
        return [Pass(no_bins=True)]
    if whole:
        return [Pass()]
    if all(_version(build) >= _READING_OPERATIONS for build in builds):
        return [Pass(operations=tuple(bins))]
    if LAST_UPDATE in bins:
        raise OptionError(
            f"column {LAST_UPDATE!r} can be read by a scan where every node is 8.1.2 or later, and there is "
            f"{min(builds, key=_version)}; leave it out, also of the filter"
        )
    first = Pass(bins=tuple(bins))
    if some_needed:
        return [first]
    none = [exp.Not(exp.BinExists(name)) for name in bins]
    return [first, Pass(no_bins=True, condition=conjunction(*none))]


def conjunction(*conditions: Expression | None) -> Expression | None:
    """The expression that holds where all of these do; None for always."""
    given = [one for one in conditions if one is not None]
    return all_of(given) if given else None


def _version(build: str) -> tuple[int, ...]:
    return tuple(int(part) for part in build.split("-")[0].split(".") if part.isdigit())
