"""A look at some keys of a server or a cluster, to tell how many of them are a table's.

Keys are looked at from a few places on, by SCAN. A cursor is the number of a hash bucket, so that a
scan can start anywhere, and what it meets there is a random sample of the keys. In a cluster newer
servers keep every slot apart and have its number in the cursor's lowest bits; to older ones these are
bits like others. So a cursor with the number of a slot there is good for both.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connector.errors import StoreError
from connector.redis.cluster import Cluster
from connector.redis.commands import argument, buffer, bulk, command, const, joined
from connector.redis.cursor import CursorRange, scan_keys
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace
from connector.redis.link import Link, reply_error
from connector.redis.resp import Ints
from connector.redis.servers import Servers
from connector.redis.slot_range import slot_ranges
from connector.redis.slots import SLOTS, key_slots

FEW = 4096
"""Of so many keys and fewer, all are looked at."""

_PLACES = 16
_KEYS_EACH = 64
_SEED = 5  # the same places every time: where a key stands is random, and plans should not waver
_SLOT_BITS = 14


@dataclass(frozen=True)
class KeySample:
    """What a look at some keys found.

    Attributes:
        keys: those that are the table's, each once.
        looked_at: how many keys were looked at.
        total: how many there are.
        complete: whether the table has no other keys.
    """

    keys: pa.Array
    looked_at: int
    total: int
    complete: bool

    @property
    def most(self) -> int:
        """How many keys the table has; of a sample about the most that it can have.

        That is two standard deviations more than was found, and 3: where that many are to be expected
        in a sample, none is found once in 20 times.
        """
        found = len(self.keys)
        if self.complete:
            return found
        share = (found + 2 * math.sqrt(found) + 3) / max(1, self.looked_at)
        return math.ceil(self.total * min(1.0, share))


def sample_keys(servers: Servers, keyspace: Keyspace, links: Links, doing: str) -> KeySample:
    """Look at about 1,000 keys; at all of them where they are few.

    Args:
        servers: who has which key.
        keyspace: which keys are the table's.
        links: the connections to use.
        doing: what is being done, for messages.

    Raises:
        AuthenticationError: the user may not ask for this.
        StoreError: a server refused.
        redis.RedisError, OSError: no node of the cluster says which slots it has.
    """
    if isinstance(servers, Cluster):
        return _of_cluster(servers, keyspace, links, doing)
    link = links.to("", "scan")
    link.send(command(b"DBSIZE"))
    total = int(_numbers(link, 1, doing)[0])
    if total <= FEW:
        pages = [*scan_keys(link, CursorRange(0), keyspace.pattern, FEW)]
        return _complete(keyspace, pages, total)
    draw = random.Random(_SEED)
    looked_at = _looked_at([(link, draw.getrandbits(64)) for _ in range(_PLACES)], doing)
    return KeySample(keyspace.own(looked_at), len(looked_at), total, complete=False)


def _of_cluster(cluster: Cluster, keyspace: Keyspace, links: Links, doing: str) -> KeySample:
    """The same among the slots in which a table's keys can be, each drawn as often as it has keys."""
    cluster.refresh()  # a node counts nothing in a slot that it has given away, and does not say so
    cut = slot_ranges(keyspace, 1)[0]
    sizes = _sizes(cluster, np.arange(cut.start, cut.stop), links, doing)
    total = int(sizes.sum())
    if total <= FEW:
        return _complete(keyspace, _listed(cluster, sizes, links, doing), total)
    draw = random.Random(_SEED)
    slots = draw.choices(range(SLOTS), weights=sizes.tolist(), k=_PLACES)
    looked_at = _looked_at(
        [
            (links.to(cluster.owner(slot), "scan"), draw.getrandbits(48) << _SLOT_BITS | slot)
            for slot in slots
        ],
        doing,
    )
    at = key_slots(looked_at)
    looked_at = looked_at.filter(pa.array((cut.start <= at) & (at < cut.stop)))
    return KeySample(keyspace.own(looked_at), len(looked_at), total, complete=False)


def _sizes(cluster: Cluster, slots: Ints, links: Links, doing: str) -> Ints:
    """How many keys each slot holds; shape (SLOTS,)."""
    found = np.zeros(SLOTS, np.int64)
    asked = cluster.owners(slots)
    for node, mine in asked.items():
        links.to(node, "scan").send(_about_slots(b"COUNTKEYSINSLOT", mine))
    for node, mine in asked.items():
        found[mine] = _numbers(links.to(node, "scan"), len(mine), doing)
    return found


def _listed(cluster: Cluster, sizes: Ints, links: Links, doing: str) -> list[pa.Array]:
    """The keys of all slots that hold any."""
    pages = []
    asked = cluster.owners(np.flatnonzero(sizes))
    for node, mine in asked.items():
        links.to(node, "scan").send(_about_slots(b"GETKEYSINSLOT", mine, b"%d" % FEW))
    for node, mine in asked.items():
        answer = links.to(node, "scan").arrays(len(mine))
        _check(answer.errors, doing)
        pages.append(answer.flat())
    return pages


def _about_slots(name: bytes, slots: Ints, *more: bytes) -> memoryview:
    """``CLUSTER name slot more`` for each slot."""
    numbers = pa.array(slots).cast(pa.string()).view(pa.binary())
    opening = const(b"*%d\r\n" % (3 + len(more)) + bulk(b"CLUSTER") + bulk(name))
    return buffer(joined([opening, *argument(numbers), const(b"".join(map(bulk, more)))]))


def _looked_at(places: list[tuple[Link, int]], doing: str) -> pa.Array:
    """The keys that a step from each of these cursors meets, each once."""
    for link, cursor in places:
        link.send(command(b"SCAN", b"%d" % cursor, b"COUNT", b"%d" % _KEYS_EACH))
    pages = [pa.array([], pa.binary())]
    for link, _ in places:
        _, keys = link.page()
        _check(keys.errors, doing)
        if len(keys.starts):
            pages.append(keys.columns()[0])
    return pa.concat_arrays(pages).unique()


def _complete(keyspace: Keyspace, pages: list[pa.Array], total: int) -> KeySample:
    keys = pa.concat_arrays([pa.array([], pa.binary()), *pages]).unique()
    return KeySample(keyspace.own(keys), total, total, complete=True)


def _numbers(link: Link, count: int, doing: str) -> Ints:
    answer = link.statuses(count)
    _check(answer.errors, doing)
    return answer.numbers


def _check(errors: dict[int, str], doing: str) -> None:
    if errors:
        text = next(iter(errors.values()))
        raise (reply_error(text) or StoreError)(f"{doing}: {text}")
