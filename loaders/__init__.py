"""Training's view of tables: sealed shards, and datasets over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loaders.seal import seal
from loaders.shards import ShardedSource
from loaders.stats import CacheStats
from loaders.transforms import Transform

if TYPE_CHECKING:
    from loaders.pytorch import SourceDataset

__all__ = ["CacheStats", "ShardedSource", "SourceDataset", "Transform", "seal"]


def __getattr__(name: str) -> Any:
    """Import torch only when its dataset is asked for."""
    if name == "SourceDataset":
        from loaders.pytorch import SourceDataset

        return SourceDataset
    raise AttributeError(f"module 'loaders' has no attribute {name!r}")
