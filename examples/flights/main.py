"""The main job, end to end: flights through Spark into Redis, and out of it into training.

    python examples/flights/main.py --embedded
    python examples/flights/main.py --url redis://localhost:6379/0

It stops with an error where what was read is not exactly what was written, where a row is lost on
the way into the shards, or where the model does not beat both baselines.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import etl
import model
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from report import Report
from torch.utils.data import DataLoader

from connector import StoreSource, open_store, read_all
from connector.digests import digest
from connector.embedded import serve
from loaders import ShardedSource, SourceDataset, Transform, seal

SEED = 7
BATCH_ROWS = 1024
WORKERS = 2


@dataclass(frozen=True)
class Flights(StoreSource):
    """The table, named by what it holds: a private server has another address every time."""

    content: str = ""

    @property
    def fingerprint(self) -> str:
        return digest(self.content, self.scan.table, self.scan.output, self.scan.key)


def load(url: str, table: str, limit: int | None, report: Report) -> dict[str, object]:
    """Write the flights by Spark and read them back; return the exact totals of their columns."""
    with report.step("start Spark"):
        spark = etl.session(**{"spark.ui.showConsoleProgress": False, "spark.ui.enabled": False})
        spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as directory:
        with report.step("join flights, weather, planes") as step:
            rows = etl.flights(spark, etl.unpack(Path(directory)), limit).cache()
            step.advance(rows.count())
        with report.step("check ids, sum columns"):
            etl.check_ids(rows)
            written = etl.summary(rows)
        flights = step.rows
        with report.step("Spark write to Redis", flights) as step:
            etl.write(rows, url, table)
            step.advance(flights)
        with report.step("Spark read from Redis", flights) as step:
            etl.read(spark, url, table).write.format("noop").mode("overwrite").save()
            step.advance(flights)
        with report.step("sum columns read back"):
            etl.check_equal(written, etl.summary(etl.read(spark, url, table)))
    spark.stop()
    report.figure("read back by Spark", f"{flights:,} rows, every column equal")
    return written


def train(url: str, table: str, content: str, cache: Path, epochs: int, report: Report) -> bool:
    """Seal the table, train, and compare with the baselines; tell whether both were beaten."""
    with open_store(url) as store:
        found = store.source(table, columns=list(model.COLUMNS))
        source = Flights(found.store, found.scan, found.parts, content=content)
        with report.step("Arrow read from Redis") as step:
            flights = read_all(source)
            step.advance(flights.num_rows)
        features = model.Features.fit(flights)
        trained, unseen = (
            _sealed(source, features, held_out, cache, content, report)
            for held_out in (False, True)
        )
    _check_rows(flights, trained, unseen)

    torch.manual_seed(SEED)
    sizes = [len(values) + 1 for values in features.categories]
    net = model.DelayModel(sizes, len(model.NUMBERS))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    dataset = SourceDataset(trained, batch_size=BATCH_ROWS, shuffle="full", seed=SEED)
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        with report.step(f"epoch {epoch + 1}", trained.rows) as step:
            batches = DataLoader(dataset, batch_size=None, num_workers=WORKERS)
            for rows in model.train_epoch(net, optimizer, batches):
                step.advance(rows)
    with report.step("score held-out months") as step:
        batches = DataLoader(SourceDataset(unseen, batch_size=BATCH_ROWS), batch_size=None)
        scored = model.scores(net, batches)
        step.advance(len(scored["late"]))
    return _compare(scored, model.mean_rates(flights, features), report)


def _sealed(
    source: Flights,
    features: model.Features,
    held_out: bool,
    cache: Path,
    content: str,
    report: Report,
) -> ShardedSource:
    """The encoded flights as shards on local disk, made by this run or an earlier one."""
    months = "held-out months" if held_out else "training months"
    encoding = Transform(model.encode, params=features.params(held_out))
    with report.step(f"seal {months}") as step:
        shards = seal(
            source,
            transform=encoding,
            cache=cache,
            version=content,
            progress=lambda done, planned, rows: step.advance(rows - step.rows),
        )
        step.rows = shards.rows if shards.stats.misses else 0  # opening shards has no rate
    stats = shards.stats
    report.figure(
        f"cache, {months}",
        f"{stats.hits} hits of {stats.bytes_read:,} bytes, "
        f"{stats.misses} misses of {stats.bytes_written:,} bytes",
    )
    return shards


def _check_rows(flights: pa.Table, trained: ShardedSource, held_out: ShardedSource) -> None:
    """Stop where the shards do not hold every flight that arrived, in its months."""
    arrived = flights.filter(pc.is_valid(flights.column("late")))
    wanted = pc.sum(model.trained(arrived)).as_py()
    found = trained.rows, held_out.rows
    if found != (wanted, len(arrived) - wanted):
        raise SystemExit(
            f"the shards hold {found} flights, not {(wanted, len(arrived) - wanted)}: remove the cache"
        )


def _compare(scored: dict[str, model.Column], rates: model.Column, report: Report) -> bool:
    """Report how the model and the baselines rank the held-out flights."""
    late = scored["late"]
    constant = model.auc(late, np.zeros(len(late)))
    by_rate = model.auc(late, rates[scored["carrier"], scored["hour"]])
    ours = model.auc(late, scored["score"])
    report.figure("held out, late", f"{len(late):,} flights, {late.mean():.1%} late")
    report.figure("AUC, constant", f"{constant:.4f}")
    report.figure("AUC, mean rate by carrier and hour", f"{by_rate:.4f}")
    report.figure("AUC, model", f"{ours:.4f}")
    return ours > max(constant, by_rate)


def main() -> None:
    parser = argparse.ArgumentParser(description="Flights: Spark, Redis, training.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--embedded", action="store_true", help="start a private server")
    where.add_argument("--url", help="use this Redis server")
    parser.add_argument(
        "--table", default=etl.TABLE, help="name of the table, which is overwritten"
    )
    parser.add_argument("--sample", type=int, help="about how many flights to take; all by default")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--cache", type=Path, default=Path("~/.cache/kvlake"), help="where the shards are kept"
    )
    given = parser.parse_args()
    report = Report()
    with contextlib.ExitStack() as servers:
        url = given.url or servers.enter_context(serve()).url
        totals = load(url, given.table, given.sample, report)
        content = digest(*sorted(totals.items()))
        cache = given.cache.expanduser()
        won = train(url, given.table, content, cache, given.epochs, report)
    report.show()
    if not won:
        raise SystemExit("the model does not beat both baselines")


if __name__ == "__main__":
    main()
