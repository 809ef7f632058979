"""Training's view of tables: sealed shards, and datasets over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loaders.mixture import Mixture
from loaders.seal import seal
from loaders.shards import ShardedSource
from loaders.stats import CacheStats
from loaders.transforms import Transform

if TYPE_CHECKING:
    from loaders.pytorch import LiveDataset, RowDataset, SourceDataset

_TORCH = ("LiveDataset", "RowDataset", "SourceDataset")

__all__ = [
    "CacheStats",
    "LiveDataset",
    "Mixture",
    "RowDataset",
    "ShardedSource",
    "SourceDataset",
    "Transform",
    "seal",
]


def __getattr__(name: str) -> Any:
    """Import torch only when a dataset of it is asked for."""
    if name in _TORCH:
        from loaders import pytorch

        return getattr(pytorch, name)
    raise AttributeError(f"module 'loaders' has no attribute {name!r}")
