"""Files that appear whole or not at all, under a local directory; what crashes leave is swept.

A file is written under a private name, locked for as long as its writer lives, and gets its own name
when it is complete and on disk. The kernel drops the lock of a writer that dies, so a private file
that nobody has locked is rubbish, whichever process, container or machine left it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from connector.errors import CacheError

PRIVATE = ".private-"
"""How the names of files begin that are not whole yet."""

_ADVICE = {
    errno.ENOSPC: "free some space, or name another cache directory; what is sealed stays sealed",
    errno.EDQUOT: "free some space, or name another cache directory; what is sealed stays sealed",
    errno.EROFS: "name a cache directory that can be written",
    errno.EACCES: "name a cache directory that can be written",
    errno.EPERM: "name a cache directory that can be written",
}


@contextlib.contextmanager
def translated(directory: Path) -> Iterator[None]:
    """Re-raise the system's errors as CacheError that names the directory."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "look at the directory's disk and permissions")
        raise CacheError(
            f"the shard cache {directory}: {error.strerror or error}; {advice}"
        ) from error


@contextlib.contextmanager
def private_file(directory: Path) -> Iterator[BinaryIO]:
    """A new locked file under a private name; it is removed unless it was published by then."""
    while True:
        path = directory / f"{PRIVATE}{uuid.uuid4().hex}"
        with open(path, "xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:  # swept between its creation and the lock
                continue
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)
            return


def publish(file: BinaryIO, path: Path, *, replace: bool) -> bool:
    """Give a private file its own name, once its bytes are on disk.

    Args:
        file: from ``private_file``, of the same directory.
        path: the name.
        replace: whether a file of that name is replaced, or kept.

    Returns:
        Whether ``path`` is this file now; False if another was kept.
    """
    file.flush()
    os.fsync(file.fileno())
    if replace:
        os.replace(file.name, path)
    else:
        try:
            os.link(file.name, path)
        except FileExistsError:
            return False
    sync_directory(path.parent)
    return True


def write_once(path: Path, content: bytes) -> bytes:
    """Publish ``content`` unless there is a file already; the content that is there then."""
    with translated(path.parent):
        with private_file(path.parent) as file:
            file.write(content)
            if publish(file, path, replace=False):
                return content
        return path.read_bytes()


def sync_directory(directory: Path) -> None:
    """Make renames in the directory survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(directory: Path) -> None:
    """Remove private files whose writers are dead."""
    for path in directory.glob(f"{PRIVATE}*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
