"""Text as numbers: the same for ever, wherever batches are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import OptionError, SchemaError, TableSource
from loaders import SourceDataset, Transform, seal
from loaders.encoders import hashed, indexed, vocabulary

PINNED = [0, 491, 562, 0, 10]
TEXTS = st.lists(st.none() | st.text(max_size=10), min_size=1, max_size=30)


def one(values: list[str | None]) -> pa.RecordBatch:
    return pa.record_batch({"a": pa.array(values, pa.string()), "b": list(range(len(values)))})


@given(TEXTS, st.integers(1, 1000))
def test_a_value_has_its_bucket_wherever_it_stands(values: list[str | None], buckets: int) -> None:
    whole = hashed(one(values), "a", buckets)["a"].to_pylist()
    assert all(0 <= each < buckets for each in whole)
    for kind in (pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())):
        other = pa.record_batch({"a": one(values)["a"].cast(kind)})
        assert hashed(other, "a", buckets)["a"].to_pylist() == whole
    for i in range(len(values)):
        assert hashed(one(values).slice(i, 1), "a", buckets)["a"].to_pylist() == [whole[i]]


def test_buckets_are_pinned_and_even() -> None:
    # A change here would make models that exist read other rows of their embeddings.
    assert hashed(one(["", "a", "b", None, "näme"]), "a", 1000)["a"].to_pylist() == PINNED
    found = hashed(one([f"user {i}" for i in range(20_000)]), "a", 100)["a"].to_numpy()
    assert np.bincount(found, minlength=100).std() < 20


@given(TEXTS)
def test_a_vocabulary_has_the_most_frequent_first(values: list[str | None]) -> None:
    table = pa.table({"a": pa.array(values, pa.string())})
    words = vocabulary(TableSource(table, parts=3), "a")
    known = [value for value in values if value is not None]
    assert words.to_pylist() == sorted(
        set(known), key=lambda word: (-known.count(word), word.encode())
    )
    found = indexed(one(values), "a", words)["a"].to_pylist()
    lookup = {word: i for i, word in enumerate(words.to_pylist())}
    assert found == [len(words) if value is None else lookup[value] for value in values]
    few = vocabulary(TableSource(table, parts=2), "a", most=2)
    assert few.to_pylist() == words.to_pylist()[:2]


def test_in_a_transform(tmp_path: Path) -> None:
    source = TableSource(pa.table({"a": ["x", "y", "x", "z"], "b": [1, 2, 3, 4]}))
    words = vocabulary(source, "a", most=2)
    by_words = Transform(indexed, {"column": "a", "vocabulary": words}, version="1")
    sealed = seal(source, transform=by_words, cache=tmp_path, version="1")
    (batch,) = SourceDataset(sealed, batch_size=9)
    assert batch["a"].tolist() == [0, 1, 0, 2]
    others = Transform(indexed, {"column": "a", "vocabulary": words[:1]}, version="1")
    assert others.fingerprint != by_words.fingerprint


def test_refusals() -> None:
    with pytest.raises(SchemaError, match="no column 'c'; there are a, b"):
        hashed(one(["x"]), "c", 5)
    with pytest.raises(SchemaError, match="neither text nor bytes"):
        indexed(one(["x"]), "b", pa.array(["x"]))
    with pytest.raises(OptionError, match="buckets must be at least 1"):
        hashed(one(["x"]), "a", 0)
