"""Connections that stay open in a process, so that no task and no batch has to connect anew."""

from __future__ import annotations

import functools

from connector.redis.link import translated
from connector.redis.options import RedisOptions
from connector.redis.servers import Servers, connect


def connected(options: RedisOptions) -> Servers:
    """The servers of these options, the same ones at every call in this process.

    Raises:
        StoreError: they cannot be reached.
    """
    with translated(f"connecting to {options.location}"):
        return _connected(options)


@functools.lru_cache(maxsize=16)
def _connected(options: RedisOptions) -> Servers:
    return connect(options)
