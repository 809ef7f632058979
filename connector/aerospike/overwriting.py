"""Overwriting by time: a set is truncated to the records that were written since the job began."""

from __future__ import annotations

import time
from typing import Any

import aerospike
from aerospike_helpers.operations import operations

from connector.aerospike.connecting import Connection, pairs, translated
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.projecting import read_operations
from connector.aerospike.records import LAST_UPDATE
from connector.aerospike.saved import SET
from connector.errors import StoreTimeoutError

_CLOCK = "clock"  # the record that tells the time, in our own set
_MILLISECOND = 1_000_000  # nanoseconds: the grain of the times that records keep
_SERVER_EPOCH = 1_262_304_000_000  # ms from 1970 to 2010, which servers count from
_POLL_SECONDS = 0.01


def time_before(connection: Connection, options: AerospikeOptions) -> int:
    """A time, in nanoseconds since 1970, that separates the records written so far from later ones.

    Whatever was written before this call is older, on every node; whatever is written after it is not.
    Records keep the time of the node that wrote them, so nodes whose clocks differ are waited for, as
    much as the cluster says that they differ.

    Raises:
        StoreError: the cluster cannot be asked, or not be written to.
    """
    doing = f"asking {options.location} for its time"
    skew = max(map(_skew, connection.info("statistics")), default=0) * _MILLISECOND
    with translated(doing):
        moment = _now(connection, options) + skew + _MILLISECOND
        while (missing := moment + skew - _now(connection, options)) > 0:
            time.sleep(missing / 1e9)
    return moment


def truncate(connection: Connection, options: AerospikeOptions, table: str, before: int) -> None:
    """Remove the records of a set that were last written before a time, and wait until no node has them.

    Args:
        connection: to the cluster.
        options: of the store.
        table: the set.
        before: nanoseconds since 1970, as ``time_before`` gives them.

    Raises:
        StoreError: the cluster refuses; StoreTimeoutError: a node does not follow.
    """
    namespace = options.in_namespace
    doing = f"removing old records of table {table!r} from {options.location}"
    with translated(doing):
        connection.client.truncate(namespace, table, before)
    wanted = before // _MILLISECOND - _SERVER_EPOCH
    deadline = time.monotonic() + options.timeout_seconds
    while any(_truncated(told) < wanted for told in connection.info(f"sets/{namespace}/{table}")):
        if time.monotonic() > deadline:
            raise StoreTimeoutError(
                f"{doing}: a node did not follow in {options.timeout_seconds} seconds; run the write again"
            )
        time.sleep(_POLL_SECONDS)


def _now(connection: Connection, options: AerospikeOptions) -> int:
    """The time of one node, as a record keeps it that is written now."""
    key = (options.in_namespace, SET, _CLOCK)
    told: dict[str, Any] = connection.client.operate(
        key,
        [operations.write(_CLOCK, 1), *read_operations([LAST_UPDATE])],
        policy={"ttl": aerospike.TTL_NEVER_EXPIRE},
    )[2]
    return int(told[LAST_UPDATE])


def _skew(statistics: str) -> int:
    """By how many milliseconds the clocks of the nodes differ, as one of them sees it."""
    return int(pairs(statistics).get("cluster_clock_skew_ms", 0))


def _truncated(about_set: str) -> int:
    """Up to which time a node has truncated a set; a node without the set has nothing to remove."""
    told = pairs(about_set)
    return int(told["truncate_lut"]) if "truncate_lut" in told else _SERVER_EPOCH
