"""What columns are compared with: values of Python's own types, and the text that each of them has."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from decimal import Decimal

import numpy as np

from connector.errors import OptionError
from connector.filters.fields import FieldPath, path_text

Value = bool | int | float | Decimal | str | bytes | dt.date | dt.datetime

_DIGITS = 1000
_TOO_LARGE = 10**_DIGITS
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?P<clock>[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


def plain(path: FieldPath, value: object) -> Value:
    """The value as one of Python's own types; zoned times in UTC.

    Args:
        path: what is compared with it, for messages.
        value: what a caller gave.

    Raises:
        OptionError: nothing compares with such a value.
    """
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_):
        value = value.item()
    kind = type(value)
    if kind is str:
        return plain_text(path, value)
    if kind is dt.datetime and isinstance(value, dt.datetime):
        return _plain_time(path, value)
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise OptionError(
            f"column {path_text(path)!r} is compared with an integer of over {_DIGITS} digits"
        )
    if isinstance(value, Decimal) and not value.is_finite():
        raise OptionError(
            f"column {path_text(path)!r} is compared with {value}: write it as a float"
        )
    if isinstance(value, Decimal) and len(value.as_tuple().digits) > _DIGITS:
        raise OptionError(
            f"column {path_text(path)!r} is compared with a decimal of over {_DIGITS} digits"
        )
    if value is None:
        raise OptionError(f"column {path_text(path)!r} is compared with None: use is_null()")
    if kind in (bool, int, float, Decimal, bytes, dt.date):
        return value  # type: ignore[return-value]
    raise OptionError(
        f"column {path_text(path)!r} is compared with a {kind.__name__}; "
        f"a value is a bool, number, text, bytes, date or datetime"
    )


def plain_text(path: FieldPath, value: object) -> str:
    """The value, which has to be text that UTF-8 has; arguments and errors are those of ``plain``."""
    if not isinstance(value, str):
        raise OptionError(
            f"column {path_text(path)!r} is matched with {type(value).__name__}, not text"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise OptionError(
            f"column {path_text(path)!r} is compared with a text that {error}"
        ) from None
    return value


def _plain_time(path: FieldPath, value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        return value.replace(fold=0)
    try:
        return value.astimezone(dt.UTC).replace(fold=0)
    except OverflowError:
        raise OptionError(
            f"column {path_text(path)!r}: {value} is out of the years 1 to 9999"
        ) from None


def value_text(value: Value) -> str:
    """The value as filters spell it."""
    if isinstance(value, str):
        return f"'{value.replace(chr(39), chr(39) * 2)}'"
    if isinstance(value, bytes):
        return f"X'{value.hex().upper()}'"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"double('{value}')"
        return repr(value) if "e" in repr(value) else f"{value!r}e0"  # without: a decimal
    if isinstance(value, Decimal):
        text = str(value)
        return text if "." in text and "E" not in text else f"{text}BD"
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value.isoformat(' ').replace('+00:00', 'Z')}'"
    return f"DATE '{value}'" if isinstance(value, dt.date) else str(value).upper()


def shown(text: str) -> str:
    """The text as a message shows it: quoted, and not too long."""
    return repr(text if len(text) <= 200 else text[:200] + "...")


def parse_time(text: str) -> dt.date | dt.datetime:
    """A date, or a time of a date, from text as in ``2013-01-31 12:00:00.5+01:00``.

    Raises:
        ValueError: the text is neither.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is not as in 2013-01-31 or 2013-01-31 12:00:00.5+01:00")
    return dt.datetime.fromisoformat(text) if match["clock"] else dt.date.fromisoformat(text)


def _date(text: str) -> dt.date:
    found = parse_time(text)
    if isinstance(found, dt.datetime):
        raise ValueError("a date has no time of the day")
    return found


def _timestamp(text: str) -> dt.datetime:
    found = parse_time(text)
    return found if isinstance(found, dt.datetime) else dt.datetime(*found.timetuple()[:3])


TYPED: dict[str, Callable[[str], Value]] = {
    "DATE": _date,
    "TIMESTAMP": _timestamp,
    "X": bytes.fromhex,
    "DOUBLE": float,
}
"""What reads the text of a value, by the word in front of it; each raises ValueError."""
