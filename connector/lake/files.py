"""The files of a lake's table: which there are, and how they are opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from connector.errors import MissingDependencyError, OptionError, StoreError, TableNotFoundError
from connector.options import masked_url

try:
    import fsspec
except ModuleNotFoundError as error:
    raise MissingDependencyError("lakes need fsspec: pip install 'kvlake[lake]'") from error

FORMATS = {
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
"""The endings of files, by format."""

_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Storage:
    """A filesystem, as fsspec opens it; ``options`` may be secret."""

    url: str
    options: tuple[tuple[str, Any], ...]

    def __repr__(self) -> str:
        return f"Storage({masked_url(self.url)!r})"

    def open(self) -> tuple[Any, str]:
        """The filesystem, and the place in it.

        Raises:
            OptionError: fsspec does not know the URL.
            MissingDependencyError: it knows it by a package that is not installed.
        """
        try:
            filesystem, place = fsspec.url_to_fs(self.url, **dict(self.options))
        except ImportError as error:
            raise MissingDependencyError(f"{masked_url(self.url)}: {error}") from error
        except (ValueError, TypeError) as error:
            raise OptionError(f"{masked_url(self.url)} cannot be opened: {error}") from error
        return filesystem, place.rstrip("/")


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One file.

    Attributes:
        path: in its filesystem.
        state: changes when the file does.
        constants: columns that all its rows have in common, by its place in the table.
    """

    path: str
    state: str
    constants: tuple[tuple[str, Any], ...] = ()


@contextlib.contextmanager
def opened(filesystem: Any, path: str) -> Iterator[Any]:
    """A file, mapped into memory where it is local.

    Raises:
        StoreError: it is gone, or cannot be read.
    """
    try:
        local = "file" in filesystem.protocol
        with pa.memory_map(path) if local else filesystem.open(path, "rb") as file:
            yield file
    except OSError as error:  # Arrow's errors are none, but for those of files
        raise StoreError(f"file {path} of the lake cannot be read: {error}") from error


def listed(storage: Storage, format: str | None) -> tuple[str, list[LakeFile]]:
    """The format of a table and its files, by name; of a file, of a directory, or by a pattern.

    Names that begin with ``_`` or ``.`` are not data. Directories such as ``day=7`` make columns.

    Raises:
        TableNotFoundError: there are none.
        OptionError: the files are of different formats, or of none that is known.
    """
    filesystem, place = storage.open()
    try:
        if any(sign in place for sign in "*?["):
            found = filesystem.glob(place)
        elif filesystem.isdir(place):
            found = filesystem.find(place)
        else:
            found = [place] if filesystem.exists(place) else []
        data = sorted(path for path in found if _is_data(path, place))
        states = [str(filesystem.ukey(path)) for path in data]
    except OSError as error:
        raise StoreError(f"{masked_url(storage.url)} cannot be listed: {error}") from error
    if not data:
        raise TableNotFoundError(f"there are no data files at {masked_url(storage.url)}")
    format = format or _format(data, storage)
    root = place.partition("*")[0]
    return format, [
        LakeFile(path, state, _constants(path[len(root) :]))
        for path, state in zip(data, states, strict=True)
    ]


def constant_types(files: Sequence[LakeFile]) -> Mapping[str, pa.DataType]:
    """The types of the columns that stand in directories' names: int64 where all are whole, else text."""
    found: dict[str, pa.DataType] = {}
    for file in files:
        for name, value in file.constants:
            whole = value is None or (value.isascii() and value.lstrip("-").isdigit())
            known = found.get(name, pa.int64())
            found[name] = known if whole else pa.string()
    return found


def _is_data(path: str, root: str) -> bool:
    return not any(part.startswith(("_", ".")) for part in path[len(root) :].split("/") if part)


def _format(paths: Sequence[str], storage: Storage) -> str:
    found = {
        next((name for name, endings in FORMATS.items() if path.endswith(endings)), None)
        for path in paths
    }
    known = found.pop()
    if found or known is None:
        raise OptionError(
            f"the files at {masked_url(storage.url)} do not end in one of the known ways "
            f"({', '.join(end for endings in FORMATS.values() for end in endings)}): name the format, or "
            f"choose files by a pattern, such as dir/*.parquet"
        )
    return known


def _constants(path: str) -> tuple[tuple[str, str | None], ...]:
    pairs = (part.partition("=") for part in path.split("/")[:-1])
    return tuple(
        (unquote(name), None if value == _NULL else unquote(value))
        for name, sign, value in pairs
        if sign
    )
