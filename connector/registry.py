"""Stores by URL scheme: which class serves it, and which extra installs it."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from connector.errors import MissingDependencyError, OptionError
from connector.store import Store

ENTRY_POINTS = "kvlake.stores"
"""Group in which other packages name their stores: ``scheme = package.module:Class``."""

_STORES = {  # scheme -> (class, extra)
    "memory": ("connector.memory:MemoryStore", None),
    "aerospike": ("connector.aerospike:AerospikeStore", "aerospike"),
    "redis": ("connector.redis:RedisStore", "redis"),
    "rediss": ("connector.redis:RedisStore", "redis"),
    "unix": ("connector.redis:RedisStore", "redis"),
}


def is_store(url: str) -> bool:
    """Whether a URL is of a store, built in or of another package, and not of files."""
    scheme = url.partition("://")[0]
    return scheme in _STORES or bool(entry_points(group=ENTRY_POINTS, name=scheme))


def store_class(scheme: str) -> type[Store]:
    """The class that serves URLs of this scheme.

    Raises:
        OptionError: no store serves it.
        MissingDependencyError: its client is not installed.
    """
    path, extra = _STORES.get(scheme, (None, None))
    if path is None:
        for found in entry_points(group=ENTRY_POINTS, name=scheme):
            path = found.value
    if path is None:
        raise OptionError(
            f"no store serves {scheme}:// URLs; known are {', '.join(sorted(_STORES))}"
        )
    module, _, name = path.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        raise MissingDependencyError(
            f"{scheme}:// needs the package {error.name!r}: pip install 'kvlake[{extra}]'"
        ) from error
    assert isinstance(loaded, type) and issubclass(loaded, Store)
    return loaded


def open_store(url: str, **options: object) -> Store:
    """Open the store that a URL names. No connection is made until the store is used.

    Args:
        url: ``redis://host:port/db``, ``rediss://...``, ``unix:///path.sock``,
            ``aerospike://host:port/namespace`` or ``memory://``.
        options: the store's options, with ``_`` for ``.`` in their names.

    Raises:
        OptionError: the URL or an option is malformed or unknown.
        MissingDependencyError: the store's client is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise OptionError("a store URL looks like redis://host:port/db; this one has no '://'")
    found = store_class(scheme)
    return found(found.options_class.parse({"url": url, **options}))
