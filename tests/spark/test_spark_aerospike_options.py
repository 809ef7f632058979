"""The format ``aerospike`` by the names that Aerospike Connect for Spark has for its options."""

from __future__ import annotations

import pytest
from aerospikes import Aerospike
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf
from pyspark.testing import assertDataFrameEqual
from spark_tables import people

from connector import OptionError
from connector.aerospike import AerospikeOptions
from spark_ext.aerospike_source import AerospikeDataSource
from spark_ext.parsing import parse_table_options


def test_names_of_options_of_aerospike_connect(
    spark: SparkSession, aerospike_server: Aerospike, table: str
) -> None:
    server = aerospike_server
    cluster = {
        "aerospike.seedhost": f"{server.host}:{server.port}",
        "aerospike.namespace": server.namespace,
        "aerospike.set": table,
        "aerospike.timeout": "20000",
    }
    writing = {
        "aerospike.updateByKey": "id",
        "aerospike.sendKey": "true",
        "aerospike.ttlColumn": "life",
        "aerospike.commitLevel": "all",
        "aerospike.generationPolicy": "ignore",
        "aerospike.batchMax": "500",
        "aerospike.keyPath": "/etc/aerospike/features.conf",
    }
    rows = people(spark, 50)
    rows.withColumn("life", sf.lit(500)).write.format("aerospike").options(
        **cluster, **writing
    ).mode("append").save()
    _, told, _ = server.raw.get((server.namespace, table, 7))
    assert 300 < told["ttl"] <= 500
    reading = {
        "aerospike.partition.factor": "2",
        "aerospike.schema.scan": "10",
        "aerospike.sindex": "off",
        "aerospike.recordspersecond": "100000",
    }
    found = spark.read.format("aerospike").options(**cluster, **reading).load()
    assert found.rdd.getNumPartitions() == 4
    assertDataFrameEqual(found, rows)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("aerospike.digestColumn", "__digest"),
        ("aerospike.updateByDigest", "key.column=__digest"),
        ("aerospike.expiryColumn", "__expiry"),
        ("aerospike.generationColumn", "__generation"),
        ("aerospike.sindex.filter", "give option 'filter'"),
        ("aerospike.pushdown.expressions", "give option 'filter'"),
    ],
)
def test_options_of_aerospike_connect_that_are_otherwise_here(name: str, said: str) -> None:
    given = {"url": "aerospike://localhost:3000/test", "table": "t", name: "x"}
    with pytest.raises(OptionError, match=f"{name.lower()}.*{said}"):
        AerospikeDataSource(given)


def test_values_of_aerospike_connect_that_are_written_otherwise_here() -> None:
    given = {"url": "aerospike://localhost:3000/test", "aerospike.set": "t"}
    given |= {"aerospike.sindex.enable": "false", "aerospike.schema.flexible": "true"}
    _, store = parse_table_options("aerospike", given)
    assert isinstance(store, AerospikeOptions)
    assert (store.sindex, store.on_bad_field.value) == ("off", "null")
    with pytest.warns(UserWarning, match="no licence is needed") as warned:
        parse_table_options("aerospike", given | {"aerospike.keypath": "s3"})
    assert len(warned) == 1
