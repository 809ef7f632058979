"""Transforms of batches, and fingerprints by which a changed one never finds old shards."""

from __future__ import annotations

import builtins
import datetime
import decimal
import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from connector.digests import digest
from connector.errors import CacheError, SchemaError

_PLAIN = (
    types.NoneType, types.EllipsisType, bool, int, float, complex, str, bytes, range, slice,
    decimal.Decimal, datetime.date, datetime.time, datetime.timedelta, datetime.timezone,
    np.generic, np.dtype, pa.DataType,
)  # fmt: skip
_OPAQUE = {"eval", "exec", "globals", "locals", "vars", "open", "input", "__import__"}


@dataclass(frozen=True)
class Transform:
    """A function from RecordBatch to RecordBatch, with parameters, under a fingerprint.

    Without a ``version`` the fingerprint covers the function's code and all that the code refers to.
    With one it covers name, version and parameters, and changing the version is the caller's duty.
    The function must treat every row alike, wherever batches are cut.

    Attributes:
        function: called as ``function(batch, **params)``; of a module's top level, where several
            processes seal.
        params: keyword arguments: plain values, Arrow or NumPy.
        version: the function's declared version.
        name: for messages; the function's own by default.
    """

    function: Callable[..., pa.RecordBatch]
    params: Mapping[str, object] = field(default_factory=dict)
    version: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
            object.__setattr__(self, "name", name)

    @classmethod
    def of(cls, given: Transform | Callable[..., pa.RecordBatch] | None) -> Transform | None:
        """What a user gave as a transform: one, a plain function, or none."""
        return given if given is None or isinstance(given, Transform) else cls(given)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Transform one batch.

        Raises:
            SchemaError: the function returned something else than a RecordBatch.
        """
        result = self.function(batch, **self.params)
        if not isinstance(result, pa.RecordBatch):
            raise SchemaError(
                f"transform {self.name!r} returned {type(result).__name__} instead of a RecordBatch"
            )
        return result

    @property
    def fingerprint(self) -> str:
        """Equal for equal code (or declared version) and parameters.

        Raises:
            CacheError: the function refers to something whose content cannot be told.
        """
        walk = _Walk(self)
        params = walk.describe(dict(self.params), "params")
        if self.version is not None:
            return digest("declared", self.name, self.version, params)
        return digest("code", walk.describe(self.function, "the function"), params)


class _Walk:
    """Describes values by their content; each function once, so that recursion ends."""

    def __init__(self, transform: Transform) -> None:
        self._transform = transform
        self._own = _top(getattr(transform.function, "__module__", None))
        self._seen: dict[int, int] = {}

    def describe(self, value: object, where: str) -> str:
        """A text that is equal for equal content; ``where`` says for messages what refers to it."""
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, (tuple, list)):
            inside = [self.describe(item, f"{where}[{i}]") for i, item in enumerate(value)]
            return f"{type(value).__name__}:{digest(*inside)}"
        if isinstance(value, (set, frozenset)):
            return f"set:{digest(*sorted(self.describe(item, where) for item in value))}"
        if isinstance(value, dict):
            return f"dict:{digest(*(self.describe(pair, where) for pair in value.items()))}"
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return (
                f"array:{value.dtype}:{value.shape}:{hashlib.sha256(value.tobytes()).hexdigest()}"
            )
        if isinstance(
            value, (pa.Array, pa.ChunkedArray, pa.Scalar, pa.Table, pa.RecordBatch, pa.Schema)
        ):
            return _arrow(value)
        if isinstance(value, pa.Field):
            return _arrow(pa.schema([value]))
        if isinstance(value, re.Pattern):  # its repr leaves out what is long
            return f"pattern:{value.pattern!r}:{value.flags}"
        if isinstance(value, types.CodeType):
            return self._code(value, where)
        if isinstance(value, Transform):
            return value.fingerprint
        if isinstance(value, functools.partial):
            return f"partial:{self.describe((value.func, value.args, value.keywords), where)}"
        return self._named(value, where)

    def _named(self, value: object, where: str) -> str:
        if isinstance(value, types.MethodType):
            return f"method:{self.describe((value.__func__, value.__self__), where)}"
        module = (
            value.__name__
            if isinstance(value, types.ModuleType)
            else getattr(value, "__module__", None)
        )
        if isinstance(value, np.ufunc):
            module = "numpy"
        name = getattr(value, "__qualname__", getattr(value, "__name__", None))
        kinds = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, np.ufunc)
        own = _top(module) == self._own and isinstance(value, types.FunctionType)
        if isinstance(value, kinds) and name is not None and not own:
            if name in _OPAQUE and value is getattr(builtins, name):
                raise self._refused(f"builtin {name!r}", where)
            release = _release(module)
            if release is not None:
                return f"named:{module}:{name}:{release}"
        if isinstance(value, types.FunctionType):
            return self._function(value, where)
        what = f"{type(value).__name__} {name or ''}".strip()
        raise self._refused(what, where)

    def _function(self, function: types.FunctionType, where: str) -> str:
        if id(function) in self._seen:
            return f"again:{self._seen[id(function)]}"
        self._seen[id(function)] = len(self._seen)
        where = f"{where}: {function.__qualname__}"
        try:
            closure = [cell.cell_contents for cell in function.__closure__ or ()]
        except ValueError:
            raise self._refused("a variable that has no value yet", where) from None
        parts = [
            self.describe(function.__code__, where),
            self.describe(function.__defaults__, f"{where}'s defaults"),
            self.describe(function.__kwdefaults__, f"{where}'s defaults"),
            self.describe(closure, f"{where}'s closure"),
        ]
        for name in sorted(set(_globals_of(function.__code__))):
            if name in function.__globals__:
                value = function.__globals__[name]
            elif hasattr(builtins, name):
                value = getattr(builtins, name)
            else:
                raise self._refused(f"undefined name {name!r}", where)
            parts += [name, self.describe(value, f"{where}: {name}")]
        return f"function:{digest(*parts)}"

    def _code(self, code: types.CodeType, where: str) -> str:
        for name, level in _imports_of(code):
            if level or _release(name) is None:
                raise self._refused(f"module {name!r}, imported inside the function", where)
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        inside = self.describe((code.co_consts, counts, names, code.co_exceptiontable), where)
        return f"code:{digest(code.co_code.hex(), inside, platform.python_version())}"

    def _refused(self, what: str, where: str) -> CacheError:
        return CacheError(
            f"transform {self._transform.name!r} cannot be fingerprinted: {where} is or refers to "
            f"{what}, whose content cannot be told; declare Transform(..., version=...) "
            f"and change the version with the code"
        )


def _globals_of(code: types.CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)


def _imports_of(code: types.CodeType) -> Iterator[tuple[str, int]]:
    steps = list(dis.get_instructions(code))
    for i, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            yield str(step.argval), int(steps[i - 2].argval)


def _arrow(
    value: pa.Array | pa.ChunkedArray | pa.Scalar | pa.Table | pa.RecordBatch | pa.Schema,
) -> str:
    if isinstance(value, pa.Schema):
        return f"schema:{hashlib.sha256(value.serialize()).hexdigest()}"
    if isinstance(value, pa.Scalar):
        value = pa.array([value.as_py()], value.type)
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        value = pa.table({"": value})
    table = pa.Table.from_batches([value]) if isinstance(value, pa.RecordBatch) else value
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return f"arrow:{hashlib.sha256(sink.getvalue()).hexdigest()}"


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]


@functools.cache
def _release(module: str | None) -> str | None:
    """Version of what ships the module; None for a module that nothing installed vouches for.

    A package that runs from its source tree, such as an editable install, changes under a constant
    version, and so counts as nothing installed.
    """
    top = _top(module)
    if top in sys.stdlib_module_names or top == "builtins":
        return f"python {platform.python_version()}"
    names = importlib.metadata.packages_distributions().get(top, ())
    spec = importlib.util.find_spec(top) if names else None
    places = list(spec.submodule_search_locations or (spec.origin,)) if spec else []
    releases = []
    for name in sorted(set(names)):
        found = importlib.metadata.distribution(name)
        root = Path(str(found.locate_file(""))).resolve()
        inside = places and all(Path(str(place)).resolve().is_relative_to(root) for place in places)
        if inside and found.read_text("RECORD") is not None:
            releases.append(f"{name} {found.version}")
    return ", ".join(releases) or None
