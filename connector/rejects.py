"""Where rows go that a server refuses: files of keys and reasons, in any directory fsspec knows."""

from __future__ import annotations

import json
import posixpath
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Self

from connector.errors import MissingDependencyError, WriteRejectedError


class RejectSink:
    """A file of JSON lines, ``{"table", "key", "reason"}``, made when the first row is rejected.

    Bytes of a key that are no UTF-8 text are written as Python escapes. One task writes one file;
    a task that runs again writes another.

    Args:
        path: the directory.
        limit: most rows.
        table: the table written to.
        job: the write job's id, the beginning of the file's name.
    """

    def __init__(self, path: str, limit: int, table: str, job: str) -> None:
        self._path = posixpath.join(path, f"{job}-{uuid.uuid4().hex[:12]}.jsonl")
        self._limit = limit
        self._table = table
        self._file: IO[str] | None = None
        self.rows = 0

    def add(self, reasons: Mapping[bytes, str]) -> None:
        """Note rejected keys, and why.

        Raises:
            WriteRejectedError: these are more than the limit; they are noted all the same.
            MissingDependencyError: fsspec is not installed.
        """
        if self._file is None:
            self._file = _opened(self._path)
        for key, reason in reasons.items():
            shown = key.decode("utf-8", "backslashreplace")
            print(
                json.dumps({"table": self._table, "key": shown, "reason": reason}), file=self._file
            )
        self.rows += len(reasons)
        if self.rows > self._limit:
            key, reason = next(iter(reasons.items()))
            raise WriteRejectedError(
                f"writing table {self._table!r}: {self.rows} rows were refused, and at most "
                f"{self._limit} may be (reject.limit), such as key {key!r}: {reason}. They are named in "
                f"{self._path}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()


def _opened(path: str) -> IO[str]:
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "option 'reject.path' needs the package 'fsspec': pip install fsspec"
        ) from error
    filesystem, place = fsspec.url_to_fs(path)
    filesystem.makedirs(posixpath.dirname(place), exist_ok=True)
    opened: IO[str] = filesystem.open(place, "w")
    return opened
