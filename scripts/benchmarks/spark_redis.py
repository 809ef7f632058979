"""spark-redis in a Spark of its own: reads and writes a table when told to on standard input.

    python spark_redis.py '{"jars": ..., "port": ..., "table": ..., "schema": ..., "rows": ...}'

Runs on the Python that ``scripts/peers`` made, which has PySpark 3.5 and nothing of this project. A
line with the versions comes when the rows to write are cached. Then each line on standard input,
``read`` or ``write`` and options of spark-redis as JSON, is answered by a line with the seconds that
it took; ``count`` by the number of rows read. The end of the input ends it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

FORMAT = "org.apache.spark.sql.redis"


def session(jars: Path, port: int) -> SparkSession:
    builder = SparkSession.builder.master("local[2]").appName("spark-redis")
    settings = {
        "spark.jars": ",".join(map(str, sorted(jars.glob("*.jar")))),
        "spark.redis.host": "127.0.0.1",
        "spark.redis.port": str(port),
        "spark.redis.timeout": "60000",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "3g",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def answer(line: str, spark: SparkSession, given: dict[str, Any], rows: DataFrame) -> float:
    """Seconds that the work took, or how many rows there were to count."""
    verb, _, options = line.partition(" ")
    named = {"table": given["table"], "key.column": "id", **json.loads(options or "{}")}
    started = time.perf_counter()
    if verb == "write":
        rows.write.format(FORMAT).options(**named).mode("append").save()
        return time.perf_counter() - started
    found = spark.read.format(FORMAT).schema(given["schema"]).options(**named).load()
    if verb == "count":
        return float(found.distinct().count())
    found.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - started


def main(given: dict[str, Any]) -> None:
    jars = Path(given["jars"])
    spark = session(jars, given["port"])
    rows = spark.read.parquet(given["rows"]).repartition(2).cache()
    rows.count()
    names = [jar.stem for jar in sorted(jars.glob("*.jar"))]
    print(json.dumps({"spark": spark.version, "jars": names}), flush=True)
    for line in sys.stdin:
        print(answer(line.strip(), spark, given, rows), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
