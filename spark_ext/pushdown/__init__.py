"""Column pruning, filters, limits and join keys from Spark's optimizer to the stores.

PySpark's Python data sources can be given none of these. A small jar, for the driver alone, changes
that: its rules let Spark's own pushdown see our tables.
"""

from spark_ext.pushdown.activation import EXTENSION, JAR, activate

__all__ = ["EXTENSION", "JAR", "activate"]
