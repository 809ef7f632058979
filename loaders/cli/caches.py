"""``kvlake cache ls``, ``stats``, ``verify`` and ``evict``."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from connector.errors import CacheError, OptionError, ShardCorruptError
from loaders.cache import MANIFEST
from loaders.cli.opening import add_json
from loaders.cli.output import Found
from loaders.eviction import Policy
from loaders.files import translated
from loaders.manifest import Manifest
from loaders.nearby import MARK, Nearby, check_file, is_read
from loaders.stats import CacheStats, with_events


def add_commands(commands: Any) -> None:
    """The commands of this module."""
    cache = commands.add_parser("cache", help="what a cache directory holds")
    actions = cache.add_subparsers(required=True, metavar="ACTION")
    for name, run, about in (
        ("ls", _ls, "its seals"),
        ("stats", _stats, "hits, misses, evictions and rebuilds of each seal"),
        ("verify", _verify, "check every shard's checksum; exit code 1 if one is damaged"),
        ("evict", _evict, "let shards go down to a limit, or remove a seal"),
    ):
        action = actions.add_parser(name, help=about)
        action.add_argument("directory", type=lambda text: Path(text).expanduser().absolute())
        add_json(action)
        action.set_defaults(run=run)
        if name == "evict":
            action.add_argument("--limit-bytes", type=int, help="of shards that have a home")
            action.add_argument("--policy", choices=get_args(Policy)[:-1], default="scan")
            action.add_argument("--seal", help="remove it; as ls names it, or how that begins")


def _ls(given: argparse.Namespace) -> Found:
    return Found({"seals": [_told(seal) for seal in _seals(given.directory)]})


def _stats(given: argparse.Namespace) -> Found:
    found = [
        {"seal": _name(seal), **asdict(with_events(CacheStats(), seal))}
        for seal in _seals(given.directory)
    ]
    return Found({"seals": found})


def _verify(given: argparse.Namespace) -> Found:
    damaged = []
    checked = 0
    for seal in _seals(given.directory):
        manifest = _manifest(seal)
        for shard in manifest.shards if manifest else ():
            path = seal / shard.name
            if not path.exists() and (seal / MARK).exists():  # it comes when it is wanted
                continue
            checked += 1
            try:
                check_file(path, shard)
            except (ShardCorruptError, FileNotFoundError) as error:
                why = "it is missing" if isinstance(error, FileNotFoundError) else "other bytes"
                damaged.append({"seal": _name(seal), "shard": shard.name, "why": why})
    return Found({"shards": checked, "damaged": damaged}, good=not damaged)


def _evict(given: argparse.Namespace) -> Found:
    if (given.seal is None) == (given.limit_bytes is None):
        raise OptionError("evict needs either --limit-bytes or --seal")
    before = _bytes(given.directory)
    if given.seal is not None:
        _remove(given.directory, given.seal)
    else:
        Nearby(given.directory, given.limit_bytes, given.policy).make_room(0)
    after = _bytes(given.directory)
    return Found({"bytes before": before, "bytes now": after})


def _remove(root: Path, name: str) -> None:
    found = [seal for seal in _seals(root) if _name(seal).startswith(name)]
    if len(found) != 1:
        raise OptionError(f"{len(found)} seals begin with {name!r}; see kvlake cache ls {root}")
    if is_read(found[0]):
        raise CacheError(f"seal {_name(found[0])} is being read")
    with translated(root):
        shutil.rmtree(found[0])


def _seals(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise CacheError(f"there is no cache directory {root}")
    yield from sorted(
        path for path in root.glob("*/*") if path.is_dir() and path.name[:2] in ("v-", "t-")
    )


def _name(seal: Path) -> str:
    return f"{seal.parent.name}/{seal.name}"


def _manifest(seal: Path) -> Manifest | None:
    path = seal / MANIFEST
    return Manifest.from_json(path.read_bytes(), path) if path.exists() else None


def _told(seal: Path) -> dict[str, Any]:
    manifest = _manifest(seal)
    here = sum(path.stat().st_size for path in seal.glob("*.arrow"))
    told: dict[str, Any] = {"seal": _name(seal), "complete": manifest is not None}
    if manifest is not None:
        told |= {
            "version": manifest.version,
            "rows": manifest.rows,
            "shards": len(manifest.shards),
            "bytes": manifest.total_bytes,
            "splits": list(manifest.splits),
        }
    return told | {"bytes here": here, "has a home": (seal / MARK).exists()}


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("*/*/*.arrow"))
