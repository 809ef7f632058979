"""Ranks of torch.distributed."""

from __future__ import annotations

import torch.distributed as dist

from connector.errors import CacheError
from loaders.mixture import Mixture
from loaders.shards import ShardedSource


def rank_and_world() -> tuple[int, int] | None:
    """This process's rank and the number of ranks; None where torch.distributed is not initialised."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return None


def check_ranks(shards: ShardedSource | Mixture) -> None:
    """Refuse ranks that would read different shards: their batches would not be of one order.

    Raises:
        CacheError: another rank has other shards.
    """
    if rank_and_world() is None:
        return
    found: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(found, shards.fingerprint)
    others = [rank for rank, each in enumerate(found) if each != shards.fingerprint]
    if others:
        raise CacheError(
            f"ranks {others} have other shards than rank {dist.get_rank()}: seal with the same source, "
            f"transform and version everywhere, or into a directory that all share"
        )
