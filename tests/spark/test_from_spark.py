"""DataFrames sealed by Spark's tasks into a home that the loaders read."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from connector import OptionError, SchemaError, read_all
from loaders import ShardedSource, Transform
from loaders.convert import Array
from loaders.epochs import Epochs
from loaders.layout import Buffer
from loaders.place import Place
from loaders.spark import from_spark

ROWS = 5000
Batches: TypeAlias = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
SHARES = {"train": 0.75, "test": 0.25}


def rows(spark: SparkSession) -> DataFrame:
    return spark.range(0, ROWS, 1, 5).selectExpr(
        "id", "id / 2 AS x", "array(id, -id) AS pair", "concat('n', id) AS name"
    )


def sealed(df: DataFrame, place: Path, machine: str = "one", **options: Any) -> ShardedSource:
    given = {"name": "rows", "version": "1", "home": f"file://{place}/home", "key": ("id",)}
    return from_spark(df, cache=place / machine, **{**given, **options})


def ids(shards: ShardedSource) -> list[int]:
    return sorted(read_all(shards)["id"].to_pylist())


def halved() -> Transform:
    """Even ids without names; a closure, which goes to the workers by value."""

    def even(batch: pa.RecordBatch) -> pa.RecordBatch:
        chosen = batch.filter(pc.equal(pc.bit_wise_and(batch["id"], 1), 0))
        return chosen.drop_columns(["name"])

    return Transform(even, version="1")


def unreadable() -> Batches:
    def fail(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise AssertionError("a DataFrame that is sealed is not read again")

    return fail


def dying() -> Batches:
    """In the first attempt of one task, be killed behind some batches."""

    def passing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = TaskContext.get()
        assert task is not None
        for i, batch in enumerate(batches):
            if task.partitionId() == 3 and i == 5 and not task.attemptNumber():
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    return passing


def test_tasks_write_and_loaders_read(spark: SparkSession, tmp_path: Path) -> None:
    shards = sealed(rows(spark), tmp_path)
    assert shards.rows == ROWS and ids(shards) == list(range(ROWS))
    assert shards.schema.field("pair").type.list_size == 2
    assert (shards.stats.misses, shards.stats.hits) == (10, 0)  # written, and brought here
    again = sealed(rows(spark).mapInArrow(unreadable(), rows(spark).schema), tmp_path, "other")
    assert again.manifest == shards.manifest and ids(again) == list(range(ROWS))
    for batch in batches(again, "id", "pair"):
        assert batch["pair"].tolist() == [[i, -i] for i in batch["id"].tolist()]


def batches(shards: ShardedSource, *columns: str) -> Iterator[dict[str, Array]]:
    """Batches of an epoch, without a framework: the environments of other Sparks have none."""

    def allocate(size: int) -> tuple[Buffer, Buffer]:
        buffer = np.empty(size, np.uint8)
        return buffer, buffer

    epochs = Epochs.of(shards, batch_size=512, shuffle="full", columns=columns)
    for buffer, _, count in epochs.batches(epochs.reading(0, 0, Place()), allocate):
        yield epochs.layout.arrays(buffer, count)


def test_splits_and_transforms(spark: SparkSession, tmp_path: Path) -> None:
    shards = sealed(rows(spark), tmp_path, transform=halved(), splits=SHARES, shard_bytes=8192)
    assert ids(shards) == list(range(0, ROWS, 2))
    parts = [ids(shards.split(name)) for name in SHARES]
    assert sorted([*parts[0], *parts[1]]) == list(range(0, ROWS, 2))
    assert abs(len(parts[1]) / (ROWS / 2) - 0.25) < 0.03
    others = [
        sealed(rows(spark), tmp_path),
        sealed(rows(spark), tmp_path, version="2"),
        sealed(rows(spark), tmp_path, name="others"),
        sealed(rows(spark).drop("name"), tmp_path),
    ]
    assert len({each.directory for each in [shards, *others]}) == 5


def test_a_task_that_is_run_again_leaves_its_rows_once(spark: SparkSession, tmp_path: Path) -> None:
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 100)
    try:
        df = rows(spark).mapInArrow(dying(), rows(spark).schema)
        shards = sealed(df, tmp_path, shard_bytes=4096)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert ids(shards) == list(range(ROWS))
    kept = {path.name for path in (tmp_path / "home").rglob("*.arrow")}
    assert kept == {shard.name for shard in shards.manifest.shards}
    assert not list((tmp_path / "home").rglob(".private-*"))


def test_refusals(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no column 'none'"):
        sealed(rows(spark), tmp_path, key=("none",))
    with pytest.raises(OptionError, match="name its columns by key="):
        sealed(rows(spark), tmp_path, key=(), splits=SHARES)
    with pytest.raises(SchemaError, match="has no rows"):
        sealed(rows(spark).where("id < 0"), tmp_path)
    with pytest.raises(OptionError, match="policy"):
        sealed(rows(spark), tmp_path, policy="none")
