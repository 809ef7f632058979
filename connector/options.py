"""Options declared once, as frozen dataclasses: parser, doc, default and secrecy on one line each.

An option is named after its field, with ``_`` written ``.``: field ``scan_count`` is option
``scan.count``. Options come as text (from Spark, a URL or a command line) or as Python values.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from connector.errors import OptionError

E = TypeVar("E", bound=Enum)
_REQUIRED = object()


def option(
    parser: Callable[[str], Any] = str,
    *,
    doc: str,
    default: Any = _REQUIRED,
    secret: bool = False,
    aliases: tuple[str, ...] = (),
    renamed: Mapping[str, Callable[[str], Any]] = MappingProxyType({}),
    show: Callable[[Any], str] = str,
) -> Any:
    """Declare a field of an Options class.

    Args:
        parser: text to value; raises ValueError with what was expected.
        doc: one line for the option tables.
        default: the value when the option is not given; without it the option is required.
        secret: never shown, not even in a repr.
        aliases: other names of the option, as users of other connectors know them.
        renamed: other names under which the value is written in another way, and its parser there.
        show: value to text for a repr, where it can hold a secret in part.
    """
    metadata = {
        "parser": parser,
        "doc": doc,
        "secret": secret,
        "aliases": dict.fromkeys(aliases, parser) | dict(renamed),
        "show": show,
    }
    if default is _REQUIRED:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True, repr=False)
class Options:
    """Base of the option classes: parsing, and a repr that shows no secret."""

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Self:
        """Build from option names and values.

        Raises:
            OptionError: an option is unknown, missing or malformed.
        """
        (parsed,) = parse_options(given, cls)
        assert isinstance(parsed, cls)
        return parsed

    def __repr__(self) -> str:
        shown = (
            f"{item.name}={_shown(item, getattr(self, item.name))}"
            for item in dataclasses.fields(self)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def parse_options(given: Mapping[str, object], *classes: type[Options]) -> tuple[Options, ...]:
    """Build one value of each class from a single mapping that all of them share.

    A field that stands in two of the classes is given to both. Names are matched without regard to
    case, and a Python keyword spelling (``scan_count``) is as good as the option's (``scan.count``).

    Raises:
        OptionError: an option is known to none of the classes, missing, given twice, or malformed.
    """
    known = {
        name: (item, parser)
        for kind in classes
        for item in dataclasses.fields(kind)
        for name, parser in _names(item).items()
    }
    values: dict[str, object] = {}
    for written, value in given.items():
        name = written.lower().replace("_", ".")
        item, parser = known.get(name) or known.get(written.lower()) or (None, None)
        if item is None or parser is None:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"; did you mean {near[0]!r}?"
                if near
                else f"; known are {', '.join(sorted({option_name(one) for one, _ in known.values()}))}"
            )
            raise OptionError(f"unknown option {written!r}{hint}")
        if item.name in values:
            raise OptionError(f"option {option_name(item)!r} is given twice, once as {written!r}")
        values[item.name] = _parsed(item, name, parser, value)
    return tuple(_build(kind, values) for kind in classes)


def _build(kind: type[Options], values: Mapping[str, object]) -> Options:
    mine = {item.name: item for item in dataclasses.fields(kind)}
    for item in mine.values():
        needed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if needed and item.name not in values:
            raise OptionError(f"option {option_name(item)!r} is missing: {item.metadata['doc']}")
    return kind(**{name: value for name, value in values.items() if name in mine})


def _names(item: dataclasses.Field[Any]) -> dict[str, Callable[[str], Any]]:
    """Every name of an option, and the parser of what is given under it."""
    own = {option_name(item): item.metadata["parser"]}
    return own | {name.lower(): parser for name, parser in item.metadata["aliases"].items()}


def _parsed(
    item: dataclasses.Field[Any], name: str, parser: Callable[[str], Any], value: object
) -> object:
    """The value, parsed where it is text or a number: a number out of bounds is no better as such."""
    if value is None and item.default is not None:
        raise OptionError(f"option {name!r} is None: {item.metadata['doc']}")
    if not isinstance(value, str | int | float):
        return value
    text = str(value)
    try:
        return parser(text)
    except ValueError as error:
        shown = "" if item.metadata["secret"] else f" {item.metadata['show'](text)!r}"
        raise OptionError(f"option {name!r}:{shown} is not valid: {error}") from None


def _shown(item: dataclasses.Field[Any], value: object) -> str:
    if item.metadata["secret"] and value is not None:
        return "'***'"
    return repr(item.metadata["show"](value)) if isinstance(value, str) else repr(value)


def option_name(item: dataclasses.Field[Any]) -> str:
    """The option's name: that of its field, with dots."""
    return item.name.replace("_", ".")


def option_rows(*classes: type[Options]) -> list[tuple[str, str, str]]:
    """Name, default and doc of every option of the classes, in order of declaration."""
    rows: dict[str, tuple[str, str, str]] = {}
    for kind in classes:
        for item in dataclasses.fields(kind):
            default = "required" if item.default is dataclasses.MISSING else _default(item.default)
            also = "".join(f"; also `{alias}`" for alias in item.metadata["aliases"])
            rows.setdefault(item.name, (option_name(item), default, item.metadata["doc"] + also))
    return list(rows.values())


def option_table(*classes: type[Options]) -> str:
    """The options of the classes as a Markdown table."""
    lines = ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {doc} |" for name, default, doc in option_rows(*classes)]
    return "\n".join(lines)


def _default(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, Enum):
        return f"`{value.value}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def boolean(text: str) -> bool:
    """Parse true or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError("expected true or false")
    return text.lower() == "true"


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A parser of whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"expected a whole number {bounds}") from None
        if value < low or (high is not None and value > high):
            raise ValueError(f"expected a whole number {bounds}")
        return value

    return parse


def milliseconds(text: str) -> float:
    """Parse a positive number of milliseconds, to seconds."""
    try:
        return seconds(text) / 1000
    except ValueError:
        raise ValueError("expected a number of milliseconds above 0") from None


def fraction(text: str) -> float:
    """Parse a share: more than 0, at most 1."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("expected a number above 0 and at most 1") from None
    if not 0 < value <= 1:
        raise ValueError("expected a number above 0 and at most 1")
    return value


def seconds(text: str) -> float:
    """Parse a positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("expected a number of seconds") from None
    if not 0 < value < float("inf"):
        raise ValueError("expected a number of seconds above 0")
    return value


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise ValueError("expected names separated by commas")
    return parts


def addresses(default_port: int) -> Callable[[str], tuple[tuple[str, int], ...]]:
    """A parser of ``host:port`` pairs separated by commas; IPv6 hosts stand in brackets."""

    def parse(text: str) -> tuple[tuple[str, int], ...]:
        found = []
        for item in names(text):
            parts = urlsplit(f"//{item}")
            try:
                host, port = parts.hostname, parts.port
            except ValueError:
                host = port = None
            if not host or parts.path or "@" in item:
                raise ValueError("expected host:port, several separated by commas")
            found.append((host, port or default_port))
        return tuple(found)

    return parse


def choice(kind: type[E]) -> Callable[[str], E]:
    """A parser of one of an enum's values."""

    def parse(text: str) -> E:
        for member in kind:
            if member.value == text.lower():
                return member
        raise ValueError(f"expected one of {', '.join(str(member.value) for member in kind)}")

    return parse


def chosen(name: str, value: str, kind: type[E]) -> E:
    """The member of an enum that an argument names.

    Raises:
        OptionError: none is called so.
    """
    known = [member.value for member in kind]
    if value not in known:
        raise OptionError(f"{name} {value!r} is not known; it is {' or '.join(map(repr, known))}")
    return kind(value)


def masked_url(url: object) -> str:
    """The URL without its password and without what else its query may hide."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return "***"
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    if "@" in parts.netloc:
        host = f"{user}:***@{host}" if user else f"***@{host}"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def url_location(url: str) -> str:
    """Where a URL points: without its user, its password and its query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
