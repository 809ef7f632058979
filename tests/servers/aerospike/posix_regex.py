"""POSIX regular expressions by the C library: the server's own come from there."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_library = ctypes.CDLL(None)
_library.regcomp.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
_library.regexec.argtypes = [
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_int,
]

_ROOM_BYTES = 256  # more than any library's regex_t


def compiled(pattern: bytes, flags: int) -> Callable[[bytes], bool]:
    """A function that tells whether the pattern is found in a text.

    Raises:
        ValueError: the library does not take the pattern.
    """
    room = ctypes.create_string_buffer(_ROOM_BYTES)
    if _library.regcomp(room, pattern, flags):
        raise ValueError(f"not a regular expression: {pattern!r}")

    def found(text: bytes) -> bool:
        return bool(_library.regexec(room, text, 0, None, 0) == 0)

    return found
