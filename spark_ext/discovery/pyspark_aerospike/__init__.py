"""Found by Spark among the installed modules named ``pyspark_*``: makes the format ``aerospike`` known."""

from spark_ext.aerospike_source import AerospikeDataSource as DefaultSource

__all__ = ["DefaultSource"]
