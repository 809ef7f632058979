"""Found by Spark among the installed modules named ``pyspark_*``: makes the format ``redis`` known."""

from spark_ext.datasource import RedisDataSource as DefaultSource

__all__ = ["DefaultSource"]
