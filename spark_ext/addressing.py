"""Where a call of ours goes: a URL or the name of a format, options, and the session's defaults for both."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import SparkSession

from connector.errors import OptionError
from connector.options import masked_url

_FORMATS = {  # by URL scheme
    "aerospike": "aerospike",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
}
_DEFAULTS = "spark.kvlake.{}."


def addressed(
    spark: SparkSession, url: str, options: Mapping[str, object]
) -> tuple[str, dict[str, str]]:
    """The format that serves a URL, and its options as Spark carries them.

    The session's configuration has defaults for each format: ``spark.kvlake.redis.timeout.seconds`` is
    the option ``timeout.seconds`` of ``redis``, where a call does not give that itself.

    Args:
        spark: the session.
        url: where the store is; or the name of a format, for the session's ``url`` of that.
        options: of the call, with ``_`` for ``.`` in their names; those that are None are not given.

    Raises:
        OptionError: there is no format for the URL, or the session has no URL for the format.
    """
    kind = _format(url)
    prefix = _DEFAULTS.format(kind)
    defaults = {
        name.removeprefix(prefix): text
        for name, text in spark.conf.getAll.items()
        if name.startswith(prefix)
    }
    given = {
        name.replace("_", "."): _text(name, value)
        for name, value in options.items()
        if value is not None and value != []
    }
    if url != kind:
        given["url"] = url
    elif "url" not in defaults:
        raise OptionError(
            f"no URL for {kind!r}: give one, such as {kind}://host, or set {prefix}url in the session"
        )
    return kind, defaults | given


def _format(url: str) -> str:
    scheme = url.partition("://")[0]
    if scheme not in _FORMATS or (scheme == url and url not in _FORMATS.values()):
        known = ", ".join(f"{each}://" for each in _FORMATS)
        raise OptionError(f"Spark cannot reach {masked_url(url)!r}; known are {known}")
    return _FORMATS[scheme]


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        if any("," in str(each) for each in value):
            raise OptionError(
                f"option {name!r}: Spark carries names joined by commas; none may hold one"
            )
        return ",".join(map(str, value))
    return str(value)
