"""Building expressions: comparison, logic, arithmetic, variables, and reads of lists and maps."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import posix_regex
from .collections_read import check, particle
from .collections_read import evaluate as read_value
from .expression_arithmetic import ARITHMETIC
from .expression_leaves import (
    bin_type,
    bin_value,
    constant,
    digest_modulo,
    metadata,
    quoted,
    record_key,
    unwrapped,
)
from .expression_types import UNKNOWN, Evaluate, Kind, Node, Scope, boxed
from .packed import Map, compare, meets_unordered_map
from .protocol import Refused, Result

_MODIFIES = 0x40

Variables = Mapping[bytes, Kind | None]


def build(tree: Any, variables: Variables) -> Node:
    """Compile one expression; ``variables`` are those defined around it, and their types.

    Raises:
        Refused: its parts do not go together.
    """
    if not isinstance(tree, list) or isinstance(tree, Map):
        return constant(tree)
    code, *parts = tree
    if code in _LEAVES:
        return _LEAVES[code](*parts)
    if code in _SCOPED:
        return _SCOPED[code](parts, variables)
    if (found := metadata(code)) is not None:
        return found
    if code == 7:
        flags, pattern, text = parts
        return _regex(flags, pattern, build(text, variables))
    nodes = [build(part, variables) for part in parts]
    if code in _COMPARISONS:
        return _comparison(_COMPARISONS[code], *nodes)
    if code in _BRANCHING:
        return _BRANCHING[code](nodes)
    if code in ARITHMETIC:
        return ARITHMETIC[code](nodes)
    if code in (8, 101, 102, 122):
        raise Refused(Result.UNSUPPORTED_FEATURE)
    raise Refused(Result.PARAMETER)


def _comparison(passes: Callable[[int, int], bool], left: Node, right: Node) -> Node:
    if left.kind != right.kind or left.kind in (Kind.GEOJSON, Kind.HLL):
        raise Refused(Result.PARAMETER)
    a_of, b_of = left.evaluate, right.evaluate
    compares = _compare_packed if left.kind in _COMPARED_AS_PACKED else passes

    def evaluate(scope: Scope) -> Any:
        a = a_of(scope)
        if a is UNKNOWN:
            return UNKNOWN
        b = b_of(scope)
        return UNKNOWN if b is UNKNOWN else compares(a, b)

    def _of_packed(scope: Scope) -> Any:
        order = evaluate(scope)
        return UNKNOWN if order is UNKNOWN else passes(order, 0)

    return Node(Kind.BOOL, _of_packed if compares is _compare_packed else evaluate)


_COMPARED_AS_PACKED = {Kind.NIL, Kind.LIST, Kind.MAP}


def _compare_packed(a: Any, b: Any) -> Any:
    return UNKNOWN if meets_unordered_map(a, b) else compare(a, b)


def _regex(flags: int, pattern: bytes, text: Node) -> Node:
    if text.kind != Kind.STR:
        raise Refused(Result.PARAMETER)
    found = posix_regex.compiled(pattern, flags)

    def evaluate(scope: Scope) -> Any:
        value = text.evaluate(scope)
        return UNKNOWN if value is UNKNOWN else found(value)

    return Node(Kind.BOOL, evaluate)


def _in_list(nodes: Sequence[Node]) -> Node:
    item, among = nodes
    if among.kind != Kind.LIST:
        raise Refused(Result.PARAMETER)

    def evaluate(scope: Scope) -> Any:
        value, values = boxed(item.kind, item.evaluate(scope)), among.evaluate(scope)
        if value is UNKNOWN or values is UNKNOWN:
            return UNKNOWN
        return any(compare(value, one) == 0 for one in values)

    return Node(Kind.BOOL, evaluate)


def _conditions(nodes: Sequence[Node], least: int = 2) -> list[Evaluate]:
    if len(nodes) < least or any(node.kind not in (Kind.BOOL, None) for node in nodes):
        raise Refused(Result.PARAMETER)
    return [node.evaluate for node in nodes]


def _settled_by(decisive: bool) -> Callable[[Sequence[Node]], Node]:
    """AND is settled by the first false, OR by the first true."""

    def built(nodes: Sequence[Node]) -> Node:
        conditions = _conditions(nodes)

        def evaluate(scope: Scope) -> Any:
            result: Any = not decisive
            for condition in conditions:
                value = condition(scope)
                if value is decisive:
                    return decisive
                if value is UNKNOWN:
                    result = UNKNOWN
            return result

        return Node(Kind.BOOL, evaluate)

    return built


def _not(nodes: Sequence[Node]) -> Node:
    (condition,) = _conditions(nodes, least=1)

    def evaluate(scope: Scope) -> Any:
        value = condition(scope)
        return UNKNOWN if value is UNKNOWN else not value

    return Node(Kind.BOOL, evaluate)


def _exclusive(nodes: Sequence[Node]) -> Node:
    conditions = _conditions(nodes)

    def evaluate(scope: Scope) -> Any:
        seen = False
        for condition in conditions:
            value = condition(scope)
            if value is UNKNOWN or (value and seen):
                return UNKNOWN if value is UNKNOWN else False
            seen = seen or value
        return seen

    return Node(Kind.BOOL, evaluate)


def _cond(nodes: Sequence[Node]) -> Node:
    if len(nodes) < 3 or len(nodes) % 2 == 0:
        raise Refused(Result.PARAMETER)
    conditions = _conditions(nodes[:-1:2], least=1)
    actions = [*nodes[1::2], nodes[-1]]
    kinds = {action.kind for action in actions} - {None}
    if len(kinds) > 1:
        raise Refused(Result.PARAMETER)

    def evaluate(scope: Scope) -> Any:
        for condition, action in zip(conditions, actions):
            value = condition(scope)
            if value is UNKNOWN or value:
                return UNKNOWN if value is UNKNOWN else action.evaluate(scope)
        return actions[-1].evaluate(scope)

    return Node(next(iter(kinds), None), evaluate)


def _let(parts: Sequence[Any], variables: Variables) -> Node:
    if len(parts) < 3 or len(parts) % 2 == 0:
        raise Refused(Result.PARAMETER)
    known = dict(variables)
    definitions = []
    for name, tree in zip(parts[:-1:2], parts[1::2]):
        if name in known:
            raise Refused(Result.PARAMETER)
        node = build(tree, known)
        known[name] = node.kind
        definitions.append((name, node.evaluate))
    body = build(parts[-1], known)

    def evaluate(scope: Scope) -> Any:
        for name, definition in definitions:
            scope.variables[name] = definition(scope)
        return body.evaluate(scope)

    return Node(body.kind, evaluate)


def _variable(parts: Sequence[Any], variables: Variables) -> Node:
    (name,) = parts
    if name not in variables:
        raise Refused(Result.PARAMETER)
    return Node(variables[name], lambda scope: scope.variables[name])


def _call(parts: Sequence[Any], variables: Variables) -> Node:
    """An operation on a list or map, as a bin or as another expression has it."""
    kind, system, request, target = parts
    subject = build(target, variables)
    if system in (1, 2, _MODIFIES, _MODIFIES | 1, _MODIFIES | 2):
        raise Refused(Result.UNSUPPORTED_FEATURE)
    if system != 0 or subject.kind not in (Kind.LIST, Kind.MAP):
        raise Refused(Result.PARAMETER)
    kind = Kind(kind)
    check(request)
    head, arguments = _arguments(request, variables)

    def evaluate(scope: Scope) -> Any:
        values = [boxed(node.kind, node.evaluate(scope)) for node in arguments]
        value = subject.evaluate(scope)
        if value is UNKNOWN or UNKNOWN in values:
            return UNKNOWN
        try:
            found = particle(read_value(value, head(values)))
        except Refused:
            return UNKNOWN
        return _typed(kind, found)

    return Node(kind, evaluate)


def _typed(kind: Kind, found: Any) -> Any:
    if found is None:
        return None if kind == Kind.NIL else UNKNOWN
    return unwrapped(found) if constant_kind(found.type) == kind else UNKNOWN


def constant_kind(particle_type: int) -> Kind | None:
    """The type of expression that a value of this particle type is."""
    return _KINDS.get(particle_type)


def _arguments(
    request: list[Any], variables: Variables
) -> tuple[Callable[[list[Any]], list[Any]], list[Node]]:
    """How to make the request of values, and the expressions that give the values."""
    if request[0] == 0xFF:
        inner, nodes = _arguments(request[2], variables)
        return (lambda values: [0xFF, request[1], inner(values)]), nodes
    nodes = [_argument(part, variables) for part in request[1:]]
    return (lambda values: [request[0], *values]), nodes


def _argument(part: Any, variables: Variables) -> Node:
    """Lists are expressions; all else stands for itself, as it is."""
    if isinstance(part, list) and not isinstance(part, Map):
        return build(part, variables)
    return Node(None, lambda scope: part)


_KINDS = {
    1: Kind.INT,
    2: Kind.FLOAT,
    3: Kind.STR,
    4: Kind.BLOB,
    17: Kind.BOOL,
    18: Kind.HLL,
    19: Kind.MAP,
    20: Kind.LIST,
    23: Kind.GEOJSON,
}
_COMPARISONS: dict[int, Callable[[Any, Any], bool]] = {
    1: operator.eq,
    2: operator.ne,
    3: operator.gt,
    4: operator.ge,
    5: operator.lt,
    6: operator.le,
}
_BRANCHING: dict[int, Callable[[Sequence[Node]], Node]] = {
    9: _in_list,
    16: _settled_by(False),
    17: _settled_by(True),
    18: _not,
    19: _exclusive,
    123: _cond,
}
_SCOPED: dict[int, Callable[[Sequence[Any], Variables], Node]] = {
    124: _variable,
    125: _let,
    127: _call,
}
_LEAVES: dict[int, Callable[..., Node]] = {
    0: lambda: Node(None, lambda scope: UNKNOWN),
    64: digest_modulo,
    80: record_key,
    81: bin_value,
    82: bin_type,
    126: quoted,
}
