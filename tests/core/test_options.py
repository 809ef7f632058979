"""Options: declared once, parsed from text or values, refused by name, showing no secret."""

from __future__ import annotations

import enum
import pickle
from dataclasses import dataclass

import pytest

from connector import OptionError
from connector.options import (
    Options,
    boolean,
    choice,
    masked_url,
    names,
    option,
    option_rows,
    option_table,
    parse_options,
    seconds,
    whole,
)

SECRET = "hunter2"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True, repr=False)
class Paint(Options):
    url: str = option(doc="where", show=masked_url)
    layer_count: int = option(
        whole(1, 9), doc="layers", default=2, aliases=("layers", "coat.number")
    )
    password: str | None = option(doc="login", default=None, secret=True, aliases=("auth",))
    glossy: bool = option(boolean, doc="shines", default=False)
    colour: Colour = option(choice(Colour), doc="colour", default=Colour.RED)
    dry_seconds: float = option(seconds, doc="drying", default=1.5)
    rooms: tuple[str, ...] = option(names, doc="where to", default=())


@dataclass(frozen=True, kw_only=True, repr=False)
class Brush(Options):
    url: str = option(doc="where", show=masked_url)
    width: int = option(whole(0), doc="in mm", default=30)


def test_text_is_parsed_and_values_are_taken() -> None:
    given = {
        "url": "x://h",
        "layer.count": "3",
        "glossy": "TRUE",
        "colour": "Blue",
        "dry.seconds": "0.25",
        "rooms": "hall, attic",
    }
    made = Paint.parse(given)
    assert made == Paint(
        url="x://h",
        layer_count=3,
        glossy=True,
        colour=Colour.BLUE,
        dry_seconds=0.25,
        rooms=("hall", "attic"),
    )
    native = {"layer_count": 3, "glossy": True, "colour": Colour.BLUE, "rooms": ("a", "b,c")}
    made_of_values = Paint.parse({"url": "x://h", "dry_seconds": 2, "password": None, **native})
    assert made_of_values == Paint(url="x://h", dry_seconds=2.0, **native)
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    "name", ["layer.count", "LAYER.COUNT", "layer_count", "Layer_Count", "layers", "coat.number"]
)
def test_names_in_any_case_and_by_alias(name: str) -> None:
    assert Paint.parse({"url": "x://h", name: "7"}).layer_count == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer.cuont": "3"}, "unknown option 'layer.cuont'; did you mean 'layer.count'"),
        ({"pasword": SECRET}, "unknown option 'pasword'; did you mean 'password'"),
        ({"zzzzzz": "1"}, "unknown option 'zzzzzz'; known are colour, dry.seconds"),
        ({"layers": "1", "layer.count": "2"}, "option 'layer.count' is given twice"),
        ({"layers": "0"}, "option 'layers': '0' is not valid: .* whole number from 1 to 9"),
        ({"layers": "10"}, "from 1 to 9"),
        ({"layers": 0}, "option 'layers': '0' is not valid"),
        ({"layers": 2.5}, "option 'layers': '2.5' is not valid"),
        ({"layers": None}, "option 'layers' is None: layers"),
        ({"dry.seconds": -1}, "option 'dry.seconds': '-1' is not valid"),
        ({"glossy": 1}, "option 'glossy': '1' is not valid"),
        ({"layers": "many"}, "option 'layers': 'many' is not valid"),
        ({"glossy": "yes"}, "option 'glossy': 'yes' is not valid: expected true or false"),
        ({"colour": "green"}, "option 'colour': 'green' is not valid: expected one of red, blue"),
        ({"dry.seconds": "0"}, "above 0"),
        ({"dry.seconds": "inf"}, "above 0"),
        ({"dry.seconds": "nan"}, "above 0"),
        ({"dry.seconds": "soon"}, "expected a number of seconds"),
        ({"rooms": "hall,,attic"}, "expected names separated by commas"),
    ],
)
def test_what_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        Paint.parse({"url": "x://h", **given})
    assert SECRET not in str(caught.value)


def test_a_required_option() -> None:
    with pytest.raises(OptionError, match="option 'url' is missing: where"):
        Paint.parse({})


def test_classes_share_one_mapping() -> None:
    paint, brush = parse_options({"url": "x://h", "width": "9", "layers": "1"}, Paint, Brush)
    assert (paint, brush) == (Paint(url="x://h", layer_count=1), Brush(url="x://h", width=9))
    with pytest.raises(OptionError, match="did you mean 'width'"):
        parse_options({"url": "x://h", "widht": "9"}, Paint, Brush)


def test_no_secret_in_a_repr_or_an_error() -> None:
    made = Paint(url=f"x://me:{SECRET}@h/0", password=SECRET)
    assert SECRET not in repr(made)
    assert "url='x://me:***@h/0'" in repr(made)
    assert "password='***'" in repr(made)
    assert "password=None" in repr(Paint(url="x://h"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        (f"redis://:{SECRET}@h:1/0", "redis://***@h:1/0"),
        (f"redis://me:{SECRET}@h:1/0", "redis://me:***@h:1/0"),
        (f"redis://me:{SECRET}@x@h:1/0", "redis://me:***@h:1/0"),
        (f"redis://h/0?password={SECRET}#{SECRET}", "redis://h/0"),
        (f"unix://:{SECRET}@/run/r.sock", "unix://***@/run/r.sock"),
    ],
)
def test_urls_are_masked(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_the_table_of_options_has_all() -> None:
    rows = {name: (default, doc) for name, default, doc in option_rows(Paint, Brush)}
    assert list(rows) == [
        "url", "layer.count", "password", "glossy", "colour", "dry.seconds", "rooms", "width",
    ]  # fmt: skip
    assert rows["url"] == ("required", "where")
    assert rows["layer.count"] == ("`2`", "layers; also `layers`; also `coat.number`")
    assert [rows[name][0] for name in ("password", "glossy", "colour")] == ["", "`false`", "`red`"]
    assert len(option_table(Paint).splitlines()) == 2 + 7
