"""Resume tokens: an epoch goes on at the row where it stopped, on other ranks and workers too."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loaders_sealing import doubled, table
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from connector import OptionError, TableSource
from connector.digests import digest
from connector.errors import TokenMismatchError
from loaders import ShardedSource, SourceDataset, seal

ROWS = 230
OPTIONS: dict[str, Any] = {"batch_size": 16, "shuffle": "full", "shuffle_rows": 60, "seed": 5}
LEGS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(1, 40), st.integers(0, 8)),
    max_size=5,
)
"""Ranks, workers (0 for none), batch size, and batches of each rank before it stops."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardedSource:
    source = TableSource(table(ROWS), parts=7)
    return seal(source, transform=doubled, cache=tmp_path_factory.mktemp("cache"), version="1")


def made(shards: ShardedSource, **options: Any) -> SourceDataset:
    return SourceDataset(shards, **{**OPTIONS, **options})


def ids(batches: Any) -> list[int]:
    return [i for batch in batches for i in batch["id"].tolist()]


def loaded(dataset: SourceDataset, workers: int) -> Iterator[dict[str, Any]]:
    """What a DataLoader hands out, without its processes."""
    if not workers:
        return iter(dataset)
    queues = []
    for worker in range(workers):
        info = SimpleNamespace(id=worker, num_workers=workers)
        with mock.patch("loaders.pytorch.dataset.get_worker_info", return_value=info):
            queues.append(list(dataset))
    rounds = itertools.zip_longest(*queues)
    return (batch for batches in rounds for batch in batches if batch is not None)


def test_a_snapshot_is_a_few_numbers_and_hashes_the_shards_once(shards: ShardedSource) -> None:
    many = replace(shards.manifest, shards=shards.manifest.shards * 1000)
    dataset = made(replace(shards, sealed=many))
    with mock.patch("loaders.manifest.digest", wraps=digest) as hashing:
        states = [dataset.state_dict() for _ in itertools.islice(dataset, 20)]
    assert hashing.call_count <= 1
    assert states[-1]["position"] == 20 * OPTIONS["batch_size"]
    assert len(json.dumps(states[-1])) < 250


@settings(max_examples=80, deadline=None)
@given(legs=LEGS)
def test_every_row_once_over_any_ranks_workers_and_stops(shards: ShardedSource, legs: Any) -> None:
    token = None
    found: list[int] = []
    for world, workers, size, stop in [*legs, (2, 2, 11, None)]:
        tokens = []
        for rank in range(world):
            dataset = made(shards, batch_size=size, ranks=(rank, world))
            if token is not None:
                dataset.load_state_dict(json.loads(token))
            most = len(dataset)
            taken = list(itertools.islice(loaded(dataset, workers), stop))
            assert len(taken) == (most if stop is None else min(most, stop))
            found += ids(taken)
            tokens.append(json.dumps(dataset.token_at(len(taken))))
            if not workers:
                assert json.dumps(dataset.state_dict()) == tokens[-1]
        token = tokens[0]  # with fewer rows than ranks the first rank has them
    assert sorted(found) == list(range(ROWS))
    assert json.loads(token)["position"] == ROWS


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 6))
def test_padded_rows_are_the_first_ones_again(
    shards: ShardedSource, world: int, size: int, stop: int
) -> None:
    whole = ids(made(shards))
    first = made(shards, batch_size=size, last="pad", ranks=(0, world))
    first.load_state_dict(first.token_at(min(stop, len(first))))
    start = first.token_at(0)["position"]
    found = []
    for rank in range(world):
        dataset = made(shards, batch_size=size, last="pad", ranks=(rank, world))
        dataset.load_state_dict(first.token_at(0))
        found += ids(dataset)
    length = -(-(ROWS - start) // (size * world)) * size * world
    assert sorted(found) == sorted(whole[(start + i) % ROWS] for i in range(length))


def test_epochs_after_a_resumed_one_are_whole(shards: ShardedSource) -> None:
    whole = {}
    for epoch in (3, 4):
        dataset = made(shards)
        dataset.set_epoch(epoch)
        whole[epoch] = ids(dataset)
    dataset = made(shards)
    dataset.set_epoch(3)
    reading = iter(dataset)
    assert ids(itertools.islice(reading, 5)) == whole[3][:80]
    for state in (dataset.state_dict(), dataset.token_at(5)):
        resumed = made(shards)
        resumed.load_state_dict(state)
        assert resumed.epoch == 3
        for epoch in (3, 4):
            resumed.set_epoch(epoch)
            assert ids(resumed) == whole[epoch][80 if epoch == 3 else 0 :]
        resumed.load_state_dict(state)
        resumed.set_epoch(4)
        assert ids(resumed) == whole[4]
    assert ids(reading) == whole[3][80:]
    ended = made(shards)
    ended.load_state_dict(dataset.state_dict())
    assert ids(ended) == []
    assert ids(ended) == ids(made(shards))


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("persistent", [True, False])
def test_workers_resume_and_go_on_with_whole_epochs(
    shards: ShardedSource, context: str, persistent: bool
) -> None:
    dataset = made(shards)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        persistent_workers=persistent,
        multiprocessing_context=context,
    )
    dataset.set_epoch(1)
    reading = iter(loader)
    taken = ids(itertools.islice(reading, 4))
    token = dataset.token_at(4)
    with pytest.raises(OptionError, match="token_at"):
        dataset.state_dict()
    assert ids(reading) == ids(_epoch(shards, 1))[64:]
    dataset.load_state_dict(token)
    assert taken + ids(loader) == ids(_epoch(shards, 1))
    assert ids(loader) == ids(_epoch(shards, 1))
    dataset.set_epoch(2)
    assert ids(loader) == ids(_epoch(shards, 2))


KILLED = """
import json, os, pickle, signal, sys
from torch.utils.data import DataLoader
made, given, options = pickle.loads(bytes.fromhex(sys.stdin.read()))
dataset = made(*given, **options)
taken = []
try:
    reading = iter(DataLoader(dataset, batch_size=None, num_workers=2, prefetch_factor=1))
    for batch in reading:
        taken.append(batch["id"].tolist())
        if len(taken) == 5:
            os.kill(reading._workers[1].pid, signal.SIGKILL)
    sys.exit("the epoch ended")
except (RuntimeError, ConnectionError, EOFError):  # by torch's handler of signals, or from a pipe
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it would speak up again as the others end
print(json.dumps([taken, dataset.token_at(len(taken))]))
"""


@pytest.mark.slow
def test_after_a_worker_is_killed_the_epoch_goes_on(shards: ShardedSource) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        input=pickle.dumps((SourceDataset, (shards,), OPTIONS)).hex(),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    taken, token = json.loads(done.stdout)
    again = made(shards)
    again.load_state_dict(token)
    found = [i for batch in taken for i in batch]
    found += ids(DataLoader(again, batch_size=None, num_workers=1))
    assert len(taken) >= 5 and sorted(found) == list(range(ROWS))


def _epoch(shards: ShardedSource, epoch: int) -> SourceDataset:
    dataset = made(shards)
    dataset.set_epoch(epoch)
    return dataset


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("every", [1, 3])
def test_torchdata_resumes(shards: ShardedSource, workers: int, every: int) -> None:
    def loader() -> tuple[SourceDataset, StatefulDataLoader]:
        dataset = made(shards)
        dataset.set_epoch(2)
        return dataset, StatefulDataLoader(
            dataset, batch_size=None, num_workers=workers, snapshot_every_n_steps=every
        )

    whole = ids(_epoch(shards, 2))
    for stop in (0, 1, 5, 15):
        dataset, first = loader()
        reading = iter(first)
        taken = ids(itertools.islice(reading, stop))
        state = first.state_dict()
        dataset, second = loader()
        second.load_state_dict(state)
        assert taken + ids(second) == whole
        if workers:
            with pytest.raises(OptionError, match="StatefulDataLoader"):
                dataset.token_at(1)
        dataset.set_epoch(3)
        assert ids(second) == ids(_epoch(shards, 3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_goes_on_with_the_next_epoch_after_the_end_of_one(
    shards: ShardedSource, workers: int
) -> None:
    dataset = made(shards)
    first = StatefulDataLoader(dataset, batch_size=None, num_workers=workers)
    assert len(ids(first)) == ROWS
    state = first.state_dict()
    dataset = made(shards)
    second = StatefulDataLoader(dataset, batch_size=None, num_workers=workers)
    second.load_state_dict(state)
    dataset.set_epoch(1)
    assert ids(second) == ids(_epoch(shards, 1))


def test_tokens_of_something_else_are_refused(shards: ShardedSource, tmp_path: Path) -> None:
    token = made(shards).token_at(3)
    other = seal(TableSource(table(ROWS), parts=7), cache=tmp_path, version="1")
    for dataset, said in (
        (made(other), "other shards .* the transform changed"),
        (made(shards, seed=6), "seed=5, and this dataset has 6"),
        (made(shards, shuffle="none"), "shuffle='full'"),
        (made(shards, shuffle_rows=61), "shuffle_rows=60"),
    ):
        with pytest.raises(TokenMismatchError, match=said):
            dataset.load_state_dict(token)
    own = made(shards)
    for wrong in ({}, {**token, "position": -1}, {**token, "epoch": "1"}, {**token, "kvlake": 2}):
        with pytest.raises(TokenMismatchError, match="no resume token"):
            own.load_state_dict(wrong)
    with pytest.raises(TokenMismatchError, match="behind the epoch's 230 rows"):
        own.load_state_dict({**token, "position": 231})
    with pytest.raises(OptionError, match="15 batches from position 0 of epoch 0 on, not 16"):
        own.token_at(16)


def test_a_workers_state_is_for_that_worker(shards: ShardedSource) -> None:
    dataset = made(shards)
    info = SimpleNamespace(id=1, num_workers=2)
    with mock.patch("loaders.pytorch.dataset.get_worker_info", return_value=info):
        next(iter(dataset))
        state = dataset.state_dict()
    with pytest.raises(TokenMismatchError, match="state of one worker"):
        made(shards).load_state_dict(state)
    for changed in ({"id": 0, "num_workers": 2}, {"id": 1, "num_workers": 3}):
        with (
            mock.patch(
                "loaders.pytorch.dataset.get_worker_info", return_value=SimpleNamespace(**changed)
            ),
            pytest.raises(TokenMismatchError, match="token_at"),
        ):
            made(shards).load_state_dict(state)
    with (
        mock.patch("loaders.pytorch.dataset.get_worker_info", return_value=info),
        pytest.raises(TokenMismatchError, match="batch_size=16, and here it is 8"),
    ):
        made(shards, batch_size=8).load_state_dict(state)


def test_the_state_is_plain(shards: ShardedSource) -> None:
    dataset = made(shards)
    state = dataset.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert torch.equal(dataset._cells, made(shards)._cells)
