"""A Spark session of two cores for the whole suite."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from aerospikes import Aerospike
from pyspark.sql import SparkSession
from servers import Server

import spark_ext

# Before 4.2 PySpark leaves the sockets of its results to the garbage collector, and its testing module
# imports one that warns.
_WARNINGS_OF_OLD_SPARK = (
    "ignore:unclosed <socket:ResourceWarning",
    "ignore:'PYARROW_IGNORE_TIMEZONE'",
)


def pytest_configure(config: pytest.Config) -> None:
    """Let old versions of PySpark have their own faults."""
    if tuple(map(int, pyspark.__version__.split(".")[:2])) < (4, 2):
        for each in _WARNINGS_OF_OLD_SPARK:
            config.addinivalue_line("filterwarnings", each)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session in UTC, whose tasks are tried twice."""
    warehouse: Path = tmp_path_factory.mktemp("warehouse")
    builder = (
        spark_ext.configure(SparkSession.builder)
        .master("local[2, 2]")
        .appName("kvlake tests")
        .config("spark.ui.enabled", False)
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.sql.warehouse.dir", str(warehouse))
    )
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def connect_port() -> Iterator[None]:
    """The port that every server of Spark Connect takes, for one of the suite's processes at a time."""
    with (Path(tempfile.gettempdir()) / "kvlake-tests-connect.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(params=["redis", "aerospike"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of store in turn, empty."""
    return _url(request)


@pytest.fixture(params=["valkey", "redis", "aerospike"])
def every_url(request: pytest.FixtureRequest) -> str:
    """The URL of each server in turn, empty."""
    return _url(request)


def _url(request: pytest.FixtureRequest) -> str:
    server: Server | Aerospike = request.getfixturevalue(f"{request.param}_server")
    return server.url


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--queries", type=int, help="how many random queries to compare with Spark")
