"""Clients: how the official client is set up, and what its errors mean."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import aerospike
from aerospike import exception

from connector.aerospike.choices import AuthMode, CommitLevel, Replica
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.results import error_of
from connector.aerospike.wire.nodes import Address, Owners, owners
from connector.aerospike.wire.scanning import Cluster
from connector.aerospike.wire.sockets import Sockets
from connector.errors import OptionError, StoreError, StoreUnavailableError

COMMIT_LEVELS = {
    CommitLevel.ALL: aerospike.POLICY_COMMIT_LEVEL_ALL,
    CommitLevel.MASTER: aerospike.POLICY_COMMIT_LEVEL_MASTER,
}
"""What the client calls them."""

_AUTH = {
    AuthMode.INTERNAL: aerospike.AUTH_INTERNAL,
    AuthMode.EXTERNAL: aerospike.AUTH_EXTERNAL,
    AuthMode.EXTERNAL_INSECURE: aerospike.AUTH_EXTERNAL_INSECURE,
    AuthMode.PKI: aerospike.AUTH_PKI,
}
_REPLICA = {
    Replica.SEQUENCE: aerospike.POLICY_REPLICA_SEQUENCE,
    Replica.MASTER: aerospike.POLICY_REPLICA_MASTER,
    Replica.ANY: aerospike.POLICY_REPLICA_ANY,
    Replica.PREFER_RACK: aerospike.POLICY_REPLICA_PREFER_RACK,
}
_REMEMBERED = 200  # queries: more than a server does
_COMPRESSED_FROM = 4096  # bytes of a request


class Connection:
    """The client of one store in this process; a forked process has its own."""

    def __init__(self, options: AerospikeOptions) -> None:
        self._options = options
        self._client: Any = None
        self._cluster: Cluster | None = None
        _LIVING.add(self)

    @property
    def client(self) -> Any:
        """The client, connected when it is first asked for.

        Raises:
            StoreUnavailableError, AuthenticationError: no node answers, or it refuses the user.
            OptionError: there is no such namespace.
        """
        if self._client is None:
            with translated(f"connecting to {self._options.location}"):
                self._client = aerospike.client(client_config(self._options))
            self._check_namespace()
        return self._client

    def run(self, doing: str, query: Callable[[], object]) -> None:
        """Run a query of the client.

        Again where the server says that it is invalid, once there was a fork: the client numbers its
        queries at random, a forked process and its parent go on with the same numbers, and the server
        refuses one that it has seen of late.
        """
        with translated(doing):
            for _ in range(_REMEMBERED if _FORKED else 0):
                with contextlib.suppress(exception.InvalidRequest):
                    query()
                    return
            query()

    def count(self, doing: str, query: Callable[[], Any], policy: Mapping[str, Any]) -> int:
        """How many records a query of the client gives, without their bins.

        Args:
            doing: for messages.
            query: makes it; made anew, it counts from the beginning.
            policy: what it is run with.
        """
        found = 0

        def counted() -> None:
            nonlocal found
            records = itertools.count()
            query().foreach(lambda *_: next(records), dict(policy), {"nobins": True})
            found = next(records)

        self.run(doing, counted)
        return found

    @functools.cached_property
    def builds(self) -> list[str]:
        """The versions of the nodes."""
        return self.info("build")

    def _check_namespace(self) -> None:
        wanted = self._options.in_namespace
        known = {name for answer in self.info("namespaces") for name in answer.split(";")}
        if wanted not in known:
            self.close()
            raise OptionError(
                f"there is no namespace {wanted!r} in {self._options.location}: there are "
                f"{', '.join(sorted(known))}"
            )

    @property
    def cluster(self) -> Cluster:
        """The nodes, for scans over the columnar wire."""
        if self._cluster is None:
            options = self._options
            sockets = Sockets(options.connect_timeout_seconds, options.socket_timeout_seconds)
            self._cluster = Cluster(self._owners, sockets)
        return self._cluster

    def _owners(self) -> Owners:
        """Who owns the partitions now, by those nodes that answer.

        Raises:
            StoreUnavailableError: none does.
        """
        doing = f"asking {self._options.location} who has which partition"
        with translated(doing):
            places = self.client.get_node_names()
            answers = self.client.info_all("replicas")
        told: dict[Address, str] = {}
        for node in places:
            error, answer = answers.get(node["node_name"], (None, None))
            if answer and not error:
                told[node["address"], node["port"]] = str(answer)
        if not told:
            raise StoreUnavailableError(f"{doing}: no node answers")
        return owners(self._options.in_namespace, told)

    def close(self) -> None:
        """Close what is open; it is made again if it is asked for again."""
        if self._cluster is not None:
            self._cluster.sockets.close()
            self._cluster = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def abandon(self) -> None:
        """Forget the client without closing it.

        To close one, or to let it be collected, waits for its thread, which a forked process does not
        have: there it must live on, unused.
        """
        self._cluster = None
        if self._client is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._client))
            self._client = None

    def info(self, command: str) -> list[str]:
        """What every node answers to an info command.

        Raises:
            StoreError: a node could not be asked.
        """
        with translated(f"asking {self._options.location} for {command.partition(':')[0]!r}"):
            answers = self.client.info_all(command)
        refused = [error for error, _ in answers.values() if error]
        if refused:
            raise StoreError(f"asking {self._options.location} for {command!r}: {refused[0]}")
        return [str(text).rstrip("\n") for _, text in answers.values()]


_LIVING: weakref.WeakSet[Connection] = weakref.WeakSet()


_FORKED: list[int] = []
"""The processes, this one or its parent, that a fork was seen in."""


def _after_fork() -> None:
    _FORKED[:] = [os.getpid()]


def _abandon_all() -> None:
    _after_fork()
    for connection in _LIVING:
        connection.abandon()


os.register_at_fork(after_in_child=_abandon_all, after_in_parent=_after_fork)


def client_config(options: AerospikeOptions) -> dict[str, Any]:
    """The configuration of the client, with the policies of every kind of request."""
    request = {
        "total_timeout": _milliseconds(options.timeout_seconds),
        "socket_timeout": _milliseconds(options.socket_timeout_seconds),
        "max_retries": options.max_retries,
        "compress": options.compression,
    }
    read = request | {"replica": _REPLICA[options.replica]}
    scan = read | {"total_timeout": 0}
    write = request | {"commit_level": COMMIT_LEVELS[options.commit_level]}
    config: dict[str, Any] = {
        "hosts": [
            (host, port, options.tls_name or host) if options.tls else (host, port)
            for host, port in options.seeds
        ],
        "use_services_alternate": options.alternate_services,
        "connect_timeout": _milliseconds(options.connect_timeout_seconds),
        "login_timeout_ms": _milliseconds(options.connect_timeout_seconds),
        "auth_mode": _AUTH[options.auth_mode],
        "policies": {
            "read": read,
            "write": write,
            "operate": write,
            "remove": write,
            "batch": read | {"concurrent": True},
            "batch_parent_write": request | {"concurrent": True},
            "query": scan,
            "info": {"timeout": _milliseconds(options.timeout_seconds)},
        },
    }
    user, password = options.login
    if user is not None:
        config |= {"user": user, "password": password or ""}
    if options.rack_id is not None:
        config |= {"rack_aware": True, "rack_id": options.rack_id}
    if options.compression:
        config["compression_threshold"] = _COMPRESSED_FROM
    if options.tls:
        given = {
            "cafile": options.tls_ca_file,
            "certfile": options.tls_cert_file,
            "keyfile": options.tls_key_file,
            "keyfile_pw": options.tls_key_password,
        }
        config["tls"] = {"enable": True} | {name: one for name, one in given.items() if one}
    return config


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Re-raise client errors as store errors that say what was being done."""
    try:
        yield
    except exception.AerospikeError as error:
        raise error_of(error.code)(f"{doing}: {described(error)}") from error


def described(error: exception.AerospikeError) -> str:
    """What the client says of an error, with its code."""
    return f"{error.msg or type(error).__name__} (code {error.code})"


def pairs(text: str) -> dict[str, str]:
    """What an answer to an info command has, given as ``name=value`` separated by ``;`` or ``:``."""
    return dict(pair.partition("=")[::2] for pair in text.strip().replace(":", ";").split(";"))


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
