"""Which source a command line names."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from connector.errors import OptionError
from connector.options import masked_url
from connector.registry import is_store, open_store
from connector.source import Source
from connector.store import Store


def add_source(parser: argparse.ArgumentParser, *, table: bool = True) -> None:
    """The arguments by which a source is named."""
    parser.add_argument("url", help="of a store, or of files; env:NAME for the environment's")
    if table:
        parser.add_argument("table", nargs="?", help="name of the store's table")
    parser.add_argument("--columns", type=_names, help="names joined by commas; all by default")
    parser.add_argument("--filter", help="the rows wanted, such as \"month <= 10 AND city = 'a'\"")
    parser.add_argument("--key", type=_names, default=(), help="the columns that name a row")
    parser.add_argument("--parts", type=int, default=8, help="about how many partitions")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments that all commands have which open something."""
    parser.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further option of the store, or of the filesystem",
    )
    add_json(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The argument that all commands have."""
    parser.add_argument("--json", action="store_true", help="print JSON")


@contextlib.contextmanager
def opened_source(given: argparse.Namespace, **more: Any) -> Iterator[Source]:
    """The source that a command line names; ``more`` goes to a store's ``source``."""
    url = url_of(given.url)
    if not is_store(url):
        from connector.lake import LakeSource

        if given.table is not None:
            raise OptionError(f"{masked_url(url)} is no store, and has no table {given.table!r}")
        yield LakeSource(
            url,
            columns=given.columns,
            filter=given.filter,
            row_key=given.key,
            parts=given.parts,
            storage_options=options_of(given.option),
        )
        return
    if given.table is None:
        raise OptionError(f"name the table of {masked_url(url)}")
    with opened_store(url, given.option) as store:
        yield store.source(
            given.table,
            columns=given.columns,
            filter=given.filter,
            key=given.key,
            parts=given.parts,
            **more,
        )


@contextlib.contextmanager
def opened_store(url: str, options: list[str]) -> Iterator[Store]:
    """The store of a URL."""
    named = {name.replace(".", "_"): value for name, value in options_of(options).items()}
    with open_store(url, **named) as store:
        yield store


def url_of(text: str) -> str:
    """The URL that an argument stands for.

    Raises:
        OptionError: the environment has no such variable.
    """
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if name not in os.environ:
        raise OptionError(f"the environment has no variable {name!r} with a URL")
    return os.environ[name]


def options_of(given: list[str]) -> dict[str, str]:
    """Options by name.

    Raises:
        OptionError: one is not NAME=VALUE.
    """
    pairs = [text.partition("=") for text in given]
    if not all(sign for _, sign, _ in pairs):
        raise OptionError("an option is given as NAME=VALUE")  # which may be a secret
    return {name: value for name, _, value in pairs}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
