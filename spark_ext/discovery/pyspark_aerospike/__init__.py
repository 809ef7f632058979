"""Found by Spark among the installed modules named ``pyspark_*``: makes the format ``aerospike`` known."""

from spark_ext.datasource import AerospikeDataSource as DefaultSource

__all__ = ["DefaultSource"]
