"""Options into redis-py's connections: logins, TLS, credential providers, protocol."""

from __future__ import annotations

import contextlib
import importlib
import ssl
from collections.abc import Iterator
from typing import Any, TypeAlias

import redis
from redis.connection import Connection, SSLConnection, parse_url

from connector.errors import OptionError
from connector.redis.options import RedisOptions

Address: TypeAlias = tuple[str, int]

_TLS = {  # ours -> redis-py's
    "tls_ca_file": "ssl_ca_certs",
    "tls_cert_file": "ssl_certfile",
    "tls_key_file": "ssl_keyfile",
    "tls_key_password": "ssl_password",
}

_TLS_HINTS = {  # what a failed first connection says, the more special first
    "certificate is not valid for": "the server's certificate is for another host: reach it by the name "
    "in there, or set option 'tls.check.hostname' to false",
    "CERTIFICATE_VERIFY_FAILED": "name the authority that signed the server's certificate by option "
    "'tls.ca.file'",
    "Timeout": "it may speak no TLS at this port",
    "connecting to": "",
    "": "where a server breaks TLS off at once, it asks for a client's certificate that it trusts: options "
    "'tls.cert.file' and 'tls.key.file'",
}


def connection_settings(options: RedisOptions) -> dict[str, Any]:
    """What every connection is made with, as arguments of ``redis.ConnectionPool``.

    Connections answer in RESP2 and in bytes, whatever the URL's query asks for: with RESP2 no push
    message can come among the replies. What the URL says wins over the options.

    Raises:
        OptionError: TLS options are given for a connection without TLS, or the credential provider
            cannot be made, or certificates cannot be read.
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
        _check_files(options)
        return {**tls, **found}
    if tls:
        raise OptionError(
            "TLS options are given for a connection without TLS: write rediss:// in the URL, or set "
            "option 'tls'"
        )
    return found


@contextlib.contextmanager
def tls_explained(settings: dict[str, Any]) -> Iterator[None]:
    """Say, where a first connection fails for TLS, what to do about it."""
    try:
        yield
    except redis.AuthenticationError:
        raise
    except (redis.ConnectionError, redis.TimeoutError) as error:
        text = str(error)
        hint = next(hint for sign, hint in _TLS_HINTS.items() if sign in text)
        if not (hint and issubclass(settings["connection_class"], SSLConnection)):
            raise
        raise type(error)(f"{text}; {hint}") from error


def elsewhere(settings: dict[str, Any], host: str, port: int) -> dict[str, Any]:
    """The same settings for another server."""
    rest = {name: value for name, value in settings.items() if name not in ("host", "port", "path")}
    return {**rest, "host": host, "port": port}


def pool(settings: dict[str, Any]) -> redis.ConnectionPool:
    """A pool of connections with these settings."""
    return redis.ConnectionPool(**settings)


def hello(client: redis.Redis) -> dict[bytes, Any]:
    """What a server says of itself; HELLO is asked, as every user may send it.

    Empty of a server older than Redis 6, which does not know it.
    """
    try:
        reply = client.execute_command("HELLO", 2)  # type: ignore[no-untyped-call]
    except redis.ResponseError:
        return {}
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _given(options: RedisOptions) -> dict[str, Any]:
    """What the URL says, or in its place host, port and database; the class of connections too."""
    if options.url is not None:
        found: dict[str, Any] = parse_url(options.url)  # type: ignore[no-untyped-call]
    else:
        found = {"host": options.host, "port": options.port, "db": options.db}
    found.setdefault("connection_class", SSLConnection if options.tls else Connection)
    return found


def _check_files(options: RedisOptions) -> None:
    """Read the certificates once: what is wrong with them is no fault of a server."""
    try:
        context = ssl.create_default_context(cafile=options.tls_ca_file)
    except OSError as error:
        raise OptionError(
            f"option 'tls.ca.file': {options.tls_ca_file!r} holds no certificates that can be read "
            f"here: {error.strerror or error}"
        ) from error
    if options.tls_cert_file is None:
        return
    try:  # without a password OpenSSL would ask for one at the terminal
        context.load_cert_chain(
            options.tls_cert_file, options.tls_key_file, options.tls_key_password or ""
        )
    except OSError as error:
        raise OptionError(
            f"options 'tls.cert.file' and 'tls.key.file': {options.tls_cert_file!r} and "
            f"{options.tls_key_file!r} are no certificate with its key that can be read here, with "
            f"'tls.key.password' where the key has one: {error.strerror or error}"
        ) from error


def _login(options: RedisOptions) -> dict[str, Any]:
    if options.credential_provider is None:
        return _present({"username": options.username, "password": options.password})
    module, _, name = options.credential_provider.rpartition(".")
    try:
        provider = getattr(importlib.import_module(module), name)()
    except (
        ImportError,
        LookupError,
        RuntimeError,
        OSError,
        AttributeError,
        TypeError,
        ValueError,
    ) as error:
        raise OptionError(
            f"option 'credential.provider': {options.credential_provider!r} is not a class that can be "
            f"imported here and made without arguments: {error}"
        ) from error
    if not isinstance(provider, redis.CredentialProvider):
        raise OptionError(
            f"option 'credential.provider': {options.credential_provider!r} is no CredentialProvider "
            f"of redis-py"
        )
    return {"credential_provider": provider}


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
