"""Sealed shards in PyTorch."""

from connector.errors import MissingDependencyError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "SourceDataset needs PyTorch: pip install 'kvlake[torch]'"
    ) from error

from loaders.pytorch.dataset import SourceDataset
from loaders.pytorch.live import LiveDataset
from loaders.pytorch.rows import RowDataset, SampleDataset

__all__ = ["LiveDataset", "RowDataset", "SampleDataset", "SourceDataset"]
