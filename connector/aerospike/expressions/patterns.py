r"""Patterns as the server's regular expressions, which are POSIX's on bytes.

They match at least what the patterns match: a character, which takes up to four bytes, may be several.
"""

from __future__ import annotations

import re

MOST_PATTERN = 1000
"""Characters of a regular expression that the server is asked to compile."""

_CHARACTER = ".{1,4}"
_LIKE_PARTS = re.compile(r"\\.|.", re.DOTALL)
_WILD = {"%": ".*", "_": _CHARACTER}
_SPECIAL = re.compile(r"[][\\.^$*+?(){}|]")

_RE2_PARTS = re.compile(
    r"""(?P<literal>[ !"#%&',/:;<=>@_`~0-9A-Za-z-])(?P<times>[*+?]?)(?![*+?])
    | \\(?P<escaped>[!-/:-@\[-`{-~])(?P<repeats>[*+?]?)(?![*+?])
    | (?P<wide>[^\x00-\x7f])(?![*+?])
    | (?P<dot>\.[*+?]?)(?![*+?])
    | (?P<kept>\[(?:[0-9A-Za-z](?:-[0-9A-Za-z])?)+\][*+?]?(?![*+?])
        | \((?![?|)*+]) | \)[*+?]?(?![*+?]) | (?<=.)\|(?![|)*+?]|$) | [\^$](?![*+?]))""",
    re.VERBOSE | re.DOTALL,
)
_DOTS = {".": _CHARACTER, ".?": ".{0,4}"}


def escaped(text: str) -> str:
    """A pattern for this text."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def from_like(pattern: str) -> str | None:
    """A LIKE pattern; None where it has a NUL, which is the end of the server's."""
    if "\0" in pattern:
        return None
    parts = _LIKE_PARTS.findall(pattern)
    return f"^{''.join(_WILD.get(part) or escaped(part[-1]) for part in parts)}$"


def from_re2(pattern: str) -> str | None:
    """A regular expression of RE2; None where it has more than what the two agree on.

    That is literals, dots, plain classes, groups, alternatives, anchors, and the signs *, + and ?.
    """
    parts = []
    at = 0
    while at < len(pattern):
        found = _RE2_PARTS.match(pattern, at)
        if found is None:
            return None
        parts.append(_posix(found))
        at = found.end()
    return "".join(parts)


def _posix(part: re.Match[str]) -> str:
    if part["literal"]:
        return part[0]
    if part["escaped"]:
        return escaped(part["escaped"]) + part["repeats"]
    if part["dot"]:
        return _DOTS.get(part["dot"], part["dot"])
    return part[0]
