"""Cutting a table into partitions, and listing the keys of one, in a server or a cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa
import redis

from connector.redis.cluster import Cluster
from connector.redis.cursor import CursorRange, check_run, node_ranges, scan_keys
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace, without_bookkeeping
from connector.redis.options import RedisOptions
from connector.redis.search.planning import SearchQuery, search_keys
from connector.redis.servers import Servers
from connector.redis.slot_range import SlotLister, SlotRange, slot_ranges
from connector.sampling import sampled
from connector.scan import KeyList, Partition

_MOST_RANGES = 1024  # planned for a sample

T = TypeVar("T", SlotRange, CursorRange)


def plan(
    servers: Servers, keyspace: Keyspace, parts: int, share: float
) -> list[SlotRange] | list[CursorRange]:
    """Cut the keys into about ``parts`` partitions: ranges of slots, or of one server's cursors.

    Slots, and the positions of cursors, are hashes of keys, so that any range of them is a random
    sample. For a ``share`` of the keys more and smaller ranges are planned, and some of them taken.
    """
    wanted = min(max(parts, _MOST_RANGES), math.ceil(parts / share))
    if isinstance(servers, Cluster):
        return _some(slot_ranges(keyspace, wanted), share)
    pool = servers.pool("", replica=True)
    return _some(node_ranges(redis.Redis(connection_pool=pool), wanted), share)


def _some(ranges: list[T], share: float) -> list[T]:
    """As few of the ranges as hold ``share`` of the keys, and which share of theirs is to be kept."""
    count = math.ceil(len(ranges) * share)
    keep = share * len(ranges) / count
    chosen = (ranges[i * len(ranges) // count] for i in range(count))
    return [replace(part, index=i, keep=keep) for i, part in enumerate(chosen)]


def whole(servers: Servers, keyspace: Keyspace) -> Partition:
    """One partition for all keys."""
    return slot_ranges(keyspace, 1)[0] if isinstance(servers, Cluster) else CursorRange(0)


def partition_keys(
    partition: Partition,
    keyspace: Keyspace,
    servers: Servers,
    links: Links,
    options: RedisOptions,
    doing: str,
    *,
    kind: str | None = None,
) -> Iterator[pa.Array]:
    """List the keys of a partition, in arrays of ``pa.binary()``.

    Args:
        partition: one that ``plan`` made, or a list of keys.
        keyspace: which keys are the table's.
        servers: who has which key.
        links: the connections to use.
        options: COUNT for SCAN and for cursors of an index.
        doing: what is being done, for messages.
        kind: where the server can be asked for them alone, only keys of this type.
    """
    if isinstance(partition, KeyList):
        if len(names := partition.names):
            yield keyspace.keys(names)
        return
    assert isinstance(partition, (SlotRange, CursorRange, SearchQuery))
    for page in _listed(partition, keyspace, servers, links, options, doing, kind):
        if partition.keep >= 1:
            yield page
        elif len(some := page.filter(sampled(page, partition.keep))):
            yield some


def _listed(
    partition: SlotRange | CursorRange | SearchQuery,
    keyspace: Keyspace,
    servers: Servers,
    links: Links,
    options: RedisOptions,
    doing: str,
    kind: str | None,
) -> Iterator[pa.Array]:
    if isinstance(partition, SearchQuery):
        yield from search_keys(servers, partition, keyspace, options.scan_count, doing)
        return
    if isinstance(partition, SlotRange):
        assert isinstance(servers, Cluster)
        lister = SlotLister(servers, links, keyspace, options.scan_count, doing)
        yield from lister.keys(partition)
        return
    link = links.to("", "scan")
    check_run(link, partition)
    pages = scan_keys(link, partition, keyspace.pattern, options.scan_count, kind)
    yield from map(without_bookkeeping, pages) if keyspace.by_pattern else pages
