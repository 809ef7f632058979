"""Slots of keys, beside what redis-py makes of the same keys."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from connector.redis.slots import SLOTS, key_slots, slot_tags

texts = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text("{}ab", max_size=9).map(str.encode),
        st.sampled_from([b"", b"{", b"}", b"{}", b"{}a{b}", b"a{b}c{d}", b"{{a}}", b"}{a}"]),
    ),
    max_size=30,
)


@given(texts, st.integers(0, 5))
def test_slots_are_those_of_redis_py(keys: list[bytes], cut: int) -> None:
    found = key_slots(pa.array(keys, pa.binary()).slice(cut))
    assert found.tolist() == [key_slot(key) for key in keys[cut:]]


def test_the_example_of_the_specification() -> None:
    assert key_slots(pa.array([b"123456789"], pa.binary())).tolist() == [0x31C3 % SLOTS]


def test_every_slot_has_a_tag() -> None:
    tags = slot_tags()
    assert [key_slot(b"t:{" + tag + b"}") for tag in tags] == list(range(SLOTS))
