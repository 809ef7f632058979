"""Users of a server who may do less than everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

from servers import Server

from topology.nodes import Node


@contextmanager
def with_user(server: Server | Node, name: str, password: str, *rules: str) -> Iterator[str]:
    """A user of the server for the length of a block; gives the URL with this login.

    Args:
        server: where the user is added; the nodes of a cluster do not tell each other.
        name: what the user is called; there must be nobody of that name.
        password: what the user must give.
        rules: ACL rules such as ``"+@read"`` and ``"~flights:*"``; without them nothing is allowed.
    """
    assert server.raw.acl_getuser(name) is None, f"there is a user {name!r} already"
    server.raw.execute_command("ACL SETUSER", name, "on", f">{password}", *rules)
    try:
        place = urlsplit(server.url)
        login = f"{quote(name, safe='')}:{quote(password, safe='')}"
        yield place._replace(netloc=f"{login}@{place.hostname}:{place.port}").geturl()
    finally:
        server.raw.acl_deluser(name)
