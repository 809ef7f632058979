"""Events in a Redis Stream, features in a table, tensors for training: all of it, checked.

    python examples/streaming_features/stream_features.py --embedded
    python examples/streaming_features/stream_features.py --url redis://localhost:6379/0

It stops with an error where a row of the table is not exactly what the events add up to.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import uuid
from pathlib import Path

import features
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector import TableNotFoundError, open_store, read_all
from connector.embedded import serve
from loaders import SourceDataset, seal

SEED = 11
BATCH_ROWS = 256
KINDS = ("look", "cart", "buy")


def events(count: int, users: int, seed: int) -> pa.Table:
    """So many events: of few users many, most of them looks."""
    random = np.random.default_rng(seed)
    kinds = random.choice(KINDS, count, p=(0.7, 0.2, 0.1))
    return pa.table(
        {
            "user": np.minimum(random.geometric(8 / users, count), users),
            "kind": kinds,
            "cents": np.where(kinds == "look", 0, random.integers(100, 20_000, count)),
        }
    )


def clear(url: str, stream: str, table: str) -> None:
    """Remove what an earlier run left."""
    with redis.Redis.from_url(url) as client:
        client.delete(stream)
    with open_store(url) as store, contextlib.suppress(TableNotFoundError):
        store.drop(table)


def publish(url: str, stream: str, found: pa.Table) -> None:
    """Add the events to the stream, as shops do: one by one."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipeline:
        for event in found.to_pylist():
            pipeline.xadd(stream, event)
        pipeline.execute()


def expected(found: pa.Table) -> pa.Table:
    """What the features must be, added up without Spark."""
    bought = pc.equal(found.column("kind"), "buy")
    own = found.append_column("bought", bought.cast(pa.int64()))
    spent = pc.multiply(own.column("bought"), own.column("cents"))
    sums = (
        own.append_column("spent", spent)
        .group_by("user")
        .aggregate([("user", "count"), ("bought", "sum"), ("spent", "sum")])
    )
    return sums.rename_columns(["user", "events", "purchases", "cents"]).sort_by("user")


def train(url: str, table: str, cache: Path) -> int:
    """Read the table as training does; return how many rows came as tensors."""
    with open_store(url) as store:
        shards = seal(store.source(table), cache=cache, version=uuid.uuid4().hex)
    dataset = SourceDataset(shards, batch_size=BATCH_ROWS, shuffle="full", seed=SEED)
    batches = list(dataset)
    first = batches[0]
    print("a batch:", {name: tuple(column.shape) for name, column in first.items()})
    return sum(len(batch[features.KEY]) for batch in batches)


def run(url: str, stream: str, table: str, count: int, users: int, directory: Path) -> None:
    """Two halves of the events, each followed by the query; then check, and read."""
    clear(url, stream, table)
    halves = [events(count // 2, users, SEED + half) for half in range(2)]
    spark = features.session()
    spark.sparkContext.setLogLevel("ERROR")
    for number, half in enumerate(halves, 1):
        publish(url, stream, half)
        checkpoint = str(directory / "checkpoint")
        features.follow(spark, url, stream, table, checkpoint, until_read=True)
        print(f"half {number}: {half.num_rows:,} events aggregated")
    spark.stop()
    with open_store(url) as store:
        found = read_all(store.source(table)).sort_by(features.KEY)
    wanted = expected(pa.concat_tables(halves))
    if not found.select(wanted.column_names).equals(wanted.cast(found.schema)):
        raise SystemExit(f"table {table!r} is not what the events add up to")
    print(f"checked: {found.num_rows:,} users, every feature exact")
    if train(url, table, directory / "shards") != found.num_rows:
        raise SystemExit("the shards lack rows of the table")
    print(f"trained on: {found.num_rows:,} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description="Features from a stream of events.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--embedded", action="store_true", help="start a private server")
    where.add_argument("--url", help="use this Redis server")
    parser.add_argument(
        "--stream", default=features.STREAM, help="key of the stream, which is made anew"
    )
    parser.add_argument(
        "--table", default=features.TABLE, help="table of the features, which is made anew"
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=1_000)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serve()).url if given.embedded else given.url
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run(url, given.stream, given.table, given.events, given.users, directory)


if __name__ == "__main__":
    main()
