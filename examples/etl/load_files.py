"""Load a directory of Parquet or CSV files into a table.

    spark-submit examples/etl/load_files.py --input flights/ --url redis://localhost:6379/0 \
        --table flights --key id --mode overwrite

Rows whose key is in the table already are merged into it; with ``--mode overwrite`` the table ends with
exactly the rows of the files.
"""

from __future__ import annotations

import argparse
import logging

from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as sf

import spark_ext

log = logging.getLogger("load_files")


def run(spark: SparkSession, given: argparse.Namespace) -> int:
    """Load the files, and return how many rows they have."""
    files = spark.read.format(given.format).option("header", True)  # of which Parquet knows nothing
    rows = (files.schema(given.schema) if given.schema else files).load(given.input)
    passed = Observation()
    spark_ext.write(
        rows.observe(passed, sf.count(sf.lit(1)).alias("rows")),
        given.url,
        given.table,
        key=given.key,
        mode=given.mode,
        check_keys=given.check_keys,
    )
    return int(passed.get["rows"])


def arguments() -> argparse.Namespace:
    """What the job is to do."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--input", required=True, help="a directory or file, as Spark knows it")
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--schema", help="such as 'id long, name string'; CSV without is text")
    parser.add_argument("--url", required=True, help="the store, as redis://localhost:6379/0")
    parser.add_argument("--table", required=True, help="the table to write")
    parser.add_argument("--key", nargs="+", required=True, help="the columns that name a row")
    parser.add_argument("--mode", choices=("append", "overwrite"), default="append")
    parser.add_argument("--check-keys", action="store_true", help="fail if a key stands twice")
    return parser.parse_args()


def main() -> None:
    """Run the job; an error ends the process with a code other than 0."""
    given = arguments()
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    log.setLevel(logging.INFO)
    builder = SparkSession.builder.appName("load files into a table")
    with spark_ext.configure(builder).getOrCreate() as spark:
        log.info("loaded %d rows into table %r", run(spark, given), given.table)


if __name__ == "__main__":
    main()
