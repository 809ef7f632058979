"""Found by Spark among the installed modules named ``pyspark_*``: makes the format ``redis`` known."""

from spark_ext.redis_source import RedisDataSource as DefaultSource

__all__ = ["DefaultSource"]
