"""Partitions of a cluster: ranges of slots, and listing the keys of a range.

A slot is listed by CLUSTER GETKEYSINSLOT, in one command that nothing comes between, at the node that
owns it at the moment. Behind it goes a probe on a key of the same slot: a node that is not, or not
alone, in charge of the slot answers it with MOVED or ASK, and then the slot is listed where it is
said to be. So a slot that moves while a table is read is neither missed nor read twice, and the plan
outlives every failover.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector.errors import StoreError, StoreTimeoutError, StoreUnavailableError
from connector.redis.cluster import Cluster
from connector.redis.commands import bulk, keyed_request
from connector.redis.cursor import CursorRange, scan_keys
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace
from connector.redis.link import Link, reply_error
from connector.redis.resp import Ints
from connector.redis.servers import is_moving, pauses, told_by
from connector.redis.slots import SLOTS, hash_tags, key_slots, slot_tags
from connector.scan import Partition, even_ranges

_FIRST_SLOTS = 16
_KEYS_WANTED = 8192  # in one request for slots, about
_MOST_KEYS = 100_000  # of one slot in one answer; one with more is scanned
_FAILED = (StoreUnavailableError, StoreTimeoutError)


@dataclass(frozen=True, slots=True)
class SlotRange(Partition):
    """Slots ``start`` to ``stop`` of a cluster, wherever they are when it is read.

    Attributes:
        start: first slot.
        stop: slot behind the last.
        keep: the share of its keys that is wanted.
    """

    start: int
    stop: int
    keep: float = 1.0


def slot_ranges(keyspace: Keyspace, parts: int) -> list[SlotRange]:
    """Cut the slots into near-equal ranges; keys with one hash tag, the table's, share one slot."""
    prefix = pa.array([keyspace.prefix], pa.binary())
    if not hash_tags(prefix).equals(prefix):
        slot = int(key_slots(prefix)[0])
        return [SlotRange(0, slot, slot + 1)]
    cuts = even_ranges(SLOTS, parts)
    return [SlotRange(i, cut.start, cut.stop) for i, cut in enumerate(cuts)]


@dataclass
class SlotLister:
    """Lists the keys of slots.

    Attributes:
        cluster: who has which slot.
        links: the connections to use.
        keyspace: which of the keys are wanted.
        scan_count: COUNT for SCAN, where a slot holds too many keys for one answer.
        doing: what is being done, for messages.
    """

    cluster: Cluster
    links: Links
    keyspace: Keyspace
    scan_count: int
    doing: str
    _fat: list[int] = field(default_factory=list)  # slots with too many keys for one answer

    def keys(self, part: SlotRange) -> Iterator[pa.Array]:
        """The table's keys in a range of slots, in arrays of ``pa.binary()``, none of them twice.

        Raises:
            StoreUnavailableError: a slot found no owner within the cluster's patience.
        """
        todo = deque(range(part.start, part.stop))
        size = _FIRST_SLOTS
        while todo:
            chunk = self._chunk(todo, size)
            listed = self._settled(chunk)
            keys = self.keyspace.own(listed)
            size = max(1, min(4 * size, len(chunk) * _KEYS_WANTED // max(1, len(listed))))
            if len(keys):
                yield keys
            while self._fat:
                yield from self._scanned(self._fat.pop())

    def _chunk(self, todo: deque[int], size: int) -> list[int]:
        """The next slots that have the same owner as the first of them."""
        chunk = [todo.popleft()]
        owner = self.cluster.owner_or_none(chunk[0])
        while todo and len(chunk) < size and self.cluster.owner_or_none(todo[0]) == owner:
            chunk.append(todo.popleft())
        return chunk

    def _settled(self, slots: list[int]) -> pa.Array:
        """All keys of some slots, each listed where it is said to be."""
        found: list[pa.Array] = []
        last = ""
        for _ in pauses(self.cluster.patience_seconds):
            refused: dict[int, str] = {}
            for node, mine in self._by_owner(slots, refused):
                try:
                    found.append(self._listed(node, mine, refused))
                except _FAILED as error:
                    self.links.drop(node)
                    refused |= dict.fromkeys(mine, str(error))
            if not refused:
                return pa.concat_arrays(found) if found else pa.array([], pa.binary())
            slots, last = list(refused), next(iter(refused.values()))
            with contextlib.suppress(redis.RedisError, OSError):
                self.cluster.refresh(told_by(refused.values()))
        raise StoreUnavailableError(
            f"{self.doing}: {len(slots)} slots, such as {slots[0]}, could not be listed: {last}"
        )

    def _by_owner(self, slots: list[int], refused: dict[int, str]) -> list[tuple[str, list[int]]]:
        owners: dict[str, list[int]] = {}
        for slot in slots:
            owner = self.cluster.owner_or_none(slot)
            if owner is None:
                refused[slot] = "no node has it"
            else:
                owners.setdefault(owner, []).append(slot)
        return list(owners.items())

    def _listed(self, node: str, slots: list[int], refused: dict[int, str]) -> pa.Array:
        """The keys of the slots that a node is in charge of; for the others, what it said."""
        keys, counts, said = self._ask(self.links.to(node, "keys"), slots)
        extra: list[pa.Array] = []
        stops = np.cumsum(counts)
        for i, text in said.items():
            if text.startswith("ASK "):
                here = keys.slice(stops[i] - counts[i], counts[i])
                extra.append(self._on_its_way(slots[i], text.split()[2], here))
                counts[i] = -counts[i]  # in extra, together with those that have moved already
            elif is_moving(text):
                refused[slots[i]] = text
                counts[i] = -counts[i]
            else:
                raise (reply_error(text) or StoreError)(f"{self.doing}: slot {slots[i]}: {text}")
        fat = np.flatnonzero(counts >= _MOST_KEYS)
        self._fat += [slots[i] for i in fat]
        counts[fat] = -counts[fat]
        if (counts < 0).any():
            keys = keys.filter(pa.array(np.repeat(counts >= 0, np.abs(counts))))
        return pa.concat_arrays([keys, *extra]) if extra else keys

    def _on_its_way(self, slot: int, node: str, here: pa.Array) -> pa.Array:
        """The keys of a slot that is moving: those still here, and those already there, each once."""
        there = self.links.to(node, "keys")
        there.send(_listing([slot]))
        listed = there.arrays(1)
        if listed.errors:
            raise StoreError(f"{self.doing}: slot {slot}: {listed.errors[0]}")
        if len(here) >= _MOST_KEYS or len(listed.flat()) >= _MOST_KEYS:
            raise StoreUnavailableError(
                f"{self.doing}: slot {slot} is moving, and holds too many keys to be listed meanwhile; "
                f"read again later"
            )
        return pc.unique(pa.concat_arrays([here, listed.flat()]))

    def _ask(self, link: Link, slots: list[int]) -> tuple[pa.Array, Ints, dict[int, str]]:
        """What a node has of some slots, and what it says when it is asked for a key of each.

        Returns:
            The keys, one slot's after the other's; how many each slot has; the errors, by slot.
        """
        probes = pa.array([self._probe(slot) for slot in slots], pa.binary())
        link.send(_listing(slots))
        link.send(keyed_request(b"EXISTS", probes))
        answer = link.arrays(len(slots))
        keys = answer.flat()
        said = link.statuses(len(slots)).errors
        if answer.errors:
            text = next(iter(answer.errors.values()))
            raise (reply_error(text) or StoreError)(f"{self.doing}: listing slots: {text}")
        return keys, answer.counts, said

    def _probe(self, slot: int) -> bytes:
        """A key of a slot, under the table's prefix if it can be: a user may have no other."""
        prefix = self.keyspace.prefix
        tagged = pa.array([prefix], pa.binary())
        if not hash_tags(tagged).equals(tagged):
            return prefix
        tag = slot_tags()[slot]
        return b"{%b}" % tag if b"{" in prefix else prefix + b"{%b}" % tag

    def _scanned(self, slot: int) -> Iterator[pa.Array]:
        """The keys of a slot that holds too many for one answer.

        Raises:
            StoreUnavailableError: the slot moved meanwhile; what was listed may lack keys.
        """
        node = self.cluster.owner(slot)
        link = self.links.to(node, "scan")
        for page in scan_keys(link, CursorRange(0), self.keyspace.pattern, self.scan_count):
            mine = page.filter(pa.array(key_slots(page) == slot))
            if len(mine):
                yield self.keyspace.own(mine)
        _, _, said = self._ask(self.links.to(node, "keys"), [slot])
        if said:
            raise StoreUnavailableError(
                f"{self.doing}: slot {slot} moved while its keys were listed ({said[0]}); read again"
            )


def _listing(slots: list[int]) -> memoryview:
    """CLUSTER GETKEYSINSLOT for each slot."""
    opening = b"*4\r\n" + bulk(b"CLUSTER") + bulk(b"GETKEYSINSLOT")
    most = bulk(b"%d" % _MOST_KEYS)
    return memoryview(b"".join(opening + bulk(b"%d" % slot) + most for slot in slots))
