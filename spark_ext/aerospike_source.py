"""Aerospike as a Spark data source."""

from __future__ import annotations

from connector.errors import SchemaError, TableNotFoundError
from spark_ext.datasource import StoreDataSource


class AerospikeDataSource(StoreDataSource):
    """``spark.read.format("aerospike")`` and ``df.write.format("aerospike")``.

    The options are those of connector.aerospike.AerospikeOptions and spark_ext.options.TableOptions.
    """

    scheme = "aerospike"
    texts = False
    unknown = (SchemaError, TableNotFoundError)  # a set without records is not there
