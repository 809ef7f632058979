"""Operations that read lists and maps: by index, rank, key and value, in nested values too."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from . import packed
from .packed import Map, OrderedMap, by_order, compare
from .particles import Particle, Type
from .protocol import Refused, Result

NESTED = 0xFF
_INVERTED = 0x10000
_ALL = 1 << 32

_NONE, _INDEX, _REVINDEX, _RANK, _REVRANK, _COUNT, _KEY, _VALUE, _PAIRS = range(9)
_EXISTS, _UNORDERED_PAIRS, _ORDERED_PAIRS = 13, 16, 17
_KINDS = {
    *range(9),
    _EXISTS,
    _UNORDERED_PAIRS,
    _ORDERED_PAIRS,
}

NOTHING = object()


class Entries:
    """A list or map, entry by entry in the order of its storage."""

    def __init__(self, value: list[Any]) -> None:
        self.is_map = isinstance(value, Map)
        self.values = [pair[1] for pair in value] if self.is_map else value
        self.keys = [pair[0] for pair in value] if self.is_map else []
        self.count = len(value)

    @cached_property
    def by_index(self) -> list[int]:
        """Entries by index: of a map, by key."""
        if not self.is_map:
            return list(range(self.count))
        return sorted(range(self.count), key=lambda i: by_order(self.keys[i]))

    @cached_property
    def by_rank(self) -> list[int]:
        """Entries by value."""
        return sorted(self.by_index, key=lambda i: by_order(self.values[i]))

    def positions(self, order: list[int], chosen: Sequence[int]) -> list[int]:
        """Where the chosen entries stand in an order."""
        at = {entry: position for position, entry in enumerate(order)}
        return [at[entry] for entry in chosen]


def read_collection(bin: Particle, request: bytes) -> Particle | None:
    """What an operation reads from a bin; None where it finds nothing.

    Raises:
        Refused: the bin or the operation is of another kind.
    """
    if bin.type not in (Type.LIST, Type.MAP):
        raise Refused(Result.INCOMPATIBLE_TYPE)
    return particle(evaluate(packed.decode(bin.value), packed.decode(request)))


def particle(value: Any) -> Particle | None:
    """A value as a bin holds it."""
    match value:
        case None:
            return None
        case bool():
            return Particle(Type.BOOL, bytes([value]))
        case int():
            return Particle(Type.INTEGER, value.to_bytes(8, "big", signed=True))
        case float():
            return Particle(Type.FLOAT, struct.pack(">d", value))
        case bytes():
            text = b"\0\0\0" + value[1:] if value[0] == Type.GEOJSON else value[1:]
            return Particle(value[0], text)
        case Map():
            return Particle(Type.MAP, packed.encode(value))
        case list():
            return Particle(Type.LIST, packed.encode(value))
        case _:
            return None


def evaluate(value: Any, request: list[Any]) -> Any:
    """What a request ``[operation, arguments...]`` finds in a list or map; None for nothing.

    Raises:
        Refused: it does not fit the value.
    """
    if request[0] == NESTED:
        return evaluate(_nested(value, request[1]), request[2])
    operation, *arguments = request
    if isinstance(value, Map) != (operation in _MAP_READS):
        raise Refused(Result.INCOMPATIBLE_TYPE)
    if not isinstance(value, list):
        raise Refused(Result.INCOMPATIBLE_TYPE)
    read = (_MAP_READS if isinstance(value, Map) else _LIST_READS).get(operation)
    if read is None:
        raise Refused(Result.PARAMETER)
    found = read(Entries(value), *arguments)
    return None if found is NOTHING else found


def check(request: list[Any]) -> None:
    """Refuse what this server cannot do, before any record is looked at."""
    operation, *arguments = request[2] if request[0] == NESTED else request
    known = operation in _LIST_READS or operation in _MAP_READS
    kind = arguments[0] if arguments and operation not in _PLAIN else 0
    if not known or (isinstance(kind, int) and kind & 0xFFFF not in _KINDS):
        raise Refused(Result.UNSUPPORTED_FEATURE)


def _nested(value: Any, context: list[Any]) -> Any:
    for step, argument in zip(context[::2], context[1::2]):
        in_map, how = bool(step & 0x20), step & 0x0F
        if not isinstance(value, list) or isinstance(value, Map) != in_map:
            raise Refused(Result.INCOMPATIBLE_TYPE)
        value = _step(Entries(value), how, argument)
    return value


def _step(entries: Entries, how: int, argument: Any) -> Any:
    if how in (0, 1):
        order = entries.by_rank if how else entries.by_index
        if not -entries.count <= argument < entries.count:
            raise Refused(Result.NOT_APPLICABLE)
        return entries.values[order[argument]]
    if how not in (2, 3):
        raise Refused(Result.UNSUPPORTED_FEATURE)
    among = entries.keys if how == 2 else entries.values
    for entry, candidate in enumerate(among):
        if compare(candidate, argument) == 0:
            return entries.values[entry]
    raise Refused(Result.NOT_APPLICABLE)


def _size(entries: Entries) -> int:
    return entries.count


def _get(entries: Entries, index: int) -> Any:
    return _by_index(entries, _VALUE, index)


def _get_range(entries: Entries, index: int, count: int = _ALL) -> Any:
    return _by_index_range(entries, _VALUE, index, count)


def _by_index(entries: Entries, kind: int, index: int) -> Any:
    return _one(entries, kind, entries.by_index, index)


def _by_rank(entries: Entries, kind: int, rank: int) -> Any:
    return _one(entries, kind, entries.by_rank, rank)


def _one(entries: Entries, kind: int, order: list[int], at: int) -> Any:
    if not -entries.count <= at < entries.count or kind & _INVERTED:
        raise Refused(Result.NOT_APPLICABLE)
    return _result(entries, kind, [order[at]], several=False)


def _by_index_range(entries: Entries, kind: int, index: int, count: int = _ALL) -> Any:
    return _several(entries, kind, _cut(entries.by_index, index, count))


def _by_rank_range(entries: Entries, kind: int, rank: int, count: int = _ALL) -> Any:
    return _several(entries, kind, _cut(entries.by_rank, rank, count))


def _cut(order: list[int], begin: int, count: int) -> list[int]:
    begin = begin + len(order) if begin < 0 else begin
    return order[max(0, begin) : max(0, begin + count)]


def _by_value(entries: Entries, kind: int, value: Any) -> Any:
    return _first(entries, kind, entries.values, value)


def _by_key(entries: Entries, kind: int, key: Any) -> Any:
    return _first(entries, kind, entries.keys, key)


def _first(entries: Entries, kind: int, among: list[Any], wanted: Any) -> Any:
    if kind & _INVERTED:
        raise Refused(Result.NOT_APPLICABLE)
    found = next((i for i, part in enumerate(among) if compare(part, wanted) == 0), None)
    return _result(entries, kind, [] if found is None else [found], several=False)


def _all_by_value(entries: Entries, kind: int, value: Any) -> Any:
    return _several(entries, kind, _matching(entries.values, lambda v: compare(v, value) == 0))


def _by_value_list(entries: Entries, kind: int, values: list[Any]) -> Any:
    return _by_list(entries, kind, entries.values, values)


def _by_key_list(entries: Entries, kind: int, keys: list[Any]) -> Any:
    return _by_list(entries, kind, entries.keys, keys)


def _by_list(entries: Entries, kind: int, among: list[Any], wanted: list[Any]) -> Any:
    chosen = _matching(among, lambda part: any(compare(part, one) == 0 for one in wanted))
    return _several(entries, kind, chosen)


def _by_value_interval(entries: Entries, kind: int, begin: Any, *end: Any) -> Any:
    return _several(entries, kind, _within(entries.values, begin, *end))


def _by_key_interval(entries: Entries, kind: int, begin: Any, *end: Any) -> Any:
    return _several(entries, kind, _within(entries.keys, begin, *end))


def _within(among: list[Any], begin: Any, *end: Any) -> list[int]:
    return _matching(
        among,
        lambda part: (
            (begin is None or compare(part, begin) >= 0)
            and all(compare(part, one) < 0 for one in end)
        ),
    )


def _matching(among: list[Any], passes: Callable[[Any], bool]) -> list[int]:
    return [i for i, part in enumerate(among) if passes(part)]


def _several(entries: Entries, kind: int, chosen: list[int]) -> Any:
    if kind & _INVERTED:
        out = set(chosen)
        chosen = [i for i in range(entries.count) if i not in out]
    return _result(entries, kind, chosen, several=True)


def _result(entries: Entries, kind: int, chosen: list[int], *, several: bool) -> Any:
    """What an operation returns of the chosen entries, as its return type says."""
    kind &= 0xFFFF
    if kind == _NONE:
        return NOTHING
    if kind == _COUNT:
        return len(chosen)
    if kind == _EXISTS:
        return bool(chosen)
    if kind in (_PAIRS, _UNORDERED_PAIRS, _ORDERED_PAIRS):
        pairs = [(entries.keys[i], entries.values[i]) for i in chosen]
        if kind == _ORDERED_PAIRS:
            return OrderedMap(sorted(pairs, key=lambda pair: by_order(pair[0])))
        return Map(pairs)
    answers = _answers(entries, kind, chosen)
    if several:
        return answers
    if answers:
        return answers[0]
    return NOTHING if kind in (_KEY, _VALUE) else -1


def _answers(entries: Entries, kind: int, chosen: list[int]) -> list[Any]:
    match kind:
        case 6:
            return [entries.keys[i] for i in chosen]
        case 7:
            return [entries.values[i] for i in chosen]
        case 1 | 2:
            places = entries.positions(entries.by_index, chosen)
        case _:
            places = entries.positions(entries.by_rank, chosen)
    if kind in (_REVINDEX, _REVRANK):
        return [entries.count - 1 - place for place in places]
    return places


_PLAIN = {16, 17, 18, 96}
_LIST_READS: dict[int, Callable[..., Any]] = {
    16: _size,
    17: _get,
    18: _get_range,
    19: _by_index,
    20: _by_value,
    21: _by_rank,
    22: _all_by_value,
    23: _by_value_list,
    24: _by_index_range,
    25: _by_value_interval,
    26: _by_rank_range,
}
_MAP_READS: dict[int, Callable[..., Any]] = {
    96: _size,
    97: _by_key,
    98: _by_index,
    99: _by_value,
    100: _by_rank,
    102: _all_by_value,
    103: _by_key_interval,
    104: _by_index_range,
    105: _by_value_interval,
    106: _by_rank_range,
    107: _by_key_list,
    108: _by_value_list,
}
