"""One rank of a training job, over gloo: takes batches, and meets the others at every step.

python rank.py RENDEZVOUS RANK WORLD CACHE ROWS STOP TOKEN
"""

from __future__ import annotations

import itertools
import json
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from loaders_sealing import table
from torch.utils.data import DataLoader

from connector import TableSource
from loaders import SourceDataset, seal


def main(
    rendezvous: str, rank: str, world: str, cache: str, rows: str, stop: str, token: str
) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=int(rank),
        world_size=int(world),
        timeout=timedelta(seconds=60),
    )
    shards = seal(TableSource(table(int(rows)), parts=5), cache=cache, version="1")
    dataset = SourceDataset(shards, batch_size=16, shuffle="full", shuffle_rows=60, seed=1)
    dataset.set_epoch(2)
    if token:
        dataset.load_state_dict(json.loads(token))
    ids: list[int] = []
    steps = 0
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for batch in itertools.islice(loader, int(stop)):
        ids += batch["id"].tolist()
        steps += 1
        dist.all_reduce(torch.ones(1))  # hangs if a rank has fewer steps
    print(json.dumps({"ids": ids, "steps": steps, "token": dataset.token_at(steps)}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
