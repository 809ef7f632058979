"""Orders by which a test makes the server fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .server import Server


def obey(server: Server, name: str, argument: Any) -> None:
    """Carry out an order of the test."""
    _ORDERS[name](server, argument)


def _refuse_partitions(server: Server, partitions: list[int]) -> None:
    server.faults.unavailable = frozenset(partitions)


def _stop_writes(server: Server, stopped: bool) -> None:
    server.faults.stop_writes = stopped


def _drop_connections(server: Server, _: None) -> None:
    server.drop_connections()


def _kill_after(server: Server, records: int | None) -> None:
    server.faults.kill_after = records


def _cut_after(server: Server, records: int | None) -> None:
    server.faults.cut_after = records


def _delay(server: Server, seconds: float) -> None:
    server.faults.delay_seconds = seconds


_ORDERS: dict[str, Callable[[Server, Any], None]] = {
    "refuse_partitions": _refuse_partitions,
    "stop_writes": _stop_writes,
    "drop_connections": _drop_connections,
    "kill_after": _kill_after,
    "cut_after": _cut_after,
    "delay": _delay,
}
