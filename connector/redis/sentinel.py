"""What Sentinels say: who is the master of a name, who copies it, and whether that is changing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import redis
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.sentinel import SentinelConnectionPool

from connector.errors import OptionError, StoreUnavailableError
from connector.redis.connecting import Address, hello
from connector.redis.options import DEFAULT_PORT, RedisOptions

_PLACE = ("connection_class", "path", "host", "port", "db")
_ASIDE_SECONDS = 2.0
"""How long to wait for a connection to a Sentinel that nobody named: it may be out of reach."""


class Watch:
    """The Sentinels that watch a master, and connections to whom they name.

    They are reached as the servers are, TLS included, but with a login of their own.

    Args:
        settings: what the connections to the servers are made with.
        options: the master's name, further Sentinels, and their login.

    Raises:
        OptionError: the Sentinels watch no master of this name, or what answers is no Sentinel.
        redis.RedisError, OSError: no Sentinel answers.
    """

    def __init__(self, settings: dict[str, Any], options: RedisOptions) -> None:
        assert options.sentinel_master is not None
        if settings["connection_class"] is UnixDomainSocketConnection:
            raise OptionError("Sentinels are reached over TCP; give the URL of one of them")
        self._name = options.sentinel_master
        self._settings = _sentinel_settings(settings, options)
        first = (settings.get("host", "localhost"), settings.get("port", DEFAULT_PORT))
        self._given = list(dict.fromkeys([first, *options.nodes]))
        self._check_name()
        secure = {"ssl": True} if settings["connection_class"] is SSLConnection else {}
        servers = {name: value for name, value in settings.items() if name not in _PLACE}
        servers |= secure | {"db": settings.get("db", 0)}
        watchers = _SameReplica(self._given, sentinel_kwargs=self._settings)  # type: ignore[no-untyped-call]
        make: Any = SentinelConnectionPool
        self.master: redis.ConnectionPool = make(self._name, watchers, **servers)
        self.replica: redis.ConnectionPool = make(self._name, watchers, is_master=False, **servers)

    def confirm(self, written: set[Address], attempts: Iterable[None]) -> None:
        """Make sure that servers that were written to are the master still.

        While a replica takes the master's place, the old one goes on taking writes for seconds, and
        then forgets them. So every Sentinel is asked, as the one that leads knows first.

        Args:
            written: the servers.
            attempts: ask again for each of these while the master is being replaced.

        Raises:
            StoreUnavailableError: they are not, or no Sentinel answers.
        """
        named: Address | None = None
        for _ in attempts:
            named = self._named()
            if named is not None:
                break
        if {named} == written and self._leads():
            return
        says = f"Sentinels name {_listed([named])}" if named else "it is not known yet by which"
        raise StoreUnavailableError(
            f"the master {self._name!r} was replaced while {_listed(written)} was written to; {says}. "
            f"Rows that the old one acknowledged may be lost: write again"
        )

    def _named(self) -> Address | None:
        """Whom the Sentinel with the newest word names; None while one is replacing the master."""
        said = list(self._states())
        if any("failover_in_progress" in state["flags"] for state in said):
            return None
        newest = max(said, key=lambda state: int(state["config-epoch"]))
        return str(newest["ip"]), int(newest["port"])

    def _leads(self) -> bool:
        """Whether who is named takes itself for the master; so does a server that does not say."""
        role = hello(redis.Redis(connection_pool=self.master)).get(b"role", b"master")
        return bool(role == b"master")

    def _check_name(self) -> None:
        """Ask one Sentinel after the other, until one answers, whether it knows the name."""
        failed: Exception | None = None
        for address in self._given:
            with self._client(address) as client:
                try:
                    known = client.sentinel_masters()
                except redis.AuthenticationError as error:
                    raise redis.AuthenticationError(
                        f"the Sentinel at {_listed([address])}: {error}; its login is that of options "
                        f"'sentinel.username' and 'sentinel.password'"
                    ) from error
                except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                    failed = failed or error
                    continue
                except redis.ResponseError as error:
                    if not str(error).startswith("unknown command"):
                        raise
                    raise OptionError(
                        f"option 'sentinel.master' is given, but {_listed([address])} is no Sentinel: "
                        f"leave the option out, or give the URL of a Sentinel"
                    ) from error
            if self._name in known:
                return
            raise OptionError(
                f"option 'sentinel.master': the Sentinel at {_listed([address])} watches no master "
                f"{self._name!r}; it watches {', '.join(map(repr, sorted(known))) or 'none'}"
            )
        assert failed is not None
        raise redis.ConnectionError(
            f"none of the Sentinels {_listed(self._given)} answers: {failed}"
        ) from failed

    def _states(self) -> Iterator[dict[str, Any]]:
        """What each Sentinel says of the master: those that were given, and those they know of."""
        waiting = [(address, self._settings) for address in self._given]
        aside = self._settings | {"socket_connect_timeout": _ASIDE_SECONDS}
        seen = set(self._given)
        failed: Exception | None = None
        answered = False
        while waiting:
            address, settings = waiting.pop(0)
            with self._client(address, settings) as client:
                try:
                    state = client.sentinel_master(self._name)
                    others = client.sentinel_sentinels(self._name)
                except (redis.RedisError, OSError) as error:
                    failed = failed or error
                    continue
            answered = True
            yield state
            told = {(str(each["ip"]), int(each["port"])) for each in others} - seen
            seen |= told
            waiting += [(each, aside) for each in sorted(told)]
        if not answered:
            raise StoreUnavailableError(
                f"none of the Sentinels {_listed(self._given)} confirms that what was written to is "
                f"the master {self._name!r} still: {failed}; write again"
            ) from failed

    def _client(self, address: Address, settings: dict[str, Any] | None = None) -> redis.Redis:
        host, port = address
        return redis.Redis(host=host, port=port, **(settings or self._settings))


class _SameReplica(redis.sentinel.Sentinel):
    """Sentinels that name the same replica to whoever asks: ranges of cursors are of one server."""

    def discover_slaves(self, service_name: str) -> list[Any]:
        return sorted(super().discover_slaves(service_name))[:1]  # type: ignore[no-untyped-call]


def _sentinel_settings(settings: dict[str, Any], options: RedisOptions) -> dict[str, Any]:
    """What connections to Sentinels are made with. What fails is not tried again: others are."""
    login = {"username": options.sentinel_username, "password": options.sentinel_password}
    shared = ("socket_timeout", "socket_connect_timeout", "protocol")
    taken = {
        name: value for name, value in settings.items() if name in shared or name.startswith("ssl_")
    }
    secure = {"ssl": True} if settings["connection_class"] is SSLConnection else {}
    given = {name: value for name, value in login.items() if value is not None}
    return {**taken, **secure, **given, "decode_responses": True, "retry": None}


def _listed(addresses: Any) -> str:
    return ", ".join(f"{host}:{port}" for host, port in addresses) or "nobody"
