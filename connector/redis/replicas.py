"""Waiting until replicas have what was written."""

from __future__ import annotations

from collections.abc import Iterable

from connector.errors import StoreUnavailableError
from connector.redis.commands import command
from connector.redis.link import Link


def await_replicas(
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
