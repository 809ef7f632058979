"""What a search index is asked of filters on lists, maps and patterns: nothing."""

from __future__ import annotations

import pytest

from connector.filters import parse_filter
from connector.redis.search.query import NumericField, TagField, superset

FIELDS = {
    ("id",): NumericField("id"),
    ("name",): TagField("name", ","),
    ("tags",): TagField("tags", ","),
    ("sizes",): TagField("sizes", ","),
}
LEFT = ["rlike(name, '^x')", "array_contains(tags, 'x')", "map_contains_key(sizes, 'x')"]


@pytest.mark.parametrize("left", LEFT)
def test_an_index_is_asked_the_rest(left: str) -> None:
    def asked(text: str) -> str | None:
        return superset(parse_filter(text), FIELDS)

    assert asked(left) is None
    assert asked(f"NOT {left}") is None
    assert asked(f"id = 1 OR {left}") is None
    assert asked(f"id = 1 AND {left}") == asked("id = 1") == "@id:[1.0 1.0]"
    assert asked(f"name = 'x' AND NOT {left}") == asked("name = 'x'") == "@name:{x}"
    assert asked(f"(id = 1 AND {left}) OR id = 2") == asked("id = 1 OR id = 2")
