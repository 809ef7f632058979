"""The shard cache's directories: which seal lies where, what is whole in it, and what happened.

<cache>/<definition>/<version>/   plan.pickle, manifest.json, shards, partition records, events
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from loaders.files import private_file, publish, sync_directory, translated
from loaders.manifest import Manifest, Shard
from loaders.stats import note

MANIFEST = "manifest.json"
_TIMED = "t-"


def seal_directory(definition: Path, version: str) -> Path:
    """Where the seal of a named version lies. ``version`` is a digest."""
    return definition / f"v-{version}"


def timed_directory(definition: Path, max_age_seconds: float) -> Path:
    """Where the newest seal not older than this lies, whole ones first; else a new place.

    A seal's age counts from its begin. One from the future, as after a clock was set back, is not used.
    """
    now = time.time_ns() // 1_000_000
    oldest = now - max_age_seconds * 1000
    found = [
        (path.joinpath(MANIFEST).exists(), int(path.name[len(_TIMED) :]), path)
        for path in definition.glob(f"{_TIMED}*")
    ]
    usable = [entry for entry in found if oldest <= entry[1] <= now]
    return max(usable)[2] if usable else definition / f"{_TIMED}{now}"


def prepare(directory: Path) -> None:
    """Make the directory, or raise CacheError."""
    with translated(directory):
        directory.mkdir(parents=True, exist_ok=True)


def replace_manifest(directory: Path, manifest: Manifest) -> None:
    """Put another manifest in place of the one that is there."""
    with translated(directory), private_file(directory) as file:
        file.write(manifest.to_json())
        publish(file, directory / MANIFEST, replace=True)


def damaged(directory: Path, manifest: Manifest) -> list[Shard]:
    """Shards that are missing or have another size; checksums are verified when they are opened."""

    def size(shard: Shard) -> int:
        try:
            return (directory / shard.name).stat().st_size
        except FileNotFoundError:
            return -1

    with translated(directory):
        return [shard for shard in manifest.shards if size(shard) != shard.bytes]


def quarantine(directory: Path, shard: Shard) -> None:
    """Set a damaged shard aside; a missing one is already."""
    aside = directory / "quarantine"
    with translated(directory):
        aside.mkdir(exist_ok=True)
        try:
            os.rename(directory / shard.name, aside / f"{shard.name}.{uuid.uuid4().hex[:8]}")
        except FileNotFoundError:
            return
        sync_directory(directory)
        note(directory, "quarantined", shard.name)
