"""How each row is written: whether its record may or must be there, when it expires, what it replaces."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import aerospike
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connector.aerospike.choices import Expiry, GenerationPolicy
from connector.aerospike.connecting import COMMIT_LEVELS
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.records import GENERATION
from connector.errors import SchemaError
from connector.jobs import WriteJob, WriteRows

Policy: TypeAlias = "dict[str, Any]"

MOST_TTL = 10 * 365 * 24 * 3600
"""Seconds that a record can live, if it does not live for ever."""

MOST_GENERATION = 65_535
NEW = 0
"""The generation of a record that is not there."""

_EXISTS = {  # by which rows are written, and whether they replace
    (WriteRows.UPSERT, False): aerospike.POLICY_EXISTS_IGNORE,
    (WriteRows.UPSERT, True): aerospike.POLICY_EXISTS_CREATE_OR_REPLACE,
    (WriteRows.INSERT, False): aerospike.POLICY_EXISTS_CREATE,
    (WriteRows.INSERT, True): aerospike.POLICY_EXISTS_CREATE,
    (WriteRows.UPDATE, False): aerospike.POLICY_EXISTS_UPDATE,
    (WriteRows.UPDATE, True): aerospike.POLICY_EXISTS_REPLACE,
}
_EXPIRY = {
    Expiry.KEEP: aerospike.TTL_DONT_UPDATE,
    Expiry.NAMESPACE: aerospike.TTL_NAMESPACE_DEFAULT,
    Expiry.NEVER: aerospike.TTL_NEVER_EXPIRE,
}
_GENERATION = {
    GenerationPolicy.EQUAL: aerospike.POLICY_GEN_EQ,
    GenerationPolicy.GREATER: aerospike.POLICY_GEN_GT,
}


@dataclass(frozen=True)
class RowPolicies:
    """The policies of the rows of one job.

    Attributes:
        job: what is written.
        options: of the store.
        send_key: whether the records get the keys of their rows.
    """

    job: WriteJob
    options: AerospikeOptions
    send_key: bool

    @property
    def request(self) -> Policy | None:
        """The policy of whole requests; None for the connection's own.

        A row whose generation is checked is sent once: sent again, it could find what it wrote itself.
        """
        return {"max_retries": 0} if self._checked is not None else None

    def of(self, rows: pa.RecordBatch) -> tuple[Iterable[Policy], Iterable[Policy | None]]:
        """The policy and the metadata of each row's write; rows that agree share one.

        Raises:
            SchemaError: a row would not live at all or too long, or asks for no possible generation.
        """
        job, common = self.job, self._common()
        ttls: list[int] | None = None
        if job.ttl_column is not None:
            ttls = ttl_seconds(job.table, job.ttl_column, rows.column(job.ttl_column), time.time())
        checked = self._checked
        if checked is None:
            if ttls is None:
                return itertools.repeat(common), itertools.repeat(None)
            by_ttl = {ttl: common | {"ttl": ttl} for ttl in set(ttls)}
            return [by_ttl[ttl] for ttl in ttls], itertools.repeat(None)
        expected = generations(job.table, rows.column(GENERATION))
        told = {one: {"gen": one} for one in set(expected)}
        each = ttls or [common["ttl"]] * len(expected)
        # A record that is not there yet is asked for by equality, under either policy.
        kinds = [aerospike.POLICY_GEN_EQ if one == NEW else checked for one in expected]
        pairs = [*zip(each, kinds, strict=True)]
        shared = {pair: common | {"ttl": pair[0], "gen": pair[1]} for pair in set(pairs)}
        return [shared[pair] for pair in pairs], [told[one] for one in expected]

    @property
    def _checked(self) -> int | None:
        """How generations are compared; None where they are not."""
        if GENERATION not in self.job.schema.names or GENERATION in self.job.key:
            return None
        return _GENERATION.get(self.options.generation_policy)

    def _common(self) -> Policy:
        job, options = self.job, self.options
        ttl = job.options.ttl_seconds
        if ttl is None:
            # A record that is replaced is a new one: there is no expiry of its own to keep.
            keeps = options.default_expiry is Expiry.KEEP and job.replaces
            ttl = _EXPIRY[Expiry.NAMESPACE if keeps else options.default_expiry]
        return {
            "key": aerospike.POLICY_KEY_SEND if self.send_key else aerospike.POLICY_KEY_DIGEST,
            "exists": _EXISTS[job.options.rows, job.replaces],
            "commit_level": COMMIT_LEVELS[options.commit_level],
            "ttl": ttl,
        }


def ttl_seconds(table: str, column: str, ttl: pa.Array, now: float) -> list[int]:
    """For how long each row lives, as the client takes it: a null means for ever.

    Args:
        table: for messages.
        column: the column's name, for messages.
        ttl: whole seconds from now, or timestamps; those without a zone are UTC. A time that has
            passed gives the row one more second.
        now: the time in seconds since 1970.

    Raises:
        SchemaError: a row would not live at all, or longer than a record can.
    """
    moment = pt.is_timestamp(ttl.type)
    if moment:
        ttl = ttl.cast(pa.timestamp("ms", ttl.type.tz), safe=False).cast(pa.int64())
    low = pc.min(ttl).as_py()
    if low is not None and low < 1:
        raise SchemaError(
            f"table {table!r}: column {column!r} gives a row {low} "
            f"{'ms since 1970' if moment else 'seconds'} to live; at least 1 is needed, and null where "
            f"a row never expires"
        )
    seconds = np.asarray(ttl.fill_null(1).cast(pa.int64()))
    if moment:
        seconds = np.maximum(1, -(-(seconds - round(now * 1000)) // 1000))
    if len(seconds) and seconds.max() > MOST_TTL:
        raise SchemaError(
            f"table {table!r}: column {column!r} gives a row {seconds.max()} seconds to live; the server "
            f"takes at most {MOST_TTL} (10 years), and null where a row never expires"
        )
    found: list[int] = seconds.tolist()
    for row in np.flatnonzero(ttl.is_null()) if ttl.null_count else ():
        found[row] = aerospike.TTL_NEVER_EXPIRE
    return found


def generations(table: str, expected: pa.Array) -> list[int]:
    """The generation that each row expects its record to have; ``NEW`` where it is null.

    Raises:
        SchemaError: a record cannot have such a generation.
    """
    ends = pc.min_max(expected)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is not None and (low < 1 or high > MOST_GENERATION):
        raise SchemaError(
            f"table {table!r}: column {GENERATION!r} has {low if low < 1 else high}; generations are "
            f"from 1 to {MOST_GENERATION}, and null stands for a row that is not there yet"
        )
    found: list[int] = expected.fill_null(NEW).to_pylist()
    return found
