"""Splits: by the key alone, the same for ever, each with its shards."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loaders_sealing import table

from connector import OptionError, TableSource, WriteOptions, open_store, read_all
from loaders import ShardedSource, SourceDataset, seal
from loaders.splits import Splits

SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}
PINNED = {
    "train": [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 15, 16, 18, 19],
    "validation": [8, 9, 10],
    "test": [14, 17],
}


def keyed(rows: int) -> TableSource:
    return TableSource(table(rows), parts=4, key=("id",))


def sealed(rows: int, cache: Path) -> ShardedSource:
    return seal(keyed(rows), transform=without_key, cache=cache, version="1", splits=SHARES)


def without_key(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.select(["x"])


def rows_of(shards: ShardedSource) -> list[int]:
    return sorted(int(x * 2) for x in read_all(shards)["x"].to_pylist())


def test_every_row_is_in_one_split_whatever_is_added(tmp_path: Path) -> None:
    few, many = sealed(3000, tmp_path / "few"), sealed(9000, tmp_path / "many")
    found = {name: rows_of(many.split(name)) for name in SHARES}
    assert sorted(i for rows in found.values() for i in rows) == list(range(9000)) == rows_of(many)
    for name, share in SHARES.items():
        assert abs(len(found[name]) / 9000 - share) < 0.02
        assert rows_of(few.split(name)) == [i for i in found[name] if i < 3000]
    assert len({many.split(name).fingerprint for name in SHARES} | {many.fingerprint}) == 4


def test_a_dataset_reads_its_split(tmp_path: Path) -> None:
    part = sealed(1000, tmp_path).split("test")
    dataset = SourceDataset(part, batch_size=16, shuffle="full", seed=3)
    got = sorted(int(x * 2) for batch in dataset for x in batch["x"].tolist())
    assert got == rows_of(part)
    assert len(dataset) == -(-part.rows // 16)


def test_a_damaged_shard_of_a_split_is_rebuilt(tmp_path: Path) -> None:
    whole = sealed(1000, tmp_path)
    part = whole.split("validation")
    rows = rows_of(part)
    (part.directory / part.manifest.shards[1].name).unlink()
    again = sealed(1000, tmp_path)
    assert rows_of(again.split("validation")) == rows
    (part.directory / part.manifest.shards[0].name).unlink()
    assert rows_of(again.split("validation")) == rows
    assert again.stats.rebuilt == 2
    assert rows_of(again) == list(range(1000))


def test_the_key_of_a_store_decides_where_it_is_not_wanted(tmp_path: Path) -> None:
    with open_store("memory://splits") as store:
        store.write("t", table(500).to_batches(), WriteOptions(key=("id",)))
        source = store.source("t", columns=["x"], parts=3)
        shards = seal(source, cache=tmp_path, version="1", splits=SHARES)
    direct = seal(keyed(500), cache=tmp_path, version="1", splits=SHARES)
    for name in SHARES:
        assert rows_of(shards.split(name)) == rows_of(direct.split(name))


def test_repeats_are_left_out_of_splits(tmp_path: Path) -> None:
    twice = pa.concat_tables([table(300), table(20), table(400).slice(290)])
    source = TableSource(twice, parts=5, key=("id",))
    shards = seal(source, cache=tmp_path, version="1", splits=SHARES)
    assert rows_of(shards) == list(range(400))
    direct = sealed(400, tmp_path)
    for name in SHARES:
        assert rows_of(shards.split(name)) == rows_of(direct.split(name))


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=50), st.integers(0, 2**32))
def test_a_key_is_in_its_split_wherever_it_stands(keys: list[bytes], seed: int) -> None:
    splits = Splits.parse(SHARES)
    together = splits.rows(pa.array(keys, pa.binary()))
    for i, key in enumerate(keys):
        alone = splits.rows(pa.array([b"before", key], pa.binary()).slice(1))
        assert [alone[name][0] for name in SHARES] == [together[name][i] for name in SHARES]
        assert sum(alone[name][0].as_py() for name in SHARES) == 1


def test_neighbouring_keys_and_lengths_are_divided_evenly() -> None:
    splits = Splits.parse({"a": 0.5, "b": 0.5})
    for width in (1, 6, 40):
        keys = pa.array([f"{i:0{width}d}".encode() for i in range(10_000)], pa.binary())
        share = splits.rows(keys)["a"].to_numpy(zero_copy_only=False)
        assert abs(share.mean() - 0.5) < 0.02
        assert abs((share[1:] == share[:-1]).mean() - 0.5) < 0.02


def test_the_splits_are_pinned() -> None:
    # A change here would move rows from the training to the test of models that exist.
    keys = pa.array([str(i).encode() for i in range(20)], pa.binary())
    found = {
        name: [i for i, chosen in enumerate(rows.to_pylist()) if chosen]
        for name, rows in Splits.parse(SHARES).rows(keys).items()
    }
    assert found == PINNED


def test_refusals(tmp_path: Path) -> None:
    for wrong in ({}, {"train": 0.5}, {"a": 1.5, "b": -0.5}, {"a b": 1.0}, {"../a": 1.0}):
        with pytest.raises(OptionError, match="split"):
            seal(keyed(5), cache=tmp_path, version="1", splits=wrong)
    with pytest.raises(OptionError, match="this source has none"):
        seal(TableSource(table(5)), cache=tmp_path, version="1", splits=SHARES)
    whole = seal(keyed(5), cache=tmp_path, version="1")
    with pytest.raises(OptionError, match="no split 'train'; seal with splits="):
        whole.split("train")
    with pytest.raises(OptionError, match="no split 'all'; they have train, validation, test"):
        sealed(5, tmp_path).split("all")
