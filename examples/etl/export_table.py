"""Export a table, or the rows of it that a filter lets through, to Parquet.

    spark-submit examples/etl/export_table.py --url redis://localhost:6379/0 --table flights \
        --filter "month <= 6 AND carrier = 'UA'" --columns id month late --output exported/

The output may not be there yet, unless it is to be replaced.
"""

from __future__ import annotations

import argparse
import logging

from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as sf

import spark_ext

log = logging.getLogger("export_table")


def run(spark: SparkSession, given: argparse.Namespace) -> int:
    """Export the table, and return how many rows were written."""
    rows = spark_ext.read(spark, given.url, given.table, columns=given.columns, filter=given.filter)
    passed = Observation()
    counted = rows.observe(passed, sf.count(sf.lit(1)).alias("rows"))
    counted.write.mode("overwrite" if given.replace else "errorifexists").parquet(given.output)
    return int(passed.get["rows"])


def arguments() -> argparse.Namespace:
    """What the job is to do."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--url", required=True, help="the store, as redis://localhost:6379/0")
    parser.add_argument("--table", required=True, help="the table to read")
    parser.add_argument("--filter", help="the rows wanted, as in SQL; all by default")
    parser.add_argument("--columns", nargs="+", help="the columns wanted; all by default")
    parser.add_argument("--output", required=True, help="the directory to write, as Spark knows it")
    parser.add_argument("--replace", action="store_true", help="replace what is there")
    return parser.parse_args()


def main() -> None:
    """Run the job; an error ends the process with a code other than 0."""
    given = arguments()
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    log.setLevel(logging.INFO)
    builder = SparkSession.builder.appName("export a table")
    with spark_ext.configure(builder).getOrCreate() as spark:
        log.info("exported %d rows of table %r to %s", run(spark, given), given.table, given.output)


if __name__ == "__main__":
    main()
