"""Checks at the border, and fitting batches to a schema."""

from __future__ import annotations

import pyarrow as pa
import pytest
from core.arrays import any_type, arrays
from hypothesis import given

from connector import SchemaError
from connector.schema import (
    check_append,
    check_key,
    check_names,
    check_rows,
    conform,
    key_of,
    keyed,
)

SCHEMA = pa.schema([("id", pa.int64()), ("a", pa.string())])


def batch(**columns: list[object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def test_the_key_is_noted_in_the_metadata() -> None:
    assert key_of(keyed(SCHEMA, ["a", "id"])) == ("a", "id")
    assert key_of(keyed(SCHEMA.with_metadata({"x": "y"}), ["é"])) == ("é",)
    assert key_of(SCHEMA) == ()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (("nr",), "key column 'nr' is not among the columns id, a"),
        (("id", "id"), "named twice in id, id"),
    ],
)
def test_keys_that_cannot_be(key: tuple[str, ...], message: str) -> None:
    with pytest.raises(SchemaError, match=f"table 't': .*{message}"):
        check_key("t", SCHEMA, key)


def test_a_nested_column_is_no_key() -> None:
    with pytest.raises(SchemaError, match="table 't': column 'a' of type list.* cannot be a key"):
        check_key("t", pa.schema([("a", pa.list_(pa.int8()))]), ("a",))


def test_names_that_cannot_be() -> None:
    with pytest.raises(SchemaError, match="table 't': two columns are named 'a'"):
        check_names("t", pa.schema([("a", pa.int8()), ("b", pa.int8()), ("a", pa.int8())]))
    with pytest.raises(SchemaError, match="table 't': a column has an empty name"):
        check_names("t", pa.schema([("", pa.int8())]))
    check_names("t", SCHEMA)


def test_appends() -> None:
    stored = keyed(SCHEMA, ("id",))
    check_append("t", stored, SCHEMA, ("id",))
    check_append("t", stored, pa.schema([SCHEMA.field("id")]), ("id",))
    with pytest.raises(SchemaError, match="table 't' has no column 'b'"):
        check_append("t", stored, SCHEMA.append(pa.field("b", pa.int8())), ("id",))
    with pytest.raises(SchemaError, match="column 'a' of table 't' is string, .* as int8"):
        check_append("t", stored, SCHEMA.set(1, pa.field("a", pa.int8())), ("id",))
    with pytest.raises(SchemaError, match="has the key id, .* with the key a"):
        check_append("t", stored, SCHEMA, ("a",))


def test_rows() -> None:
    check_rows("t", ["id"], batch(id=[1, 2]), pa.array([b"1", b"2"]))
    with pytest.raises(SchemaError, match="'t': key column 'id' is null in 2 of 3 rows"):
        check_rows("t", ["id"], batch(id=[1, None, None]), pa.array([b"1", None, None]))
    with pytest.raises(SchemaError, match="'t': 1 keys stand more than once .* such as b'7'"):
        check_rows("t", ["id"], batch(id=[7, 7, 8]), pa.array([b"7", b"7", b"8"]))


@given(arrays(any_type))
def test_what_fits_is_handed_on_as_it_is(values: pa.Array) -> None:
    given_batch = pa.RecordBatch.from_arrays([values], ["v"])
    assert conform(given_batch, given_batch.schema) is given_batch


def test_columns_are_put_in_order_cast_and_left_out() -> None:
    found = conform(
        batch(b=[1, 2], x=[None, None], a=["p", None]), SCHEMA.set(0, pa.field("b", pa.int8()))
    )
    assert found.schema.names == ["b", "a"]
    assert found.to_pylist() == [{"b": 1, "a": "p"}, {"b": 2, "a": None}]


@pytest.mark.parametrize(
    ("given_batch", "message"),
    [
        (batch(id=[1]), "column 'a' is missing; there are"),
        (batch(id=["x"], a=["y"]), "column 'id' of type string does not fit int64"),
        (batch(id=[0.5], a=["y"]), "column 'id' of type double does not fit int64"),
        (batch(id=[[1]], a=["y"]), "column 'id' of type list.* does not fit int64"),
    ],
)
def test_what_does_not_fit(given_batch: pa.RecordBatch, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        conform(given_batch, SCHEMA)


def test_nulls_where_none_may_be() -> None:
    strict = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    with pytest.raises(SchemaError, match="column 'id' has nulls, but is declared not null"):
        conform(batch(id=[1, None]), strict)
    assert conform(batch(id=[1, 2]), strict).schema.equals(strict)
