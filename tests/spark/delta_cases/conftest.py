"""A session that knows Delta, in a process of its own: a JVM gets its jars when it starts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import pytest
from aerospikes import Aerospike
from delta_tables import Delta
from pyspark.sql import SparkSession
from servers import Server

import spark_ext

QUICK = {  # for queries of some rows: what is compiled is run once
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--connect", action="store_true", help="run over Spark Connect")


@pytest.fixture(scope="session")
def spark(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparkSession]:
    """A local session, classic or of Spark Connect, that knows Delta."""
    builder = SparkSession.builder
    jars = os.environ["TEST_DELTA_JARS"]
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
        "spark.databricks.delta.snapshotPartitions": "1",
        **QUICK,
    }
    for name, value in settings.items():
        builder.config(name, value)
    if request.config.getoption("--connect"):
        builder.config("spark.connect.grpc.binding.address", "127.0.0.1")
        with warnings.catch_warnings():  # of settings that only a server's start takes
            warnings.simplefilter("ignore", UserWarning)
            session = spark_ext.configure(builder.remote("local[2]"), delta=jars).getOrCreate()
    else:
        session = spark_ext.configure(builder.master("local[2]"), delta=jars).getOrCreate()
        session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def delta(spark: SparkSession, tmp_path: os.PathLike[str]) -> Delta:
    """A path for a Delta table that is not there yet."""
    return Delta(spark, f"{tmp_path}/delta")


@pytest.fixture(params=["redis", "aerospike"])
def kept(request: pytest.FixtureRequest) -> Server | Aerospike:
    """Each kind of store in turn, empty."""
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, Server | Aerospike)
    return found
