"""Ranges, shares and losses: arithmetic on what servers say of streams."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.redis.streams.ids import BEGINNING, EntryId, IdRange, cut
from connector.redis.streams.planning import pending, ranges, shares, to_entry, to_last
from connector.redis.streams.state import Position, StreamState, begun, lost

numbers = st.integers(0, (1 << 128) - 1)


def at(text: str) -> EntryId:
    return EntryId.parse(text)


def state(
    length: int, first: str | None, last: str, added: int | None, deleted: str | None = None
) -> StreamState:
    return StreamState(
        length,
        None if first is None else at(first),
        at(last),
        added,
        None if deleted is None else at(deleted),
    )


@given(numbers)
def test_an_id_is_its_text(number: int) -> None:
    assert EntryId.parse(str(EntryId(number))) == EntryId(number)


def test_ids_are_ordered_as_redis_orders_them() -> None:
    texts = ["0-1", "0-2", "0-10", "1-0", "9-18446744073709551615", "10-0"]
    ids = [at(text) for text in texts]
    assert ids == sorted(ids)
    assert at("17") == at("17-0")
    assert at("17-0").before == at("16-18446744073709551615")
    assert BEGINNING.before == BEGINNING


@pytest.mark.parametrize("text", ["", "-1", "1-", "01-0", "a", "1-2-3", "18446744073709551616-0"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="ID of an entry"):
        at(text)


@given(numbers, numbers, st.integers(1, 50))
def test_a_range_is_cut_without_gap_or_overlap(a: int, b: int, parts: int) -> None:
    first, last = sorted((EntryId(a), EntryId(b)))
    found = list(cut(IdRange("s", first, last), parts))
    assert 1 <= len(found) <= parts
    assert (found[0].first, found[-1].last) == (first, last)
    assert all(y.first.number == x.last.number + 1 for x, y in pairwise(found))
    sizes = [each.last.number - each.first.number for each in found]
    assert max(sizes) - min(sizes) <= 1


@given(st.dictionaries(st.text(max_size=2), st.integers(0, 1000)), st.integers(1, 1000))
def test_a_limit_is_shared_and_kept(wanted: dict[str, int], limit: int) -> None:
    found = shares(wanted, limit)
    assert found.keys() == wanted.keys()
    assert all(0 <= found[key] <= wanted[key] for key in wanted)
    assert sum(found.values()) == min(limit, sum(wanted.values()))


def test_a_stream_with_little_does_not_wait_for_one_with_much() -> None:
    assert shares({"large": 10_000, "small": 1, "none": 0}, 10) == {
        "large": 9,
        "small": 1,
        "none": 0,
    }
    assert shares({"a": 60, "b": 30}, 9) == {"a": 6, "b": 3}
    assert sum(shares(dict.fromkeys("abcdef", 5), 3).values()) == 3


@pytest.mark.parametrize(
    ("entries", "parts", "wanted"),
    [
        ({"a": 8000}, 4, {"a": 4}),
        ({"a": 80}, 4, {"a": 1}),
        ({"a": 6000, "b": 2000}, 4, {"a": 3, "b": 1}),
        ({"a": 1, "b": 100_000, "c": 1}, 2, {"a": 1, "b": 2, "c": 1}),
    ],
)
def test_streams_get_ranges_by_what_they_have(
    entries: dict[str, int], parts: int, wanted: dict[str, int]
) -> None:
    end = {key: Position(at("9-0"), 1, at("1-0"), count) for key, count in entries.items()}
    end["idle"] = Position(at("9-0"), 1)
    found = [each.key for each in ranges(end, parts)]
    assert {key: found.count(key) for key in found} == wanted


@pytest.mark.parametrize(
    ("position", "now", "count"),
    [
        (("5-0", 5), state(5, "1-0", "5-0", 5), None),  # nothing happened
        (("5-0", 5), state(3, "6-0", "8-0", 8), None),  # what was read has been trimmed
        (("5-0", 5), state(0, None, "5-0", 5), None),  # all of it
        (("5-0", 5), state(2, "7-0", "8-0", 8), 1),
        (("5-0", 5), state(0, None, "8-0", 8), 3),
        (("5-0", None), state(0, None, "8-0", 8), None),  # nobody knows
        (("5-0", 5), state(0, None, "8-0", None), None),  # an old server
        (("5-0", 5), state(7, "1-0", "8-0", 8, deleted="4-0"), None),  # one that had been read
        (("0-0", 0), state(2, "2-0", "3-0", 3), 1),
    ],
)
def test_trimming_is_counted(
    position: tuple[str, int | None], now: StreamState, count: int | None
) -> None:
    found = lost(Position(at(position[0]), position[1]), now)
    assert (None if found is None else found.count) == count
    assert found is None or not found.anew


def test_deleting_in_the_middle_is_noticed() -> None:
    found = lost(Position(at("5-0"), 5), state(7, "1-0", "8-0", 8, deleted="7-0"))
    assert found is not None and not found.anew and "7-0" in found.why and found.count is None


@pytest.mark.parametrize(
    "now",
    [
        state(2, "6-0", "7-0", 2),  # fewer were ever added
        state(9, "6-0", "15-0", 9),  # more are left than can have come
        state(6, "1-0", "3-0", 6),  # IDs went back
    ],
)
def test_another_stream_of_the_same_name_is_told(now: StreamState) -> None:
    found = lost(Position(at("5-0"), 5), now)
    assert found is not None and found.anew


def test_where_reading_begins() -> None:
    now = state(3, "6-0", "9-0", 10)
    assert begun("earliest", now) == Position(at("6-0").before, 7)
    assert begun("latest", now) == Position(at("9-0"), 10)
    assert begun(at("5-3"), now) == Position(at("5-3"), 7)
    assert begun(at("7-0"), now) == Position(at("7-0"), None)
    assert begun(at("99-0"), now) == Position(at("99-0"), None)
    assert begun("latest", None) == begun("earliest", None) == Position(BEGINNING, 0)
    assert begun("earliest", state(0, None, "9-0", 10)) == Position(at("9-0"), 10)


def test_the_end_of_a_batch_knows_what_was_added_up_to_it() -> None:
    now, start = state(5, "4-0", "9-0", 10), Position(at("2-0"), 5)
    whole = IdRange("s", at("4-0"), at("9-0"))
    assert to_last(start, now, whole) == Position(at("9-0"), 10, at("4-0"), 5)
    some = to_entry(start, now, IdRange("s", at("4-0"), at("5-0")), 2)
    assert some == Position(at("5-0"), 7, at("4-0"), 2)
    middle = Position(at("4-0"), 6)
    assert to_entry(middle, now, IdRange("s", at("5-0"), at("6-0")), 2).added == 8
    deleted = state(4, "4-0", "9-0", 10, deleted="6-0")
    assert to_entry(middle, deleted, IdRange("s", at("5-0"), at("7-0")), 2).added is None
    assert pending(middle, now) == 4
    assert pending(Position(at("9-0"), 10), now) == 0


@given(
    st.builds(
        Position,
        st.builds(EntryId, numbers),
        st.none() | st.integers(0),
        st.none() | st.builds(EntryId, numbers),
        st.integers(0),
    )
)
def test_a_position_is_its_json(position: Position) -> None:
    assert Position.from_json(position.to_json()) == position
