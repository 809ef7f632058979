"""LiveDataset: every row of a table that nobody writes, in whole batches, without sealing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from loaders_sealing import doubled, table
from servers import Server
from torch.utils.data import DataLoader

from connector import OptionError, Source, TableSource, WriteOptions, open_store
from loaders import LiveDataset

ROWS = 1000


@pytest.fixture
def source() -> Source:
    return TableSource(table(ROWS), parts=7, batch_rows=37)


def ids(batches: Any) -> list[int]:
    return [i for batch in batches for i in batch["id"].tolist()]


def test_rows_in_their_order(source: Source) -> None:
    batches = list(LiveDataset(source, batch_size=64, transform=doubled))
    assert [len(batch["id"]) for batch in batches] == [64] * 15 + [40]
    assert ids(batches) == list(range(ROWS))
    assert batches[3]["x"].tolist() == [float(i) for i in batches[3]["id"].tolist()]
    assert batches[3]["name"] == [f"n{i}" for i in batches[3]["id"].tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_share_the_partitions_and_see_the_epoch(source: Source, context: str) -> None:
    dataset = LiveDataset(source, batch_size=64, shuffle_rows=200, seed=3, columns=["id"])
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=context,
    )
    orders = []
    for epoch in (0, 1, 1):
        dataset.set_epoch(epoch)
        orders.append(ids(loader))
        assert sorted(orders[-1]) == list(range(ROWS))
    assert orders[0] != orders[1] == orders[2]


def test_ranks_share_the_partitions(source: Source) -> None:
    options: dict[str, Any] = {"batch_size": 64, "shuffle_rows": 100}
    found = [ids(LiveDataset(source, ranks=(rank, 3), **options)) for rank in range(3)]
    assert sorted(i for part in found for i in part) == list(range(ROWS))
    assert all(found)


def test_straight_from_a_store(redis_server: Server, table: str) -> None:
    rows = pa.table({"id": pa.array(range(500), pa.int64()), "v": [[i, i] for i in range(500)]})
    with open_store(redis_server.url) as store:
        store.write(table, rows.to_batches(), WriteOptions(key=("id",)))
        batches = list(LiveDataset(store.source(table, parts=3), batch_size=128))
    assert sorted(ids(batches)) == list(range(500))
    assert [len(batch["id"]) for batch in batches] == [128, 128, 128, 116]
    assert batches[0]["v"].values.shape == (256,)


def test_refusals(source: Source) -> None:
    with pytest.raises(OptionError, match="seal it for that"):
        LiveDataset(source, batch_size=1).state_dict()
    for wrong in ({"batch_size": 0}, {"shuffle_rows": 0}, {"seed": -1}):
        with pytest.raises(OptionError, match="must be at least 1"):
            LiveDataset(source, **{"batch_size": 1, **wrong})
    with pytest.raises(OptionError, match="epoch"):
        LiveDataset(source, batch_size=1).set_epoch(-1)
