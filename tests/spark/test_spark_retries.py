"""Writes whose tasks fail once, are copied, or lose their executor; the tables as raw clients see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import retries_job
from aerospikes import Aerospike
from py4j.protocol import Py4JJavaError
from pyspark import TaskContext, cloudpickle
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.testing import assertDataFrameEqual
from retries_job import BATCH, FIRST, STOP, TROUBLE_AT, WIDE, await_written
from servers import Server
from spark_tables import load, people, save
from standalone import same_python, standalone, submit

from connector import WriteOptions, open_store

JOB = Path(__file__).with_name("retries_job.py")
cloudpickle.register_pickle_by_value(retries_job)  # which workers cannot import
OLD = pa.table(
    {
        "id": range(50),
        "name": [f"old {i}" for i in range(50)],
        "n": pa.array([-1] * 50, pa.int32()),
        "wide": ["x"] * 50,
    }
)
Rows = set[tuple[str, int]]


def stored(server: Server | Aerospike, table: str) -> Rows:
    """The name and the number of each row of a table."""
    if isinstance(server, Aerospike):
        found = server.raw.query(server.namespace, table).results()
        rows = [(bins["name"], bins["n"]) for _, _, bins in found]
    else:
        asked = server.raw.pipeline(transaction=False)
        for key in server.raw.scan_iter(f"{table}:*", count=10_000):
            asked.hmget(key, "name", "n")
        rows = [(name.decode(), int(n)) for name, n in asked.execute()]
    assert len(set(rows)) == len(rows)
    return set(rows)


def numbered(start: int, stop: int) -> Rows:
    return {(f"name {i}", i) for i in range(start, stop)}


WANTED = {
    "append": numbered(FIRST, STOP) | {(f"old {i}", -1) for i in range(FIRST)},
    "overwrite": numbered(FIRST, STOP),
}


def failing(attempts: int, url: str, table: str):  # type: ignore[no-untyped-def]
    """Pass batches on; in the first ``attempts`` attempts, fail when some of their rows are in the table."""

    def passing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches)
        yield first
        for i, batch in enumerate(batches):
            if i == TROUBLE_AT and TaskContext.get().attemptNumber() < attempts:
                await_written(url, table, first)
                raise ArithmeticError("the batch cannot be computed")
            yield batch

    return passing


@pytest.fixture
def small_batches(spark: SparkSession) -> Iterator[None]:
    """Many batches to a task, so that some are written before it fails."""
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(name)
    spark.conf.set(name, BATCH)
    yield
    spark.conf.set(name, before)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("name", ["redis_server", "aerospike_server"])
def test_a_task_that_fails_and_is_run_again_writes_exactly_its_rows(
    spark: SparkSession, table: str, mode: str, name: str, request: pytest.FixtureRequest
) -> None:
    server: Server | Aerospike = request.getfixturevalue(name)
    with open_store(server.url) as store:
        store.write(table, OLD.to_batches(), WriteOptions(key=("id",)))
    rows = people(spark, STOP - FIRST, first=FIRST).selectExpr("id", "name", "int(id) n", WIDE)
    passing = failing(1, server.url, table)
    save(rows.mapInArrow(passing, rows.schema), server.url, table, mode)
    assert stored(server, table) == WANTED[mode]


@pytest.mark.usefixtures("small_batches")
def test_an_overwrite_that_fails_for_good_leaves_the_old_table_readable(
    spark: SparkSession, every_url: str, table: str
) -> None:
    """Under its old columns, though the overwrite had others, and some of its rows are there."""
    old = people(spark, 1000)
    save(old, every_url, table)
    new = spark.range(1000, 2000).selectExpr("id", "'new' as name", "true as good", WIDE)
    with pytest.raises((PySparkException, Py4JJavaError), match="the batch cannot be computed"):
        passing = failing(9, every_url, table)
        save(new.mapInArrow(passing, new.schema), every_url, table, "overwrite")
    left = load(spark, every_url, table)
    assert left.dtypes == old.dtypes
    assertDataFrameEqual(left.where("id < 1000"), old)
    assert left.where("name = 'new'").count() > 0
    save(new, every_url, table, "overwrite")
    assertDataFrameEqual(load(spark, every_url, table), new)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with standalone(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture
def targets(
    redis_server: Server, aerospike_server: Aerospike, table: str
) -> dict[tuple[str, str], Server | Aerospike]:
    """Tables with old rows, each with what is to be done to it: one of every server and mode."""
    found: dict[tuple[str, str], Server | Aerospike] = {}
    for kind, server in (("redis", redis_server), ("aerospike", aerospike_server)):
        with open_store(server.url) as store:
            for mode in WANTED:
                found[f"{table}_{kind}_{mode}", mode] = server
                store.write(f"{table}_{kind}_{mode}", OLD.to_batches(), WriteOptions(key=("id",)))
    return found


def run(
    case: str,
    cluster: str,
    targets: dict[tuple[str, str], Server | Aerospike],
    directory: Path,
    **confs: object,
) -> Counter[tuple[str, str]]:
    """Write to every target in one session; gives how many tasks each step of each write took."""
    marks = directory / "marks"
    marks.mkdir()
    given = [text for (name, mode), server in targets.items() for text in (server.url, name, mode)]
    ran = submit(
        cluster,
        *(JOB, case, marks, *given),
        confs={name.replace("_", "."): value for name, value in confs.items()},
        directory=directory,
        variables=same_python(),
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-6000:]
    found = [mark.name.split(".") for mark in marks.iterdir()]
    return Counter((table, step) for table, step, *_ in found)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_copies_of_a_task_by_speculation_write_its_rows_once(
    cluster: str, targets: dict[tuple[str, str], Server | Aerospike], tmp_path: Path
) -> None:
    speculation = {
        "spark_speculation": "true",
        "spark_speculation_interval": "100ms",
        "spark_speculation_quantile": 0.5,
    }
    tasks = run("copied", cluster, targets, tmp_path, **speculation)
    for (table, mode), server in targets.items():
        assert tasks[table, "write"] > 2, "no task was copied"
        assert stored(server, table) == WANTED[mode], table


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stage_run_again_for_a_lost_executor_writes_its_rows_once(
    cluster: str, targets: dict[tuple[str, str], Server | Aerospike], tmp_path: Path
) -> None:
    tasks = run("bereft", cluster, targets, tmp_path)
    for (table, mode), server in targets.items():
        assert tasks[table, "write"] > 2, "no task was run again"
        assert tasks[table, "shuffle"] > 2, "nothing was shuffled again"
        assert stored(server, table) == WANTED[mode], table
