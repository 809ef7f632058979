"""Epochs of large seals: the first batch after a start and after a resume, hits of a cache, memory."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.loaders import BATCH_ROWS, make_table
from benchmarks.settings import Settings
from connector import TableSource
from loaders import ShardedSource, SourceDataset, seal
from loaders.order import Order

ROWS = 100_000_000
SHARD_BYTES = 64 << 20
ROW_BYTES = 13 * 4 + 27 * 8
EPOCHS = 5
CACHED_SHARDS = 40
"""Of which half fit."""


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shards = _large(root, rows)
        starts = [_first_batch(shards, position=0) for _ in range(settings.repeats)]
        resumes = [
            _first_batch(shards, position=shards.rows * 3 // 5) for _ in range(settings.repeats)
        ]
        hits = {policy: _hits(root / policy, policy, rows) for policy in ("scan", "lru")}
        return {
            "rows": shards.rows,
            "shards": len(shards.manifest.shards),
            "first_batch_seconds": {
                "start": round(statistics.median(starts), 3),
                "resume": round(statistics.median(resumes), 3),
            },
            "share_of_hits": {policy: round(share, 3) for policy, share in hits.items()},
            "share_that_fits": 0.5,
            "resident_mebibytes_after_epochs": _memory(shards, min(rows, 4_000_000)),
        }


def _large(root: Path, rows: int) -> ShardedSource:
    """A seal of so many rows, whose shards are one file by many names: nothing of it is known before."""
    one = min(rows, SHARD_BYTES // ROW_BYTES)
    sealed = seal(
        TableSource(make_table(one), parts=1),
        cache=root,
        version="large",
        shard_bytes=2 * SHARD_BYTES,
    )
    (shard,) = sealed.manifest.shards
    linked = []
    for number in range(rows // one):
        name = f"{number:05d}-0000-{shard.checksum}.arrow"
        if name != shard.name:
            os.link(sealed.directory / shard.name, sealed.directory / name)
        linked.append(replace(shard, name=name, partition=number))
    return replace(sealed, sealed=replace(sealed.sealed, shards=tuple(linked)), origin=None)


def _first_batch(shards: ShardedSource, position: int) -> float:
    """Seconds from nothing to a batch, in a process that has verified none of the shards."""
    fresh = replace(shards)
    began = time.perf_counter()
    dataset = SourceDataset(fresh, batch_size=BATCH_ROWS, shuffle="full", seed=1)
    if position:
        dataset.load_state_dict(dataset.token_at(0) | {"position": position})
    next(iter(dataset))
    return time.perf_counter() - began


def _hits(root: Path, policy: str, rows: int) -> float:
    """The share of shards that a cache of half the seal's size has, over epochs in shuffled order."""
    table = make_table(min(rows, 400_000))
    given = {"version": "bench", "home": f"file://{root}/home"}
    whole = seal(
        TableSource(table, parts=4),
        cache=root / "whole",
        shard_bytes=table.nbytes // CACHED_SHARDS,
        **given,  # type: ignore[arg-type]
    )
    limit = whole.manifest.total_bytes // 2
    shards = seal(
        TableSource(table, parts=4),
        cache=root / "cache",
        shard_bytes=table.nbytes // CACHED_SHARDS,
        limit_bytes=limit,
        policy=policy,  # type: ignore[arg-type]
        **given,  # type: ignore[arg-type]
    )
    counts = tuple(shard.rows for shard in whole.manifest.shards)
    before = shards.stats
    for epoch in range(EPOCHS + 1):
        for group in Order(counts, "shards", 3, epoch).groups:
            shards.open(*group.shards)
        if not epoch:
            before = shards.stats  # the first fills the cache
    hits, misses = shards.stats.hits - before.hits, shards.stats.misses - before.misses
    return hits / (hits + misses)


def _memory(shards: ShardedSource, rows: int) -> list[int]:
    """What this process holds beside mapped files, after each of some epochs."""
    dataset = SourceDataset(shards, batch_size=BATCH_ROWS, shuffle="full")
    found = []
    for epoch in range(EPOCHS):
        dataset.set_epoch(epoch)
        seen = 0
        for batch in dataset:
            seen += len(batch["label"])
            if seen >= rows:
                break
        status = Path("/proc/self/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("RssAnon")]
        found.append(int(line.split()[1]) // 1024)
    return found
