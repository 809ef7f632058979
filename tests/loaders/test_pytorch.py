"""SourceDataset: exact batches in one order, on any workers and ranks, forked or spawned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from loaders_sealing import doubled, table
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from connector import SchemaError, TableSource, read_all
from loaders import ShardedSource, SourceDataset, seal
from loaders.convert import Ragged
from loaders.place import Last
from loaders.shard_files import Compression


@pytest.fixture
def shards(tmp_path: Path) -> ShardedSource:
    return seal(TableSource(table(1000), parts=7), transform=doubled, cache=tmp_path, version="1")


def ids(batches: Iterator[dict[str, object]] | DataLoader) -> list[int]:
    return [i for batch in batches for i in batch["id"].tolist()]


@pytest.mark.parametrize("shuffle", ["none", "shards", "full"])
def test_batches_are_exact_and_rows_belong_together(shards: ShardedSource, shuffle):
    dataset = SourceDataset(shards, batch_size=64, shuffle=shuffle, shuffle_rows=300)
    batches = list(dataset)
    assert [len(batch["id"]) for batch in batches] == [64] * 15 + [40]
    assert len(dataset) == 16
    assert list(batches[0]) == ["id", "x", "name"]
    for batch in batches:
        assert batch["x"].tolist() == [float(i) for i in batch["id"].tolist()]
        assert batch["name"] == [f"n{i}" for i in batch["id"].tolist()]
    assert sorted(ids(batches)) == list(range(1000))
    assert (ids(batches) == list(range(1000))) == (shuffle == "none")


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_persistent_workers_give_the_global_order_of_each_epoch(
    tmp_path: Path, context: str, compression: Compression
):
    source = TableSource(table(1000), parts=7)
    shards = seal(source, transform=doubled, cache=tmp_path, version="1", compression=compression)
    dataset = SourceDataset(shards, batch_size=64, shuffle="full", shuffle_rows=300, seed=5)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=context,
    )
    orders = []
    for epoch in range(3):
        dataset.set_epoch(epoch)
        batches = list(loader)
        assert type(batches[0]) is dict and batches[0]["name"][0] == f"n{batches[0]['id'][0]}"
        orders.append(ids(batches))
        assert orders[-1] == ids(dataset)
    assert len(set(map(tuple, orders))) == 3


def test_a_collate_function_in_a_worker_is_kept(shards: ShardedSource):
    dataset = SourceDataset(shards, batch_size=500, columns=["x"])
    loader = DataLoader(dataset, batch_size=None, num_workers=1, collate_fn=_with_sum)
    assert [float(batch["sum"]) for batch in loader] == [
        float(batch["x"].sum()) for batch in dataset
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_pinned(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the walk that DataLoader makes through a batch; to pin for real takes an accelerator."""
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    sealed = seal(TableSource(pa.table(LISTS), parts=3), cache=tmp_path, version="1")
    dataset = SourceDataset(sealed, batch_size=50)
    (batch,) = DataLoader(dataset, batch_size=None, num_workers=workers)
    found = pin_memory(batch)
    assert list(found) == list(batch) and isinstance(found["history"], Ragged)
    tensors = [found["id"], found["vector"], *found["history"]]
    assert all(a is b for a, b in zip(tensors, pinned, strict=True))
    assert found["tags"] == batch["tags"]
    for ours, before in zip(tensors, [batch["id"], batch["vector"], *batch["history"]]):
        assert torch.equal(ours, before)


def _with_sum(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    batch["sum"] = batch["x"].sum()
    return batch


@pytest.mark.parametrize(("last", "rows"), [("uneven", [1000]), ("pad", [1152]), ("drop", [960])])
def test_ranks_share_an_epoch(shards: ShardedSource, last: Last, rows: list[int]):
    found = []
    for rank in range(3):
        dataset = SourceDataset(shards, batch_size=64, shuffle="full", last=last, ranks=(rank, 3))
        batches = list(dataset)
        assert len(batches) == len(dataset) == {"uneven": 6, "pad": 6, "drop": 5}[last]
        assert last == "uneven" or {len(batch["id"]) for batch in batches} == {64}
        found += ids(batches)
    assert [len(found)] == rows
    assert len(set(found)) == min(len(found), 1000)


def test_columns_and_refusals(shards: ShardedSource, tmp_path: Path):
    assert list(next(iter(SourceDataset(shards, batch_size=1, columns=["x", "id"])))) == ["x", "id"]
    with pytest.raises(SchemaError, match="'y'"):
        SourceDataset(shards, batch_size=1, columns=["y"])
    holes = pa.table({"late": [1, None, 3], "part": [0.5, None, 1.5]})
    sealed = seal(TableSource(holes), cache=tmp_path, version="1")
    with pytest.raises(SchemaError, match="'late'"):
        list(SourceDataset(sealed, batch_size=2))
    (batch,) = SourceDataset(sealed, batch_size=5, columns=["part"])
    assert torch.isnan(batch["part"]).tolist() == [False, True, False]


LISTS = {
    "id": pa.array(range(50), pa.int64()),
    "vector": pa.array([[i, i + 0.5] for i in range(50)], pa.list_(pa.float32())),
    "history": pa.array([list(range(i % 4)) for i in range(50)], pa.list_(pa.int32())),
    "tags": pa.array([[f"t{j}" for j in range(i % 3)] for i in range(50)], pa.list_(pa.string())),
}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_lists_are_tensors_and_ragged_ones_have_offsets(tmp_path: Path, workers: int):
    sealed = seal(TableSource(pa.table(LISTS), parts=3), cache=tmp_path, version="1")
    assert sealed.schema.field("vector").type == pa.list_(pa.float32(), 2)
    dataset = SourceDataset(sealed, batch_size=8, shuffle="full", shuffle_rows=30)
    rows = []
    for batch in DataLoader(dataset, batch_size=None, num_workers=workers):
        values, offsets = batch["history"]
        assert batch["history"].offsets is offsets and offsets.dtype == torch.int64
        assert values.dtype == torch.int32 and batch["vector"].shape == (len(batch["id"]), 2)
        rows += [
            (i, vector, values[start:stop].tolist(), tags)
            for i, vector, start, stop, tags in zip(
                batch["id"].tolist(),
                batch["vector"].tolist(),
                offsets[:-1].tolist(),
                offsets[1:].tolist(),
                batch["tags"],
                strict=True,
            )
        ]
    columns = [column.to_pylist() for column in LISTS.values()]
    assert sorted(rows) == list(zip(*columns, strict=True))


@pytest.mark.parametrize("odd", [[1.0], [1.0, 2.0, 3.0], [], None])
def test_lists_of_which_one_is_odd_are_ragged(tmp_path: Path, odd: list[float] | None):
    vectors = pa.array([[1.0, 2.0]] * 9 + [odd], pa.list_(pa.float64()))
    source = TableSource(pa.table({"vector": vectors}), parts=3)
    sealed = seal(source, cache=tmp_path, version="1")
    assert sealed.schema == source.schema
    assert read_all(sealed)["vector"].to_pylist() == vectors.to_pylist()


def test_lists_of_text_are_python_lists_also_of_one_size(tmp_path: Path):
    pairs = pa.table({"pair": [["a", "b"], ["c", "d"], ["e", None]]})
    sealed = seal(TableSource(pairs), cache=tmp_path, version="1")
    (batch,) = SourceDataset(sealed, batch_size=5)
    assert batch["pair"] == [["a", "b"], ["c", "d"], ["e", None]]
