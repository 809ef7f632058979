"""tf.data: the same batches as in torch, the same tokens, and places in checkpoints."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow as tf

from connector import TableSource
from connector.errors import TokenMismatchError
from loaders import Mixture, ShardedSource, SourceDataset, seal
from loaders.tfdata import TensorBatches, to_dataset

COUNT = 230
COLUMNS = {
    "id": pa.array(range(COUNT), pa.int32()),
    "x": pa.array([i / 2 for i in range(COUNT)], pa.float64()),
    "vector": pa.array([[i, -i] for i in range(COUNT)], pa.list_(pa.float32())),
    "history": pa.array([list(range(i % 4)) for i in range(COUNT)], pa.list_(pa.int64())),
    "name": pa.array([f"näme {i}" for i in range(COUNT)]),
    "tags": pa.array(
        [[f"t{j}" for j in range(i % 3)] for i in range(COUNT)], pa.list_(pa.string())
    ),
}
OPTIONS: dict[str, Any] = {"batch_size": 16, "shuffle": "full", "shuffle_rows": 60, "seed": 5}


@pytest.fixture
def shards(tmp_path: Path) -> ShardedSource:
    return seal(TableSource(pa.table(COLUMNS), parts=7), cache=tmp_path / "cache", version="1")


def ids(batches: Any) -> list[int]:
    return [int(i) for batch in batches for i in batch["id"].numpy()]


@pytest.mark.parametrize("shuffle", ["none", "shards", "full"])
@pytest.mark.parametrize("ranks", [(0, 1), (1, 3)])
def test_batches_are_those_of_torch(shards: ShardedSource, shuffle: Any, ranks: Any) -> None:
    options = {**OPTIONS, "shuffle": shuffle, "ranks": ranks}
    dataset = to_dataset(shards, **options)
    torch = list(SourceDataset(shards, **options))
    assert dataset.cardinality().numpy() == len(torch)
    for ours, theirs in zip(dataset, torch, strict=True):
        for name in ("id", "x", "vector"):
            assert ours[name].numpy().tolist() == theirs[name].tolist()
            assert str(theirs[name].dtype).endswith(ours[name].dtype.name)
        values, offsets = theirs["history"]
        assert ours["history"].values.numpy().tolist() == values.tolist()
        assert ours["history"].row_splits.numpy().tolist() == offsets.tolist()
        assert [text.decode() for text in ours["name"].numpy()] == theirs["name"]
        tags = [[text.decode() for text in row] for row in ours["tags"].to_list()]
        assert tags == theirs["tags"]


def test_a_mixture_is_the_same_in_both(shards: ShardedSource, tmp_path: Path) -> None:
    other = seal(TableSource(pa.table(COLUMNS).slice(0, 40)), cache=tmp_path, version="2")
    mixture = Mixture([shards, other], [2, 1], rows=300)
    data = TensorBatches(mixture, **OPTIONS)
    torch = SourceDataset(mixture, **OPTIONS)
    for each in (data, torch):
        each.set_epoch(1)
    expected = [i for batch in torch for i in batch["id"].tolist()]
    assert ids(data.to_dataset()) == expected
    data.load_state_dict(torch.token_at(3))
    assert ids(data.to_dataset()) == expected[3 * 16 :]


def test_full_batches_have_a_static_shape(shards: ShardedSource) -> None:
    dropped = to_dataset(shards, **OPTIONS, last="drop")
    assert dropped.element_spec["vector"].shape == (16, 2)
    assert dropped.element_spec["history"].shape[0] == 16
    assert len(list(dropped)) == COUNT // 16
    assert to_dataset(shards, **OPTIONS).element_spec["vector"].shape.as_list() == [None, 2]


def test_nested_lists_of_one_size_are_tensors_of_as_many_dimensions(tmp_path: Path) -> None:
    pixels = [[[[i, y, x] for x in range(4)] for y in range(2)] for i in range(9)]
    kind = pa.list_(pa.list_(pa.list_(pa.uint8(), 3), 4), 2)
    table = pa.table({"id": pa.array(range(9)), "image": pa.array(pixels, kind)})
    sealed = seal(TableSource(table, parts=2), cache=tmp_path, version="1")
    dataset = to_dataset(sealed, batch_size=4, shuffle="full")
    assert dataset.element_spec["image"].shape.as_list() == [None, 2, 4, 3]
    for batch in dataset:
        assert batch["image"].dtype == tf.uint8
        assert batch["image"].numpy().tolist() == [pixels[i] for i in batch["id"].numpy()]


def test_an_epoch_is_stopped_and_gone_on_with(shards: ShardedSource, tmp_path: Path) -> None:
    whole = {}
    for epoch in (2, 3):
        data = TensorBatches(shards, **OPTIONS)
        data.set_epoch(epoch)
        whole[epoch] = ids(data.to_dataset())
    data = TensorBatches(shards, **OPTIONS)
    data.set_epoch(2)
    pipeline = data.to_dataset().prefetch(4)
    assert ids(itertools.islice(data.taken(pipeline), 5)) == whole[2][:80]
    path = tf.train.Checkpoint(data=data).save(str(tmp_path / "checkpoint"))
    again = TensorBatches(shards, **OPTIONS)
    tf.train.Checkpoint(data=again).restore(path).assert_consumed()
    for epoch in range(again.epoch, 4):
        again.set_epoch(epoch)
        assert ids(again.taken(again.to_dataset())) == whole[epoch][80 if epoch == 2 else 0 :]
    assert again.token()["position"] == COUNT


def test_tokens_go_from_torch_and_to_it(shards: ShardedSource) -> None:
    torch = SourceDataset(shards, **OPTIONS)
    data = TensorBatches(shards, **{**OPTIONS, "batch_size": 10})
    data.load_state_dict(torch.token_at(3))
    found = ids(itertools.islice(data.taken(data.to_dataset()), 4))
    torch.load_state_dict(data.token())
    found += [i for batch in torch for i in batch["id"].tolist()]
    whole = SourceDataset(shards, **OPTIONS)
    assert found == [i for batch in whole for i in batch["id"].tolist()][48:]
    with pytest.raises(TokenMismatchError, match="seed"):
        TensorBatches(shards, **{**OPTIONS, "seed": 6}).load_state_dict(torch.token_at(0))


def test_text_with_nulls_is_refused(tmp_path: Path) -> None:
    for column in (pa.array(["a", None]), pa.array([["a"], None]), pa.array([["a"], [None]])):
        sealed = seal(TableSource(pa.table({"a": column})), cache=tmp_path, version="1")
        with pytest.raises(tf.errors.OpError, match="column 'a' has nulls"):
            list(to_dataset(sealed, batch_size=2))
