"""Filters as expressions that the servers evaluate."""

from connector.aerospike.expressions.compiling import compiled
from connector.aerospike.expressions.operands import Expression, all_of

__all__ = ["Expression", "all_of", "compiled"]
