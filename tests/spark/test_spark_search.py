"""A filter given to Spark's reader, answered by an index of RediSearch."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession
from servers import Server
from spark_tables import load, people, save


def test_spark_reads_the_rows_that_an_index_finds(
    spark: SparkSession, module_server: Server, table: str
) -> None:
    save(people(spark, 2000), module_server.url, table)
    module_server.raw.execute_command(
        *("FT.CREATE", "by_n", "PREFIX", 1, f"{table}:", "SCHEMA", "n", "NUMERIC")
    )
    time.sleep(0.5)
    text = "n = 3 AND x < 100"
    expected = sorted(people(spark, 2000).where(text).collect())
    module_server.raw.config_resetstat()
    df = load(spark, module_server.url, table, filter=text, search_index="by_n")
    assert sorted(df.select("id", "name", "n", "x").collect()) == expected != []
    calls = module_server.raw.info("commandstats")
    assert any(name.lower().startswith("cmdstat_ft.aggregate") for name in calls)
    assert "cmdstat_scan" not in calls
