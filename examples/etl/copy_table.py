"""Copy a table from one store to another, such as from Redis to Aerospike.

    spark-submit examples/etl/copy_table.py --from redis://localhost:6379/0 --table flights \
        --to aerospike://localhost:3000/test --key id --mode overwrite

The copy is made of what is read while the job runs; rows that others write meanwhile may be missing.
"""

from __future__ import annotations

import argparse
import logging

from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as sf

import spark_ext

log = logging.getLogger("copy_table")


def run(spark: SparkSession, given: argparse.Namespace) -> int:
    """Copy the table, and return how many rows were written."""
    rows = spark_ext.read(spark, given.source, given.table, filter=given.filter)
    passed = Observation()
    spark_ext.write(
        rows.observe(passed, sf.count(sf.lit(1)).alias("rows")),
        given.target,
        given.to_table or given.table,
        key=given.key,
        mode=given.mode,
    )
    return int(passed.get["rows"])


def arguments() -> argparse.Namespace:
    """What the job is to do."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--from", dest="source", required=True, help="the store to read, a URL")
    parser.add_argument("--table", required=True, help="the table to read")
    parser.add_argument("--filter", help="the rows wanted, as in SQL; all by default")
    parser.add_argument("--to", dest="target", required=True, help="the store to write, a URL")
    parser.add_argument("--to-table", help="the table to write; of the same name by default")
    parser.add_argument("--key", nargs="+", required=True, help="the columns that name a row")
    parser.add_argument("--mode", choices=("append", "overwrite"), default="append")
    return parser.parse_args()


def main() -> None:
    """Run the job; an error ends the process with a code other than 0."""
    given = arguments()
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    log.setLevel(logging.INFO)
    builder = SparkSession.builder.appName("copy a table")
    with spark_ext.configure(builder).getOrCreate() as spark:
        copied = run(spark, given)
        log.info("copied %d rows of table %r", copied, given.table)


if __name__ == "__main__":
    main()
