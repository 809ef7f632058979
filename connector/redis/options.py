"""Options of a Redis store."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import redis

from connector.options import Options, choice, masked_url, option, seconds, whole


class OnBadField(enum.Enum):
    """What to do with a stored value that does not parse as its column's type."""

    ERROR = "error"
    NULL = "null"
    DROP = "drop"


def redis_url(text: str) -> str:
    """Check that redis-py takes a URL."""
    try:
        redis.ConnectionPool.from_url(text)
    except (ValueError, TypeError):  # their texts can hold a part of the password
        raise ValueError(
            "expected redis://user:password@host:port/db, special characters of the password written "
            "as %2F and the like"
        ) from None
    return text


@dataclass(frozen=True, kw_only=True, repr=False)
class RedisOptions(Options):
    """How to reach a Redis server, and how to talk to it."""

    url: str = option(
        redis_url,
        doc="`redis://user:password@host:port/db`, `rediss://` for TLS, `unix:///path.sock`",
        default="redis://localhost:6379/0",
        show=masked_url,
    )
    username: str | None = option(doc="user name, where the URL has none", default=None)
    password: str | None = option(
        doc="password, where the URL has none",
        default=None,
        secret=True,
        aliases=("auth",),
    )
    timeout: float = option(
        seconds,
        doc="seconds to wait for the server to answer or to take bytes",
        default=30.0,
    )
    connect_timeout: float = option(seconds, doc="seconds to wait for a connection", default=10.0)
    scan_count: int = option(
        whole(1, 1_000_000),
        doc="COUNT given to SCAN: keys looked at per call",
        default=1000,
    )
    max_pipeline_size: int = option(
        whole(1, 1_000_000), doc="most rows in one request", default=2048
    )
    max_pipeline_bytes: int = option(
        whole(1024, 1 << 30),
        doc="about how many bytes of values in one request",
        default=4 << 20,
    )
    schema_sample: int = option(
        whole(1),
        doc="rows looked at to infer a schema that was not saved",
        default=1000,
    )
    on_bad_field: OnBadField = option(
        choice(OnBadField),
        doc="a value that does not parse: `error`, `null` (read as null, counted), or `drop` "
        "(leave its row out, counted)",
        default=OnBadField.ERROR,
    )
