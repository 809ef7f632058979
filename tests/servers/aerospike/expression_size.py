"""How large the server's compiled form of an expression is: it takes less than 1 MiB."""

from __future__ import annotations

from typing import Any

from .packed import Map

MAX_BYTES = 1 << 20

_PLAIN_BYTES = 8
_OWN_BYTES = {7: 80, 64: 12, 80: 12, 81: 24, 82: 24, 123: 12, 124: 16, 125: 20, 126: 24, 127: 344}
_WITHOUT_PARTS = {64, 80, 81, 82, 124, 126}


def compiled_bytes(tree: Any) -> int:
    """The size of one expression with all that is in it."""
    match tree:
        case None:
            return 8
        case bool():
            return 12
        case int() | float():
            return 16
        case Map() | bytes():
            return 24
        case [int() as code, *parts]:
            own = _OWN_BYTES.get(code, _PLAIN_BYTES)
            return own + sum(map(compiled_bytes, _expressions(code, parts)))
        case _:
            return _PLAIN_BYTES


def _expressions(code: int, parts: list[Any]) -> list[Any]:
    """Those parts that are compiled; a branch of a condition counts for one more."""
    if code in _WITHOUT_PARTS:
        return []
    if code == 7:
        return parts[2:]
    if code == 125:
        return [*parts[1::2], parts[-1]]
    if code == 127:
        request = parts[2][2] if parts[2][0] == 0xFF else parts[2]
        nested = [part for part in request[1:] if isinstance(part, list)]
        return [*nested, parts[3]]
    return [*parts, *[None] * (len(parts) // 2)] if code == 123 else parts
