"""Order and placement: every row exactly once, on any ranks and workers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import OptionError
from loaders.order import Order
from loaders.place import Place, batch_numbers

PINNED = [0, 3, 5, 1, 2, 6, 4]
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


@given(SHARDS, st.integers(0, 300), st.integers(0, 300))
def test_pieces_cover_a_range(shards, start, length):
    order = Order(shards, "full", 1, 0, 30)
    spans = [
        (group.start + first, group.start + last)
        for group, first, last in order.pieces(start, start + length)
    ]
    covered = [i for first, last in spans for i in range(first, last)]
    assert covered == list(range(start, min(start + length, order.rows)))


@given(st.integers(1, 200), st.integers(1, 30))
def test_groups_reach_the_rows_asked_for(shuffle_rows, count):
    order = Order((10,) * count, "full", 0, 0, shuffle_rows)
    assert all(group.rows >= shuffle_rows for group in order.groups[:-1])
    assert all(group.rows < shuffle_rows + 10 for group in order.groups)


@given(st.integers(0, 500), st.integers(1, 50), st.integers(1, 5), st.integers(1, 5))
def test_uneven_gives_each_batch_to_one_place(rows, size, world, workers):
    found = [
        number
        for rank in range(world)
        for worker in range(workers)
        for number in batch_numbers(rows, size, Place(rank, world, worker, workers))
    ]
    assert sorted(found) == list(range(-(-rows // size)))


@given(st.integers(0, 500), st.integers(1, 50), st.integers(1, 5))
def test_drop_makes_ranks_even_and_batches_full(rows, size, world):
    found = [list(batch_numbers(rows, size, Place(rank, world), "drop")) for rank in range(world)]
    assert len({len(numbers) for numbers in found}) == 1
    assert all((number + 1) * size <= rows for numbers in found for number in numbers)


@given(st.integers(0, 500), st.integers(1, 50), st.integers(1, 4), st.integers(1, 5))
def test_round_robin_over_workers_is_the_ranks_order(rows, size, world, workers):
    for rank in range(world):
        queues = [
            list(batch_numbers(rows, size, Place(rank, world, w, workers))) for w in range(workers)
        ]
        merged = [q[i] for i in range(max(map(len, queues))) for q in queues if i < len(q)]
        assert merged == list(batch_numbers(rows, size, Place(rank, world)))


def test_the_order_is_pinned():
    # Machines with different versions must agree: a change here needs a new format version.
    assert positions(Order((4, 3), "full", 7, 1, 100)) == PINNED


def test_refusals():
    with pytest.raises(OptionError, match="shuffle"):
        Order((1,), "some")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="batch_size"):
        batch_numbers(1, 0, Place())
    with pytest.raises(OptionError, match="last"):
        batch_numbers(1, 1, Place(), "pad")  # type: ignore[arg-type]
