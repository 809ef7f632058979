"""Mixtures: rows of several sources by weight, each source's rows as often as the others of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from connector import OptionError, SchemaError, TableSource, TokenMismatchError
from loaders import Mixture, ShardedSource, SourceDataset, seal
from loaders.mixing import BLOCK_ROWS, MixedOrder, block_of, pattern, shared_out
from loaders.order import Order

SHUFFLES = st.sampled_from(["none", "shards", "full"])
WEIGHTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=5)
PINNED = [1, 0, 0, 0, 0, 1, 0, 0]


@given(st.integers(0, 10**9), WEIGHTS)
def test_rows_are_shared_out_by_weight(rows: int, weights: list[float]) -> None:
    counts = shared_out(rows, weights)
    assert sum(counts) == rows
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - rows * weight / sum(weights)) < 1.001


def mixed(parts: list[tuple[int, int]], shuffle: str, epoch: int) -> MixedOrder:
    """A mixture of sources with these rows, of which these many are in an epoch."""
    orders = tuple(
        Order((rows // 2, rows - rows // 2), shuffle, 7, 0, 20, part)  # type: ignore[arg-type]
        for part, (rows, _) in enumerate(parts)
    )
    return MixedOrder(orders, tuple(count for _, count in parts), epoch)


def rows_at(order: MixedOrder, start: int, stop: int) -> list[tuple[int, int]]:
    """For each position the source, and the number of the row in it."""
    found = np.full((stop - start, 2), -1)
    for run in order.runs(start, stop):
        rows = np.arange(run.first, run.first + len(run.slots))
        permutation = run.order.permutation(run.group)
        rows = rows if permutation is None else permutation[rows]
        starts = np.cumsum([0, *run.order.shard_rows])
        numbers = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in run.group.shards])
        assert (found[run.slots] == -1).all()
        found[run.slots] = np.stack([np.full(len(rows), run.order.part), numbers[rows]], axis=1)
    return [(int(part), int(row)) for part, row in found]


PARTS = st.lists(st.tuples(st.integers(2, 60), st.integers(1, 150)), min_size=1, max_size=4)


@given(PARTS, SHUFFLES, st.integers(1, 4))
def test_no_row_comes_again_before_all_of_its_source_have_come(parts, shuffle, epochs):
    orders = [mixed(parts, shuffle, epoch) for epoch in range(epochs)]
    seen = [row for order in orders for row in rows_at(order, 0, order.rows)]
    for part, (rows, count) in enumerate(parts):
        own = [row for source, row in seen if source == part]
        assert len(own) == count * epochs
        for start in range(0, len(own), rows):
            assert len(set(own[start : start + rows])) == len(own[start : start + rows])
        times = Counter(own)
        assert max(times.values()) - min(times[row] for row in range(rows)) <= 1


@given(PARTS, SHUFFLES, st.integers(0, 3), st.data())
def test_any_span_has_what_the_whole_epoch_has_there(parts, shuffle, epoch, data):
    order = mixed(parts, shuffle, epoch)
    whole = rows_at(order, 0, order.rows)
    start = data.draw(st.integers(0, 2 * order.rows))
    stop = data.draw(st.integers(start, start + order.rows))
    again = mixed(parts, shuffle, epoch)  # which knows of no epoch before
    assert rows_at(again, start, stop) == [whole[i % order.rows] for i in range(start, stop)]


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=5).filter(any), st.data())
def test_blocks_cover_the_epoch_and_have_every_source_s_share(counts, data):
    counts = tuple(counts)
    place = data.draw(st.integers(0, sum(counts) - 1))
    last = block_of(counts, sum(counts) - 1)
    sizes = [len(pattern(counts, block, None)) for block in range(last + 1)]
    assert sum(sizes) == sum(counts)
    block = block_of(counts, place)
    assert sum(sizes[:block]) <= place < sum(sizes[: block + 1])
    for seed in (None, (3, 1)):
        dealt = np.bincount(pattern(counts, block, seed), minlength=len(counts))
        for some, count in zip(dealt, counts, strict=True):
            assert abs(some - count / (last + 1)) <= 1


def test_without_shuffling_sources_take_even_turns() -> None:
    assert pattern((30, 10), 0, None).tolist() == [0, 0, 1, 0] * 10
    assert pattern((1, 1, 1), 0, None).tolist() == [0, 1, 2]


def test_the_pattern_is_pinned() -> None:
    # A change here would have tokens that exist go on with other rows.
    assert pattern((6, 2), 0, (7, 1)).tolist() == PINNED


def test_a_span_of_many_blocks() -> None:
    order = mixed([(50, 3 * BLOCK_ROWS), (60, BLOCK_ROWS)], "full", 2)
    at = BLOCK_ROWS - 10
    whole = rows_at(order, 0, order.rows)
    assert rows_at(order, at, at + 2 * BLOCK_ROWS) == whole[at : at + 2 * BLOCK_ROWS]


def source(first: int, rows: int, place: Path, **columns: pa.Array) -> ShardedSource:
    table = pa.table({"id": range(first, first + rows), **columns})
    return seal(TableSource(table, parts=3), cache=place, version="1")


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    large, small = source(0, 900, tmp_path), source(10_000, 60, tmp_path)
    return Mixture([large, small], [3, 1], rows=800)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_a_mixture(mixture: Mixture, workers: int) -> None:
    dataset = SourceDataset(mixture, batch_size=64, shuffle="full", shuffle_rows=200)
    assert len(dataset) == 13
    seen: Counter[int] = Counter()
    for epoch in range(3):
        dataset.set_epoch(epoch)
        batches = [b["id"].numpy() for b in DataLoader(dataset, None, num_workers=workers)]
        assert [len(batch) for batch in batches] == [64] * 12 + [32]
        shares = [float((batch >= 10_000).mean()) for batch in batches]
        assert max(shares) < 0.5 and min(shares) > 0.05
        seen.update(np.concatenate(batches).tolist())
    assert sum(seen[i] for i in range(10_000, 10_060)) == 600
    assert {seen[i] for i in range(10_000, 10_060)} == {10}
    assert {seen[i] for i in range(900)} == {2}


def test_a_token_of_a_mixture_goes_on_and_is_of_no_other(mixture: Mixture) -> None:
    def dataset(given: Mixture | ShardedSource = mixture, **options: object) -> SourceDataset:
        return SourceDataset(given, batch_size=64, shuffle="full", **options)  # type: ignore[arg-type]

    whole = dataset()
    whole.set_epoch(2)
    rows = [row for batch in whole for row in batch["id"].tolist()]
    token = whole.token_at(5)
    found = []
    for rank in range(3):
        going_on = dataset(ranks=(rank, 3))
        going_on.load_state_dict(token)
        found += [row for batch in going_on for row in batch["id"].tolist()]
    assert sorted(found) == sorted(rows[5 * 64 :])
    others = [
        Mixture(mixture.sources, [2, 1], rows=800),
        Mixture(mixture.sources, [3, 1]),
        Mixture(mixture.sources[::-1], [1, 3], rows=800),
        mixture.sources[0],
    ]
    for other in others:
        with pytest.raises(TokenMismatchError, match="other shards"):
            dataset(other).load_state_dict(token)


def test_a_mixture_of_one_is_that_source(tmp_path: Path) -> None:
    alone = source(0, 100, tmp_path)
    of_one = Mixture([alone], [0.5])
    assert of_one.fingerprint == alone.fingerprint
    rows = [
        [batch["id"].tolist() for batch in SourceDataset(given, batch_size=30, shuffle="full")]
        for given in (alone, of_one)
    ]
    assert rows[0] == rows[1]
    assert Mixture([alone], [1], rows=50).fingerprint != alone.fingerprint


def test_columns_of_a_mixture(tmp_path: Path) -> None:
    plain = source(0, 10, tmp_path)
    more = source(0, 10, tmp_path, extra=pa.array(range(10)))
    floats = seal(TableSource(pa.table({"id": [0.5, 1.5]})), cache=tmp_path, version="1")
    with pytest.raises(SchemaError, match="source 1 .* column 'extra' that source 0 lacks"):
        SourceDataset(Mixture([plain, more], [1, 1]), batch_size=5)
    with pytest.raises(SchemaError, match="no column 'extra'"):
        SourceDataset(Mixture([more, plain], [1, 1]), batch_size=5)
    with pytest.raises(SchemaError, match="'id' is int64 in source 0 .* double in source 1"):
        SourceDataset(Mixture([plain, floats], [1, 1]), batch_size=5)
    (batch,) = SourceDataset(Mixture([more, plain], [1, 1]), batch_size=20, columns=["id"])
    assert sorted(batch["id"].tolist()) == sorted([*range(10), *range(10)])


def test_refusals(tmp_path: Path) -> None:
    one, none = source(0, 10, tmp_path), source(0, 0, tmp_path)
    for sources, weights, rows, said in (
        ([], [], None, "one weight for each source"),
        ([one], [1, 2], None, "2 weights for 1 sources"),
        ([one, one], [1, 0], None, "above 0, and one is 0"),
        ([one, one], [1, float("nan")], None, "above 0, and one is nan"),
        ([one], [1], 0, "rows must be at least 1"),
        ([one, none], [1, 1], None, "source 1 of the mixture has no rows"),
    ):
        with pytest.raises(OptionError, match=said):
            Mixture(sources, weights, rows)
