"""Making sure of what was written: replicas have it, and no server was replaced meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from connector.errors import StoreUnavailableError
from connector.redis.commands import command
from connector.redis.exchange import Links
from connector.redis.link import Link
from connector.redis.options import RedisOptions


def confirm_written(links: Links, options: RedisOptions, doing: str) -> None:
    """Wait for the replicas that are asked for, then make sure that no server was replaced.

    Raises:
        StoreUnavailableError: too few replicas have the rows in time, or a server was replaced.
    """
    if options.wait_replicas:
        _await_replicas(links, options.wait_replicas, options.timeout_seconds, doing)
    links.confirm()


def _await_replicas(
    links: Iterable[Link], replicas: int, timeout_seconds: float, doing: str
) -> None:
    """Wait until so many replicas of every node have what was written over the links to it.

    Raises:
        StoreUnavailableError: too few of them have it in time.
    """
    words = (b"WAIT", b"%d" % replicas, b"%d" % max(1, int(timeout_seconds * 1000) - 500))
    for link in links:
        link.send(command(*words))
        check_reached(int(link.statuses(1).numbers[0]), replicas, timeout_seconds, doing)


def check_reached(reached: int, replicas: int, timeout_seconds: float, doing: str) -> None:
    """Raise StoreUnavailableError where fewer replicas have the writes than were asked for."""
    if reached < replicas:
        raise StoreUnavailableError(
            f"{doing}: {reached} of {replicas} replicas had the rows within {timeout_seconds:g} "
            f"seconds; write again"
        )
