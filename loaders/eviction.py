"""Which shards a full cache gives up first: policies as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from connector.errors import OptionError

Policy = Literal["scan", "lru", "fifo", "size", "ttl"]


@dataclass(frozen=True, slots=True)
class Cached:
    """One shard in the cache.

    Attributes:
        name: which.
        bytes: of its file.
        added: when it came, in seconds.
        used: when it was opened last, in seconds.
        active: whether a process reads its seal.
    """

    name: str
    bytes: int
    added: float
    used: float
    active: bool


_Rank: TypeAlias = Callable[[Cached], tuple[float, ...]]


def _scan(shard: Cached) -> tuple[float, ...]:
    """Seals that nobody reads, the longest unused first; of those in use the shard that was used last.

    Each epoch opens every shard once, so the one just used is wanted last. What the cache holds when an
    epoch begins stays until it is used: the share of hits is the share of the seal that fits. LRU would
    give up each shard right before its turn.
    """
    return (shard.active, -shard.used if shard.active else shard.used)


_RANKS: dict[str, _Rank] = {
    "scan": _scan,
    "lru": lambda shard: (shard.used,),
    "fifo": lambda shard: (shard.added,),
    "size": lambda shard: (-shard.bytes, shard.used),
    "ttl": lambda shard: (shard.added,),
}


def victims(
    shards: Iterable[Cached], policy: Policy, now: float, max_age_seconds: float | None
) -> Iterator[tuple[Cached, bool]]:
    """The shards in the order in which they go, each with whether it has to, as it is too old.

    Args:
        shards: all that may go.
        policy: ``scan``, ``lru``, ``fifo``, ``size`` (the largest first) or ``ttl`` (the oldest first).
        now: in seconds.
        max_age_seconds: of ``ttl``. What is from the future, as after a clock was set back, is too old.
    """
    rank = _RANKS[policy]
    for shard in sorted(shards, key=lambda each: (*rank(each), each.name)):
        limit = max_age_seconds if policy == "ttl" else None
        yield shard, limit is not None and not 0 <= now - shard.added <= limit


def check_policy(policy: str, max_age_seconds: float | None) -> None:
    """Raise OptionError for a policy that is not known, or without the age that it needs."""
    if policy not in get_args(Policy):
        raise OptionError(f"policy is {policy!r}; it is one of {', '.join(get_args(Policy))}")
    if (policy == "ttl") != (max_age_seconds is not None):
        raise OptionError("policy 'ttl' and shard_max_age_seconds go together")
