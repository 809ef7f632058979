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
from aerospike_helpers.operations import operations

from connector.aerospike.expressions import Expression, all_of

_READING_OPERATIONS = (8, 1, 2)


@dataclass(frozen=True)
class Pass:
    """One query over the records of a partition.

    Attributes:
        bins: the bins to select; none for all.
        operations: the bins to read by operations in place of that.
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
            query.add_ops([operations.read(name) for name in self.operations])
        elif self.bins:
            query.select(*self.bins)


def passes(
    bins: Sequence[str], builds: Sequence[str], *, whole: bool, some_needed: bool
) -> list[Pass]:
    """The queries that together give every record, once.

    Args:
        bins: the bins wanted.
        builds: the versions of the nodes.
        whole: whether these are all bins that records are known to have: then records are sent as they
            are, which costs a server least.
        some_needed: whether only records that have one of the bins are wanted.
    """
    if not bins:
        return [Pass(no_bins=True)]
    if whole:
        return [Pass()]
    if all(_version(build) >= _READING_OPERATIONS for build in builds):
        return [Pass(operations=tuple(bins))]
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
