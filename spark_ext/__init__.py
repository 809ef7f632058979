"""Tables in key-value stores as Spark DataFrames."""

from spark_ext.session import configure, read, write

__all__ = ["configure", "read", "write"]
