"""Order and placement: every row exactly once, on any ranks and workers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import OptionError
from loaders.mixing import MixedOrder
from loaders.order import Order
from loaders.place import Place, Steps

PINNED = [0, 3, 5, 1, 2, 6, 4]
ROWS, FIRST, SIZE, WORLD = (
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(1, 50),
    st.integers(1, 7),
)
LAST = st.sampled_from(["uneven", "pad", "drop"])
SHARDS = st.lists(st.integers(1, 40), max_size=8).map(tuple)


def positions(order: Order) -> list[int]:
    """The rows of the manifest in the epoch's order."""
    starts = np.cumsum([0, *order.shard_rows])
    found: list[int] = []
    for group, first, last in order.pieces(0, order.rows):
        rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in group.shards])
        permutation = order.permutation(group)
        found += (rows if permutation is None else rows[permutation])[first:last].tolist()
    return found


@given(SHARDS, st.sampled_from(["none", "shards", "full"]), st.integers(0, 9), st.integers(1, 60))
def test_an_epoch_holds_every_row_once(shards, shuffle, epoch, shuffle_rows):
    order = Order(shards, shuffle, 3, epoch, shuffle_rows)
    assert sorted(positions(order)) == list(range(sum(shards)))
    assert positions(order) == positions(Order(shards, shuffle, 3, epoch, shuffle_rows))


@given(SHARDS.filter(bool), st.integers(0, 300), st.integers(0, 300))
def test_runs_cover_a_range_and_begin_anew_behind_the_last_row(shards, start, length):
    order = Order(shards, "full", 1, 0, 30)
    covered = np.full(length, -1)
    for run in MixedOrder((order,), (order.rows,)).runs(start, start + length):
        first = run.group.start + run.first
        covered[run.slots] = np.arange(first, first + len(run.slots))
    assert covered.tolist() == [i % order.rows for i in range(start, start + length)]


@given(st.integers(1, 200), st.integers(1, 30))
def test_groups_reach_the_rows_asked_for(shuffle_rows, count):
    order = Order((10,) * count, "full", 0, 0, shuffle_rows)
    assert all(group.rows >= shuffle_rows for group in order.groups[:-1])
    assert all(group.rows < shuffle_rows + 10 for group in order.groups)


def taken(steps: Steps, rank: int, todo: Iterable[int]) -> list[int]:
    return [at for step in todo for at in range(*steps.span(step, rank))]


@given(ROWS, FIRST, SIZE, WORLD)
def test_uneven_gives_each_row_once_and_ranks_as_many_batches(rows, first, size, world):
    steps = Steps(rows, size, world, "uneven", min(first, rows))
    ranks = range(world)
    found = [at for rank in ranks for at in taken(steps, rank, range(steps.batches(rank)))]
    assert sorted(found) == list(range(steps.first, rows))
    assert all(
        steps.span(step, rank)[1] - steps.span(step, rank)[0] <= size
        for rank in ranks
        for step in range(steps.count)
    )
    if steps.count > 1 and size > 1:
        assert {steps.batches(rank) for rank in ranks} == {steps.count}
    assert all(steps.count - steps.batches(rank) in (0, 1) for rank in ranks)


@given(ROWS, FIRST, SIZE, WORLD)
def test_pad_and_drop_have_full_batches_and_even_ranks(rows, first, size, world):
    first = min(first, rows)
    together = size * world
    for last, count in (
        ("pad", -(-(rows - first) // together)),
        ("drop", (rows - first) // together),
    ):
        steps = Steps(rows, size, world, last, first)
        assert {steps.batches(rank) for rank in range(world)} == {count} == {steps.count}
        found = [
            at
            for step in range(count)
            for rank in range(world)
            for at in taken(steps, rank, [step])
        ]
        assert found == list(range(first, first + count * together))


@given(ROWS, FIRST, SIZE, WORLD, LAST)
def test_what_is_taken_after_a_step_lies_before_one_position(rows, first, size, world, last):
    steps = Steps(rows, size, world, last, min(first, rows))
    for step in range(steps.count):
        found = [at for rank in range(world) for at in taken(steps, rank, range(step))]
        assert sorted(found) == list(range(steps.first, steps.start(step)))
    assert steps.start(steps.count) == rows


@given(ROWS, SIZE, st.integers(1, 4), st.integers(1, 5), LAST, st.integers(0, 9))
def test_round_robin_over_workers_is_the_ranks_order(rows, size, world, workers, last, step):
    steps = Steps(rows, size, world, last)
    for rank in range(world):
        queues = [list(steps.of(Place(rank, world, w, workers))) for w in range(workers)]
        merged = [q[i] for i in range(max(map(len, queues))) for q in queues if i < len(q)]
        assert merged == list(range(steps.batches(rank)))
        left = [
            number
            for w in range(workers)
            for number in steps.of(Place(rank, world, w, workers), step)
        ]
        assert sorted(left) == list(range(step, steps.batches(rank)))


def test_the_order_is_pinned():
    # Machines with different versions must agree: a change here needs a new format version.
    assert positions(Order((4, 3), "full", 7, 1, 100)) == PINNED


def test_refusals():
    with pytest.raises(OptionError, match="shuffle"):
        Order((1,), "some")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="batch_size"):
        Steps(1, 0)
    with pytest.raises(OptionError, match="last"):
        Steps(1, 1, last="some")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="no such place"):
        Place(2, 2)
