"""Options into redis-py's connections: logins, TLS, credential providers, protocol."""

from __future__ import annotations

import importlib
from typing import Any

import redis
from redis.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

from connector.errors import OptionError
from connector.redis.options import DEFAULT_PORT, RedisOptions

_TLS = {  # ours -> redis-py's
    "tls_ca_file": "ssl_ca_certs",
    "tls_cert_file": "ssl_certfile",
    "tls_key_file": "ssl_keyfile",
    "tls_key_password": "ssl_password",
}
_PLACE = ("connection_class", "path", "host", "port", "db")


def connection_settings(options: RedisOptions) -> dict[str, Any]:
    """What every connection is made with, as arguments of ``redis.ConnectionPool``.

    Connections answer in RESP2 and in bytes, whatever the URL's query asks for: with RESP2 no push
    message can come among the replies. What the URL says wins over the options.

    Raises:
        OptionError: TLS options are given for a connection without TLS, or the credential provider
            cannot be made.
    """
    given = _given(options)
    found = {
        "socket_timeout": options.timeout_seconds,
        "socket_connect_timeout": options.connect_timeout_seconds,
        **_login(options),
        **given,
        "protocol": 2,
        "decode_responses": False,
    }
    tls = {theirs: getattr(options, ours) for ours, theirs in _TLS.items()}
    tls = {name: value for name, value in tls.items() if value is not None}
    if issubclass(found["connection_class"], SSLConnection):
        found.setdefault("ssl_check_hostname", options.tls_check_hostname)
        return {**tls, **found}
    if tls:
        raise OptionError(
            "TLS options are given for a connection without TLS: write rediss:// in the URL, or set "
            "option 'tls'"
        )
    return found


def elsewhere(settings: dict[str, Any], host: str, port: int) -> dict[str, Any]:
    """The same settings for another server."""
    rest = {name: value for name, value in settings.items() if name not in ("host", "port", "path")}
    return {**rest, "host": host, "port": port}


def pool(settings: dict[str, Any]) -> redis.ConnectionPool:
    """A pool of connections with these settings."""
    return redis.ConnectionPool(**settings)


def sentinel_pool(
    settings: dict[str, Any], options: RedisOptions
) -> tuple[redis.ConnectionPool, redis.ConnectionPool]:
    """Pools of connections to whatever server Sentinels name: the master, and its replicas.

    Sentinels are reached as the servers are, TLS included, but with a login of their own.
    """
    assert options.sentinel_master is not None
    if settings["connection_class"] is UnixDomainSocketConnection:
        raise OptionError("Sentinels are reached over TCP; give the URL of one of them")
    first = (settings.get("host", "localhost"), settings.get("port", DEFAULT_PORT))
    login = {"username": options.sentinel_username, "password": options.sentinel_password}
    tls = {name: value for name, value in settings.items() if name.startswith("ssl")}
    shared = {
        name: settings[name]
        for name in ("socket_timeout", "socket_connect_timeout", "protocol", "decode_responses")
    }
    secure = {"ssl": True} if settings["connection_class"] is SSLConnection else {}
    sentinel = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        [first, *options.nodes],
        sentinel_kwargs={**shared, **tls, **secure, **_present(login)},
    )
    servers = {name: value for name, value in settings.items() if name not in _PLACE}
    servers |= secure | {"db": settings.get("db", 0)}
    make: Any = redis.sentinel.SentinelConnectionPool
    return (
        make(options.sentinel_master, sentinel, **servers),
        make(options.sentinel_master, sentinel, is_master=False, **servers),
    )


def _given(options: RedisOptions) -> dict[str, Any]:
    """What the URL says, or in its place host, port and database; the class of connections too."""
    if options.url is not None:
        found: dict[str, Any] = parse_url(options.url)  # type: ignore[no-untyped-call]
    else:
        found = {"host": options.host, "port": options.port, "db": options.db}
    found.setdefault("connection_class", SSLConnection if options.tls else Connection)
    return found


def _login(options: RedisOptions) -> dict[str, Any]:
    if options.credential_provider is None:
        return _present({"username": options.username, "password": options.password})
    module, _, name = options.credential_provider.rpartition(".")
    try:
        provider = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise OptionError(
            f"option 'credential.provider': {options.credential_provider!r} is not a class that can be "
            f"imported here and made without arguments: {error}"
        ) from error
    return {"credential_provider": provider}


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
