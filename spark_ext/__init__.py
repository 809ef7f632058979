"""Tables in key-value stores as Spark DataFrames."""

from spark_ext.joins import lookup_join
from spark_ext.session import configure, delete, read, write
from spark_ext.workers import spare_imports

__all__ = ["configure", "delete", "lookup_join", "read", "write"]

spare_imports()
