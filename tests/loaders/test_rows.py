"""Rows one by one: the samples of a dataset, and rows by their number."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from connector import SchemaError, TableSource
from loaders import RowDataset, ShardedSource, SourceDataset, seal

COUNT = 90
COLUMNS = {
    "id": pa.array(range(COUNT), pa.int32()),
    "vector": pa.array([[i, -i] for i in range(COUNT)], pa.list_(pa.float32())),
    "history": pa.array([list(range(i % 4)) for i in range(COUNT)], pa.list_(pa.int64())),
    "name": pa.array([f"n{i}" for i in range(COUNT)]),
}


@pytest.fixture
def shards(tmp_path: Path) -> ShardedSource:
    source = TableSource(pa.table(COLUMNS), parts=5, key=("id",))
    return seal(source, cache=tmp_path, version="1", splits={"most": 0.8, "rest": 0.2})


def plain(row: dict[str, object]) -> dict[str, object]:
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in row.items()
    }


def wanted(i: int) -> dict[str, object]:
    return {name: column[i].as_py() for name, column in COLUMNS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_the_rows_of_the_batches(shards: ShardedSource, workers: int) -> None:
    dataset = SourceDataset(shards, batch_size=16, shuffle="full", seed=2)
    batches = [i for batch in dataset for i in batch["id"].tolist()]
    samples = [
        plain(row) for row in DataLoader(dataset.samples(), batch_size=None, num_workers=workers)
    ]
    assert sorted(row["id"] for row in samples) == list(range(COUNT))
    assert workers or [row["id"] for row in samples] == batches
    assert all(row == wanted(row["id"]) for row in samples)
    columns = SourceDataset(shards, batch_size=16, columns=["id", "vector"])
    joined = next(iter(DataLoader(columns.samples(), batch_size=7)))
    assert joined["vector"].shape == (7, 2) and joined["id"].dtype == torch.int32


def test_rows_by_their_number(shards: ShardedSource) -> None:
    dataset = RowDataset(shards)
    assert len(dataset) == COUNT
    order = [dataset[i]["id"].item() for i in range(COUNT)]
    assert sorted(order) == list(range(COUNT))
    assert [plain(dataset[i]) for i in (3, -1)] == [wanted(order[3]), wanted(order[-1])]
    rows = dataset.__getitems__([80, 2, 80, 41])
    assert [plain(row) for row in rows] == [wanted(order[i]) for i in (80, 2, 80, 41)]
    assert rows.batch["id"].tolist() == [order[i] for i in (80, 2, 80, 41)]
    assert [plain(row) for row in rows[1:3]] == [wanted(order[2]), wanted(order[80])]
    assert len(dataset.__getitems__([])) == 0
    for wrong in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            dataset[wrong]
    with pytest.raises(SchemaError, match="'none'"):
        RowDataset(shards, columns=["none"])
    part = RowDataset(shards.split("rest"), columns=["name"])
    assert set(dataset[0]) == set(COLUMNS) and set(part[0]) == {"name"}
    assert 0 < len(part) < COUNT / 2
    assert plain(pickle.loads(pickle.dumps(dataset))[5]) == plain(dataset[5])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_sampler_takes_batches_column_by_column(shards: ShardedSource, workers: int) -> None:
    dataset = RowDataset(shards)
    loader = DataLoader(
        dataset, batch_size=32, shuffle=True, num_workers=workers, collate_fn=RowDataset.collate
    )
    batches = list(loader)
    assert [len(batch["name"]) for batch in batches] == [32, 32, 26]
    assert sorted(i for batch in batches for i in batch["id"].tolist()) == list(range(COUNT))
    for batch in batches:
        values, offsets = batch["history"]
        for at, i in enumerate(batch["id"].tolist()):
            assert batch["vector"][at].tolist() == [i, -i]
            assert values[offsets[at] : offsets[at + 1]].tolist() == list(range(i % 4))
    numbers = DataLoader(RowDataset(shards, columns=["id", "name"]), batch_size=45)
    assert [len(batch["name"]) for batch in numbers] == [45, 45]


def test_rows_come_through_a_cache_that_is_smaller_than_the_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one batch had open goes for the next; without a limit, so many shards stay open."""
    source = TableSource(pa.table(COLUMNS), parts=20)
    home = {"home": f"file://{tmp_path}/home", "version": "1"}
    whole = seal(source, cache=tmp_path / "all", shard_bytes=1 << 10, **home)
    largest = max(shard.bytes for shard in whole.manifest.shards)
    small = seal(source, cache=tmp_path / "c", shard_bytes=1 << 10, limit_bytes=8 * largest, **home)
    for shards, most in ((small, 4), (whole, 3)):
        monkeypatch.setattr("loaders.pytorch.rows._MOST_OPEN", most)
        rows = RowDataset(shards)
        for i in torch.randperm(COUNT).tolist():
            assert plain(rows[i])["id"] == i
            assert len(open_files(shards)) <= most + 1


def open_files(shards: ShardedSource) -> set[str]:
    """The shards that this process has open, to keep them from going."""
    paths = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            paths.add(str(descriptor.readlink()))
    return {path for path in paths if path.startswith(str(shards.directory)) and "arrow" in path}
