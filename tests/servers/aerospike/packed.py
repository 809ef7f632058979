"""Values inside lists, maps and expressions: MessagePack as the server reads, orders and writes it.

Strings, blobs and GeoJSON are bytes whose first byte is their particle type. Maps are lists of pairs, as
their keys may be of any type and their order counts.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any, NamedTuple

import msgpack

from .particles import Type

_KEY_ORDERED = 1
_TEXT_RANKS = {int(Type.STRING): 4, int(Type.GEOJSON): 9}
_WILD, _INFINITE = 11, 12


class Extension(NamedTuple):
    """A mark of the server's: a wildcard, infinity, or how a list or map is stored."""

    code: int
    data: bytes


_RANKS = {Extension(-1, b"\x00"): _WILD, Extension(-1, b"\x01"): _INFINITE}


class Map(list[tuple[Any, Any]]):
    """The pairs of a map. ``ordered`` tells whether it is stored by its keys."""

    ordered = False


class OrderedMap(Map):
    """A map that is stored in the order of its keys."""

    ordered = True


class Ordered(list[Any]):
    """A list that is stored in the order of its values."""


def decode(data: bytes) -> Any:
    """The value in these bytes.

    Raises:
        ValueError: they are no value, or more than one.
    """
    try:
        plain = msgpack.unpackb(
            data,
            raw=True,
            strict_map_key=False,
            object_pairs_hook=_map,
            list_hook=_list,
            ext_hook=Extension,
        )
    except (msgpack.UnpackException, ValueError) as error:
        raise ValueError(f"not MessagePack: {error}") from error
    return plain


def encode(value: Any) -> bytes:
    """The bytes of a value."""
    packer = msgpack.Packer(use_bin_type=False, autoreset=False)
    _encode(packer, value)
    return bytes(packer.bytes())


def _encode(packer: msgpack.Packer, value: Any) -> None:
    if isinstance(value, Map):
        packer.pack_map_header(len(value) + value.ordered)
        if value.ordered:
            packer.pack_ext_type(_KEY_ORDERED, b"")
            packer.pack(None)
        for pair in value:
            for part in pair:
                _encode(packer, part)
    elif isinstance(value, list):
        packer.pack_array_header(len(value))
        for part in value:
            _encode(packer, part)
    else:
        packer.pack(value)


def _map(pairs: list[tuple[Any, Any]]) -> Map:
    if pairs and _is_mark(pairs[0][0]):
        return (OrderedMap if pairs[0][0].code & _KEY_ORDERED else Map)(pairs[1:])
    return Map(pairs)


def _list(values: list[Any]) -> list[Any]:
    if values and _is_mark(values[0]):
        return (Ordered if values[0].code & 1 else list)(values[1:])
    return values


def _is_mark(value: Any) -> bool:
    return isinstance(value, Extension) and value.code != -1


def compare(a: Any, b: Any) -> int:
    """Less than 0, 0 or more than 0, in the server's order of all values."""
    rank_a, rank_b = _rank(a), _rank(b)
    if rank_a == _WILD or rank_b == _WILD:
        return 0
    if rank_a != rank_b:
        return -1 if rank_a < rank_b else 1
    if isinstance(a, Map):
        if len(a) != len(b):
            return -1 if len(a) < len(b) else 1
        return _compare_all([x for pair in a for x in pair], [x for pair in b for x in pair])
    if isinstance(a, list):
        return _compare_all(a, b) or (len(a) > len(b)) - (len(a) < len(b))
    if a is None or rank_a > 9:
        return 0
    return int(a > b) - int(a < b)


def _compare_all(a: list[Any], b: list[Any]) -> int:
    return next((order for x, y in zip(a, b) if (order := compare(x, y))), 0)


by_order = cmp_to_key(compare)


def _rank(value: Any) -> int:
    match value:
        case None:
            return 0
        case bool():
            return 1
        case int():
            return 3
        case bytes():
            return _TEXT_RANKS.get(value[0], 7) if value else 7
        case Map():
            return 6
        case list():
            return 5
        case float():
            return 8
        case _:
            return _RANKS.get(value, 10)


def meets_unordered_map(a: Any, b: Any) -> bool:
    """Does a comparison come to a map that is not ordered by key? The server then gives no answer."""
    if any(isinstance(one, Map) and one and not one.ordered for one in (a, b)):
        return True
    if _rank(a) != _rank(b) or not isinstance(a, list):
        return False
    if isinstance(a, Map):
        if len(a) != len(b):
            return False
        a, b = ([part for pair in one for part in pair] for one in (a, b))
    for x, y in zip(a, b):
        if meets_unordered_map(x, y):
            return True
        if compare(x, y):
            return False
    return False
