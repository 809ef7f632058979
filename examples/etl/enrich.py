"""Add the columns of a table to Parquet files, by the table's key.

    spark-submit examples/etl/enrich.py --input orders/ --on customer=id \
        --url aerospike://localhost:3000/test --table customers --columns name city --output enriched/

Only the keys that stand in the files are looked up, each once: the table is not scanned. Rows without a
counterpart are kept, with nulls.
"""

from __future__ import annotations

import argparse
import logging

from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as sf

import spark_ext

log = logging.getLogger("enrich")


def run(spark: SparkSession, given: argparse.Namespace) -> tuple[int, int]:
    """Enrich the files; return how many rows they have, and how many found a counterpart."""
    ours, _, theirs = given.on.partition("=")
    key = theirs or ours
    rows = spark.read.parquet(given.input)
    wanted = rows.select(sf.col(ours).alias(key)).where(sf.col(key).isNotNull())
    columns = [key, *given.columns]
    found = spark_ext.read(spark, given.url, given.table, columns=columns, keys=wanted)
    joined = rows.join(found.withColumnRenamed(key, "_key"), rows[ours] == sf.col("_key"), "left")
    passed = Observation()
    counted = joined.observe(
        passed, sf.count(sf.lit(1)).alias("rows"), sf.count("_key").alias("found")
    )
    counted.drop("_key").write.mode("overwrite" if given.replace else "errorifexists").parquet(
        given.output
    )
    return int(passed.get["rows"]), int(passed.get["found"])


def arguments() -> argparse.Namespace:
    """What the job is to do."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--input", required=True, help="Parquet files, as Spark knows them")
    parser.add_argument("--on", required=True, help="the files' column, as in customer=id, or id")
    parser.add_argument("--url", required=True, help="the store, as redis://localhost:6379/0")
    parser.add_argument("--table", required=True, help="the table to look up in")
    parser.add_argument("--columns", nargs="+", required=True, help="the table's columns to add")
    parser.add_argument("--output", required=True, help="the directory to write, as Spark knows it")
    parser.add_argument("--replace", action="store_true", help="replace what is there")
    return parser.parse_args()


def main() -> None:
    """Run the job; an error ends the process with a code other than 0."""
    given = arguments()
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    log.setLevel(logging.INFO)
    builder = SparkSession.builder.appName("enrich files by a table")
    with spark_ext.configure(builder).getOrCreate() as spark:
        rows, found = run(spark, given)
        log.info("wrote %d rows, of which %d are in table %r", rows, found, given.table)


if __name__ == "__main__":
    main()
