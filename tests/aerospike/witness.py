"""A raw client on each server that the tests of the test server compare: itself, and a real one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aerospike
import pytest
from aerospike import exception
from servers.aerospike import serve

KINDS = ["test server", "given server"]

# One scan may only end with its client; the defaults of a busy machine are too short.
_PATIENT = {"total_timeout": 30_000, "socket_timeout": 30_000}


@dataclass(frozen=True)
class Witness:
    """A server and a raw client of it.

    Attributes:
        host: where it listens.
        port: where it listens.
        namespace: the namespace to use.
        raw: a connected client.
        private: a server that was started for the tests, which may be emptied.
    """

    host: str
    port: int
    namespace: str
    raw: aerospike.Client
    private: bool

    def key(self, table: str, key: Any) -> tuple[str, str, Any]:
        """A key of this server's namespace."""
        return (self.namespace, table, key)

    def clear(self, table: str) -> None:
        """Remove all records of a set."""
        time.sleep(0.002)  # truncating leaves what was written in the same millisecond
        self.raw.truncate(self.namespace, table, 0)

    def info(self, request: str) -> str:
        """The answer of the only node to an info request, or its error's message."""
        try:
            ((error, answer),) = self.raw.info_all(request).values()
        except exception.AerospikeError as failed:
            return f"{failed.code}:{failed.msg}"
        assert error is None
        return str(answer).strip()

    def records(self, table: str, policy: dict[str, Any] | None = None) -> list[Any]:
        """All records that a scan with this policy gives."""
        return list(self.raw.query(self.namespace, table).results(policy or {}))


def code(call: Callable[[], Any]) -> int:
    """The result code that a call of the client ends with; 0 for success."""
    try:
        call()
    except exception.AerospikeError as failed:
        return int(failed.code)
    return 0


@contextmanager
def connected(host: str, port: int, namespace: str, *, private: bool) -> Iterator[Witness]:
    """A raw client on a server."""
    policies = dict.fromkeys(("read", "write", "operate", "remove", "batch"), _PATIENT)
    policies |= {"query": _PATIENT, "info": {"timeout": 30_000}}
    raw = aerospike.client({"hosts": [(host, port)], "policies": policies}).connect()
    try:
        yield Witness(host, port, namespace, raw, private)
    finally:
        raw.close()


@contextmanager
def witness_of(kind: str) -> Iterator[Witness]:
    """The server of this kind: the test server, or the one that TEST_AEROSPIKE_HOSTS names."""
    if kind == "test server":
        with serve() as server, connected(server.host, server.port, "test", private=True) as found:
            yield found
        return
    with given() as found:
        yield found


@contextmanager
def given() -> Iterator[Witness]:
    """The real server that the environment names."""
    hosts = os.environ.get("TEST_AEROSPIKE_HOSTS")
    if not hosts:
        pytest.skip("TEST_AEROSPIKE_HOSTS names no real server")
    host, _, port = hosts.partition(",")[0].partition(":")
    namespace = os.environ.get("TEST_AEROSPIKE_NAMESPACE", "test")
    with connected(host, int(port or 3000), namespace, private=False) as found:
        yield found
