"""``kvlake seal``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, get_args

from connector.errors import OptionError
from loaders.cli.opening import add_source, opened_source
from loaders.cli.output import Found
from loaders.seal import seal
from loaders.sealing import Progress
from loaders.shard_files import Compression


def add_commands(commands: Any) -> None:
    """The commands of this module."""
    parser = commands.add_parser("seal", help="a table into shards on local disk")
    add_source(parser)
    parser.add_argument("--cache", required=True, help="directory of all seals")
    parser.add_argument("--version", required=True, help="names the state of the data")
    parser.add_argument("--transform", metavar="MODULE:FUNCTION", help="of each RecordBatch")
    parser.add_argument("--splits", metavar="NAME=SHARE,...", help="such as train=0.9,test=0.1")
    parser.add_argument("--home", help="where the shards are kept, such as s3://bucket/seals")
    parser.add_argument("--limit-bytes", type=int, help="most bytes of shards in the cache")
    parser.add_argument("--compression", choices=get_args(Compression), default="none")
    parser.add_argument("--processes", type=int, default=1, help="how many read and write at once")
    parser.set_defaults(run=_seal)


def _seal(given: argparse.Namespace) -> Found:
    with opened_source(given) as source, _bar(given) as progress:
        shards = seal(
            source,
            transform=_function(given.transform) if given.transform else None,
            cache=given.cache,
            version=given.version,
            splits=_shares(given.splits) if given.splits else None,
            home=given.home,
            limit_bytes=given.limit_bytes,
            compression=given.compression,
            processes=given.processes,
            progress=progress,
        )
    told: dict[str, Any] = {
        "directory": str(shards.directory),
        "rows": shards.rows,
        "shards": len(shards.manifest.shards),
        "bytes": shards.manifest.total_bytes,
        "shards found": shards.stats.hits,
        "shards written": shards.stats.misses,
    }
    if shards.manifest.splits:
        told["splits"] = [
            {"split": name, "rows": shards.split(name).rows} for name in shards.manifest.splits
        ]
    return Found(told)


@contextlib.contextmanager
def _bar(given: argparse.Namespace) -> Iterator[Progress | None]:
    """A line in the terminal that tells how many partitions are sealed."""
    if given.json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("sealing", total=None)

        def told(done: int, planned: int, rows: int) -> None:
            bar.update(task, completed=done, total=planned, description=f"sealing: {rows:,} rows")

        yield told


def _function(text: str) -> Callable[..., Any]:
    module, _, name = text.partition(":")
    sys.path.insert(0, os.getcwd())  # as python -m does
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"--transform {text}: {error}") from error
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise OptionError(f"--transform {text}: this is no function")
    return found  # type: ignore[no-any-return]


def _shares(text: str) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in (part.split("=") for part in text.split(","))}
    except ValueError as error:
        raise OptionError(
            f"--splits {text}: expected names and shares, train=0.9,test=0.1"
        ) from error
