"""Fingerprints of transforms: changed code or data changes them; what cannot be told is an error."""

from __future__ import annotations

import pickle
import re
import types

import pyarrow as pa
import pytest
from loaders_sealing import doubled

from connector import CacheError, SchemaError
from loaders import Transform

CODE = """
import numpy as np
import pyarrow.compute as pc
SCALE = 2
def scaled(values):
    return pc.multiply(values, SCALE)
def made(shift):
    def function(batch):
        return batch.set_column(0, "x", pc.add(scaled(batch["x"]), shift))
    return function
features = made(1)
"""


def fingerprint(code: str) -> str:
    module = types.ModuleType("local_features")
    exec(code, module.__dict__)
    return Transform(module.features, name="features").fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2", "SCALE = 3"),
        ("made(1)", "made(4)"),
        ("return pc.multiply", "return pc.divide"),
        ('"x", pc', '"y", pc'),
        ("def function(batch)", "def function(batch, more=3)"),
    ],
)
def test_a_change_changes_the_fingerprint(old: str, new: str):
    assert fingerprint(CODE) == fingerprint(CODE)
    assert fingerprint("# a comment\n" + CODE) == fingerprint(CODE)
    assert fingerprint(CODE.replace(old, new)) != fingerprint(CODE)


@pytest.mark.parametrize(
    "value",
    ["object()", "__import__('types').ModuleType('local')", "open", "type('Local', (), {})"],
)
def test_what_cannot_be_told_is_an_error_that_tells_to_declare_a_version(value: str):
    with pytest.raises(CacheError, match="version="):
        fingerprint(CODE.replace("SCALE = 2", f"SCALE = {value}"))


def test_a_declared_version_stands_for_the_code():
    opaque = object()
    first = Transform(lambda batch: opaque, name="f", version="1")
    assert first.fingerprint == Transform(lambda batch: batch, name="f", version="1").fingerprint
    assert first.fingerprint != Transform(lambda batch: batch, name="f", version="2").fingerprint
    other = Transform(lambda batch: batch, {"scale": 2}, name="f", version="1")
    assert first.fingerprint != other.fingerprint


def test_parameters_count_and_arrive():
    def plus(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
        return batch.select([column])

    batch = pa.record_batch({"a": [1], "b": [2]})
    assert Transform(plus, {"column": "b"})(batch).schema.names == ["b"]
    assert (
        Transform(plus, {"column": "b"}).fingerprint != Transform(plus, {"column": "a"}).fingerprint
    )


def test_recursion_ends():
    code = "def odd(n): return even(n)\ndef even(n): return odd(n)\nfeatures = odd"
    assert fingerprint(code) == fingerprint(code)


def test_a_transform_pickles():
    transform = Transform(doubled)
    assert pickle.loads(pickle.dumps(transform)).fingerprint == transform.fingerprint


def test_a_result_that_is_no_batch_is_refused():
    with pytest.raises(SchemaError, match="instead of a RecordBatch"):
        Transform(lambda batch: 1, name="f")(pa.record_batch({"a": [1]}))


def test_long_patterns_and_fields_are_told_apart() -> None:
    def with_value(value: object) -> str:
        return Transform(
            lambda batch, value: batch, params={"value": value}, version="1"
        ).fingerprint

    long = "x" * 300
    assert with_value(re.compile(long + "a")) != with_value(re.compile(long + "b"))
    assert with_value(pa.field("a", pa.int64())) != with_value(
        pa.field("a", pa.int64(), nullable=False)
    )


def test_a_variable_without_a_value_is_refused() -> None:
    transform = Transform(lambda batch: later(batch))
    with pytest.raises(CacheError, match="no value yet"):
        _ = transform.fingerprint
    later = doubled
    assert transform.fingerprint
