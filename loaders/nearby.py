"""Shards near at hand: a cache on local disk, with a limit, of seals that have a home elsewhere.

<cache>/<definition>/<version>/   as loaders.cache has it; a file ``home`` marks seals whose shards may go
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

from connector.errors import CacheError, ShardCorruptError
from loaders.eviction import Cached, Policy, victims
from loaders.files import PRIVATE, private_file, publish, translated
from loaders.home import Home
from loaders.manifest import Shard
from loaders.stats import note

MARK = "home"
_LOCKS = 64
_READERS = ".readers"


class Pin:
    """Keeps a shard's file from going, for as long as it is held; by the kernel, so that it ends with us."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  held open on purpose
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


@dataclass(frozen=True)
class Nearby:
    """The local files of all seals of a cache directory, together under a limit.

    Attributes:
        root: the cache directory.
        limit_bytes: most bytes of shards; None for no limit. Shards that are mapped or that have no home do
            not go; they count.
        policy: see loaders.eviction.
        shard_max_age_seconds: of policy ``ttl``.
    """

    root: Path
    limit_bytes: int | None = None
    policy: Policy = "scan"
    shard_max_age_seconds: float | None = None

    def fetch(self, home: Home, directory: Path, shard: Shard) -> None:
        """Bring a shard from its home, unless another process just did.

        Raises:
            ShardCorruptError: the home does not have it, or has other bytes.
            CacheError: it cannot be brought, or there is no room for it.
        """
        path = directory / shard.name
        with translated(self.root), self._lock(f"fetch-{zlib.crc32(shard.name.encode()) % _LOCKS}"):
            if path.exists():
                return
            with private_file(directory) as file:
                self.make_room(shard.bytes, file)
                if not home.fetch(shard.name, file):
                    raise ShardCorruptError(f"shard {shard.name} is not at {home!r}")
                file.flush()
                check_file(Path(file.name), shard)
                publish(file, path, replace=True)
            note(directory, "fetched", shard.name, shard.bytes)

    def make_room(self, wanted: int, file: BinaryIO | None = None) -> None:
        """Let shards go until so many bytes more are within the limit.

        Args:
            wanted: how many.
            file: to be given that size, so that others count it from now on.

        Raises:
            CacheError: what may not go leaves no room.
        """
        if self.limit_bytes is None and self.policy != "ttl":
            return
        with translated(self.root), self._lock("evict"):
            held, may_go = self._held()
            now = time.time()
            for shard, too_old in victims(may_go, self.policy, now, self.shard_max_age_seconds):
                full = self.limit_bytes is not None and held + wanted > self.limit_bytes
                if (full or too_old) and _removed(Path(shard.name)):
                    held -= shard.bytes
                    gone = Path(shard.name)
                    note(gone.parent, "evicted", gone.name, shard.bytes)
            if self.limit_bytes is not None and held + wanted > self.limit_bytes:
                raise CacheError(
                    f"the shard cache {self.root}: limit_bytes is {self.limit_bytes}, {held} bytes are in "
                    f"use, or have no home, and {wanted} more are wanted; raise it to {held + wanted}"
                )
            if file is not None:
                file.truncate(wanted)

    def _held(self) -> tuple[int, list[Cached]]:
        """Bytes of all shards here, and those that may go."""
        held = 0
        may_go = []
        for directory in self.root.glob("*/*"):
            mark = (directory / MARK).exists()
            active = mark and is_read(directory)
            for path in (*directory.glob("*.arrow"), *directory.glob(f"{PRIVATE}*")):
                with contextlib.suppress(FileNotFoundError):
                    found = path.stat()
                    held += found.st_size
                    if mark and path.suffix:
                        may_go.append(
                            Cached(str(path), found.st_size, found.st_mtime, found.st_atime, active)
                        )
        return held, may_go

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with open(locks / name, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def check_file(path: Path, shard: Shard) -> None:
    """Raise ShardCorruptError unless the file has the shard's size and checksum."""
    content = path.read_bytes()
    if len(content) != shard.bytes or xxhash.xxh3_64_hexdigest(content) != shard.checksum:
        raise ShardCorruptError(f"shard {shard.name} has other bytes than its manifest says")


def used(path: Path) -> None:
    """Note that a shard is opened now, where the cache can be written."""
    with contextlib.suppress(OSError):
        found = path.stat()
        os.utime(path, ns=(time.time_ns(), found.st_mtime_ns))
        note(path.parent, "hit", path.name, found.st_size)


def reading(directory: Path) -> Pin | None:
    """Say that this process reads a seal, for as long as what is returned is held."""
    try:
        (directory / _READERS).touch()
        return Pin(directory / _READERS)
    except OSError:  # a cache that cannot be written gives nothing up either
        return None


def is_read(directory: Path) -> bool:
    """Whether a process reads the seal, as far as it said so."""
    with _alone(directory / _READERS) as alone:
        return not alone


def _removed(path: Path) -> bool:
    """Remove a shard unless it is pinned."""
    with _alone(path) as alone:
        if alone:
            path.unlink(missing_ok=True)
        return alone


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody holds a file, or there is none; nobody takes hold of it meanwhile."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except FileNotFoundError:
            pass
        yield True
