"""``kvlake``: tables, seals and caches from the command line.

Exit codes: 0 done; 1 it could not be done, or damage was found; 2 the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from connector.errors import ConnectorError
from loaders.cli import caches, sealing, tables
from loaders.cli.output import shown

_EPILOG = """\
URL is of a store (redis://host:6379/0, aerospike://host:3000/test) or of files (s3://bucket/t, /data/t), then
without TABLE. env:NAME takes it from the environment, where other users of the machine do not see passwords.

examples:
  kvlake inspect redis://localhost:6379/0 flights
  kvlake plan aerospike://localhost:3000/test flights --parts 16
  kvlake seal env:STORE flights --version 2013-12 --cache ~/.cache/kvlake --splits train=0.9,test=0.1
  kvlake copy redis://localhost:6379/0 flights aerospike://localhost:3000/test --filter "month <= 10"
  kvlake cache verify ~/.cache/kvlake
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="kvlake",
        description="Tables in key-value stores and lakes, and their seals.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (tables, sealing, caches):
        room.add_commands(commands)
    given = parser.parse_args(arguments)
    try:
        found = given.run(given)
        shown(found.told, as_json=given.json)
    except ConnectorError as error:
        print(f"kvlake: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if found.good else 1
