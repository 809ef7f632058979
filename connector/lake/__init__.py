"""Parquet, Arrow and Delta tables on any filesystem that fsspec knows, as sources."""

from connector.lake.source import LakeSource

__all__ = ["LakeSource"]
