"""Filters by regular expression."""

from __future__ import annotations

import pickle
import re

import pyarrow as pa
import pytest
from core.filter_rows import TEXT
from hypothesis import given
from hypothesis import strategies as st

from connector import OptionError
from connector.filters import Regex, bind, column, evaluate, parse_filter

_atoms = st.sampled_from(
    ["a", "b", "é", "😀", ".", r"\.", r"\d", "[ab]", "[^a]", "(?:ab)", r"\x00"]
)
_steps = st.tuples(_atoms, st.sampled_from(["", "", "*", "+", "?", "{2}"])).map("".join)
_runs = st.lists(_steps, max_size=3).map("".join)
_texts = st.text(st.sampled_from("ab1.é😀\n'\x00"), max_size=5)


@pytest.mark.parametrize("kind", TEXT, ids=str)
@given(
    runs=st.lists(_runs, min_size=1, max_size=3),
    anchors=st.tuples(st.sampled_from(["", r"\A"]), st.sampled_from(["", r"\z"])),
    values=st.lists(st.none() | _texts, max_size=6),
    skip=st.integers(0, 2),
)
def test_patterns_match_anywhere_as_pythons_do(
    kind: pa.DataType,
    runs: list[str],
    anchors: tuple[str, str],
    values: list[str | None],
    skip: int,
) -> None:
    """Of those patterns that mean the same for both."""
    first, last = anchors
    either = "|".join(runs)
    batch = pa.RecordBatch.from_arrays([pa.array(values, kind)], ["c"]).slice(skip)
    filter = bind(column("c").rlike(f"{first}(?:{either}){last}"), batch.schema, "t")
    theirs = re.compile(f"{first}(?:{either}){last and chr(92)}{last and 'Z'}", re.ASCII)
    expected = [None if text is None else bool(theirs.search(text)) for text in values[skip:]]
    assert evaluate(filter, batch).to_pylist() == expected
    assert evaluate(~filter, batch).to_pylist() == [
        None if one is None else not one for one in expected
    ]


@pytest.mark.parametrize(
    "pattern",
    ["(", "a)", "[z-a]", "*", "a++", "a{2000}", "(a{900}){900}", "(?=a)", "(?<!a)b", r"(a)\1", r"\Z", "\\"],
)  # fmt: skip
def test_a_pattern_that_is_none_is_refused_by_name(pattern: str) -> None:
    told = rf"column 'home.city' RLIKE {re.escape(repr(pattern))}.*RE2.*: "
    with pytest.raises(OptionError, match=told):
        column("home", "city").rlike(pattern)
    for text in (f"rlike(home.city, '{pattern}')", f"a = 1 OR home.city NOT RLIKE '{pattern}'"):
        with pytest.raises(OptionError, match=told):
            parse_filter(text)


@given(st.text(st.sampled_from("ab(){}[]*+?|^$\\.-,1:=!<>P\n'") | st.characters(), max_size=10))
def test_any_pattern_is_refused_at_once_or_evaluates(pattern: str) -> None:
    try:
        filter = Regex(("c",), pattern)
    except OptionError:
        return
    batch = pa.RecordBatch.from_pydict({"c": ["a", "b(1)", "\n'", None]})
    found = evaluate(bind(filter, batch.schema, "t"), batch).to_pylist()
    assert found[3] is None
    assert None not in found[:3]
    assert parse_filter(str(filter)) == filter == pickle.loads(pickle.dumps(filter))


def test_texts_in_structs() -> None:
    home = pa.array([{"city": "Bonn"}, {"city": None}, None, {"city": "Rome"}])
    batch = pa.RecordBatch.from_arrays([home], ["home"])
    filter = bind(parse_filter("home.city RLIKE '^B.n+$'"), batch.schema, "t")
    assert evaluate(filter, batch).to_pylist() == [True, None, None, False]
