"""Reading to the noop sink and writing, through Spark local[2]: ours, and spark-redis in its own."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.asking import Asked, started
from benchmarks.tables import TABLE
from benchmarks.timing import Contender

if TYPE_CHECKING:  # it may not be installed
    from pyspark.sql import SparkSession

SPARK_REDIS_SCHEMA = "id string, name string, qty long, price double, city string, total long"
SPARK_REDIS_TUNED: dict[str, dict[str, int]] = {
    "read": {"partitions.number": 2, "scan.count": 1000},
    "write": {"max.pipeline.size": 1000},
}
"""What was best for it on two cores; its own defaults are measured beside it."""


DRIVER_MEMORY = "3g"
"""Of local mode, where the driver is the executor too, and keeps the rows that it is to write."""


@contextmanager
def session() -> Iterator[SparkSession]:
    """A quiet session of two cores that can push down."""
    from pyspark.sql import SparkSession

    from spark_ext.session import configure

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", DRIVER_MEMORY)
    spark = configure(builder).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


@contextmanager
def ours(url: str, data: pa.Table, table: str = TABLE) -> Iterator[dict[str, Callable[[], int]]]:
    """Our work through Spark, in the format of the URL's scheme; nothing where PySpark is not installed."""
    if not importlib.util.find_spec("pyspark"):
        yield {}
        return
    with session() as spark:
        frame = spark.createDataFrame(data).repartition(2).cache()
        rows = frame.count()
        form = url.partition(":")[0]

        def read() -> int:
            found = spark.read.format(form).option("url", url).option("table", table).load()
            found.write.format("noop").mode("overwrite").save()
            return rows

        def write() -> int:
            writer = frame.write.format(form).option("url", url).option("table", table)
            writer.option("key.column", "id").mode("append").save()
            return rows

        yield {"spark_read": read, "spark_write": write}


@dataclass(frozen=True)
class SparkRedis:
    """A running ``spark_redis.py``.

    Attributes:
        asked: it.
        rows: how many rows the table has.
    """

    asked: Asked
    rows: int

    def contender(self, verb: str, options: dict[str, int]) -> Contender:
        """Reads or writes the table; the seconds are those that it counted itself."""
        return lambda: self.rows / float(self.asked.ask(f"{verb} {json.dumps(options)}"))

    def contenders(self) -> dict[str, Contender]:
        return {
            f"{verb}_spark_redis{name}": self.contender(verb, options)
            for verb, tuned in SPARK_REDIS_TUNED.items()
            for name, options in (("", tuned), ("_defaults", {}))
        }


def has_spark_redis(peers: Path | None) -> bool:
    """Whether ``scripts/peers`` made it there."""
    return peers is not None and (peers / "venv").exists()


@contextmanager
def spark_redis(peers: Path, port: int, data: pa.Table) -> Iterator[SparkRedis]:
    """spark-redis, started on the environment in ``peers``, once it has seen every row."""
    with tempfile.TemporaryDirectory() as directory:
        rows = Path(directory) / "rows.parquet"
        pq.write_table(data, rows)
        given = {
            "jars": str(peers.resolve() / "jars"),
            "port": port,
            "table": TABLE,
            "schema": SPARK_REDIS_SCHEMA,
            "rows": str(rows),
        }
        python = peers.resolve() / "venv" / "bin" / "python"
        with started(python, "spark_redis.py", given) as asked:
            assert float(asked.ask("count")) == data.num_rows, "spark-redis reads other rows"
            yield SparkRedis(asked, data.num_rows)
