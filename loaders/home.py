"""The home of a seal's files: a directory on any filesystem that fsspec knows, which machines share."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from connector.errors import CacheError
from connector.options import masked_url

_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "r2"}
"""Where a file appears when it is whole, and a rename would copy it."""


@dataclass(frozen=True)
class Home:
    """A directory on a filesystem; files appear whole or not at all.

    Attributes:
        url: as fsspec has it.
        options: for fsspec, such as credentials.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def at(cls, url: str, options: Mapping[str, Any] | None) -> Home:
        """The home at a URL.

        Raises:
            OptionError, MissingDependencyError: fsspec does not know it, or not without another package.
        """
        home = cls(url.rstrip("/"), tuple((options or {}).items()))
        home._filesystem()
        return home

    def __repr__(self) -> str:
        return f"Home({masked_url(self.url)!r})"

    def inside(self, *names: str) -> Home:
        """A directory in it."""
        return replace(self, url="/".join((self.url, *names)))

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is none."""
        filesystem, place = self._filesystem()
        with self._translated("read"):
            try:
                content: bytes = filesystem.cat_file(f"{place}/{name}")
            except FileNotFoundError:
                return None
        return content

    def fetch(self, name: str, file: BinaryIO) -> bool:
        """Copy a file to an open one; False if there is none."""
        filesystem, place = self._filesystem()
        with self._translated("read"):
            try:
                with filesystem.open(f"{place}/{name}", "rb") as source:
                    shutil.copyfileobj(source, file, 1 << 22)
            except FileNotFoundError:
                return False
        return True

    def put(self, name: str, path: Path) -> None:
        """Keep a copy of a local file under a name."""
        with self._whole(name) as (filesystem, place):
            filesystem.put_file(str(path), place)

    def write(self, name: str, content: bytes) -> None:
        """Keep a file of this content under a name."""
        with self._whole(name) as (filesystem, place):
            filesystem.pipe_file(place, content)

    def write_once(self, name: str, content: bytes) -> bytes:
        """Keep it unless there is a file of the name already; the content that is there then."""
        found = self.read(name)
        if found is None:
            self.write(name, content)
            found = self.read(name)
        return content if found is None else found

    def names(self) -> list[str]:
        """The files that are there."""
        filesystem, place = self._filesystem()
        with self._translated("listed"):
            try:
                return [path.rsplit("/", 1)[-1] for path in filesystem.ls(place, detail=False)]
            except FileNotFoundError:
                return []

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        filesystem, place = self._filesystem()
        with self._translated("written"), contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(f"{place}/{name}")

    @contextlib.contextmanager
    def _whole(self, name: str) -> Iterator[tuple[Any, str]]:
        filesystem, place = self._filesystem()
        protocols = filesystem.protocol
        protocols = {protocols} if isinstance(protocols, str) else set(protocols)
        final = f"{place}/{name}"
        with self._translated("written"):
            if protocols & _OBJECT_STORES:
                yield filesystem, final
                return
            filesystem.makedirs(place, exist_ok=True)
            private = f"{place}/.private-{uuid.uuid4().hex}"
            try:
                yield filesystem, private
                filesystem.mv(private, final)
            except BaseException:
                with contextlib.suppress(OSError):
                    filesystem.rm_file(private)
                raise

    @contextlib.contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"the home of shards {masked_url(self.url)} cannot be {done}: {error}; look at its "
                f"filesystem and permissions"
            ) from error

    def _filesystem(self) -> tuple[Any, str]:
        from connector.lake.files import Storage  # needs fsspec, which may not be there

        return Storage(self.url, self.options).open()
