"""Options of a Redis store."""

from __future__ import annotations

import enum
import warnings
from dataclasses import dataclass

import redis

from connector.arrow_tables.compression import ArrowCompression
from connector.errors import OptionError
from connector.options import (
    Options,
    addresses,
    boolean,
    choice,
    masked_url,
    milliseconds,
    option,
    seconds,
    url_location,
    whole,
)
from connector.reads import OnBadField

DEFAULT_PORT = 6379


class ModelName(enum.Enum):
    """How a table's rows lie in the server."""

    HASH = "hash"
    JSON = "json"
    STRING = "string"
    LIST = "list"
    SET = "set"
    ZSET = "zset"
    STREAM = "stream"
    ARROW = "arrow"


class ValueCodec(enum.Enum):
    """How the value of a string holds a row."""

    TEXT = "text"
    RAW = "raw"
    MSGPACK = "msgpack"
    JSON = "json"


class OnBadKey(enum.Enum):
    """What to do with a key under the table's prefix that holds another type."""

    ERROR = "error"
    SKIP = "skip"


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


def model_name(text: str) -> ModelName:
    """Parse the name of a model; that of spark-redis which is none here says why."""
    if text.lower() == "binary":
        raise ValueError(
            "spark-redis's rows of this model are serialised Java objects, which nothing but a JVM can "
            "read; read the table with spark-redis, and write it anew with model 'hash'"
        )
    return choice(ModelName)(text)


def no_grouping(text: str) -> int:
    """Parse an option of spark-redis that has nothing to say here, and say that."""
    size = whole(1)(text)
    warnings.warn(
        "option 'iterator.grouping.size' has no effect: rows are not taken from an iterator; how many "
        "are in a request says 'max.pipeline.size'",
        stacklevel=2,
    )
    return size


@dataclass(frozen=True, kw_only=True, repr=False)
class RedisOptions(Options):
    """How to reach a Redis server, a cluster or the master of Sentinels, and how to talk to it."""

    url: str | None = option(
        redis_url,
        doc="`redis://user:password@host:port/db`, `rediss://` for TLS, `unix:///path.sock`; of a "
        "cluster, any of its nodes; with `sentinel.master`, any of the Sentinels",
        default=None,
        show=masked_url,
    )
    host: str = option(doc="host, where there is no `url`", default="localhost")
    port: int = option(whole(1, 65535), doc="port, where there is no `url`", default=DEFAULT_PORT)
    db: int = option(
        whole(0), doc="database, where there is no `url`", default=0, aliases=("dbnum",)
    )
    nodes: tuple[tuple[str, int], ...] = option(
        addresses(DEFAULT_PORT),
        doc="`host:port,...`: further nodes of the cluster, or further Sentinels, to ask where the "
        "first does not answer",
        default=(),
    )
    sentinel_master: str | None = option(
        doc="the name by which Sentinels know the master; the URL is then that of a Sentinel",
        default=None,
    )
    sentinel_username: str | None = option(doc="user name for the Sentinels", default=None)
    sentinel_password: str | None = option(
        doc="password for the Sentinels", default=None, secret=True
    )
    username: str | None = option(
        doc="user name, where the URL has none", default=None, aliases=("user",)
    )
    password: str | None = option(
        doc="password, where the URL has none",
        default=None,
        secret=True,
        aliases=("auth",),
    )
    credential_provider: str | None = option(
        doc="`package.module.Class` of a redis-py CredentialProvider, made without arguments on every "
        "machine that connects",
        default=None,
    )
    tls: bool = option(
        boolean, doc="connect with TLS, as `rediss://` does", default=False, aliases=("ssl",)
    )
    tls_ca_file: str | None = option(
        doc="certificates of the authorities to trust (PEM); by default the system's", default=None
    )
    tls_cert_file: str | None = option(doc="the client's certificate (PEM)", default=None)
    tls_key_file: str | None = option(doc="the key of the client's certificate", default=None)
    tls_key_password: str | None = option(
        doc="password of the client's key", default=None, secret=True
    )
    tls_check_hostname: bool = option(
        boolean, doc="check that the server's certificate names its host", default=True
    )
    timeout_seconds: float = option(
        seconds,
        doc="how long to wait for the server to answer or to take bytes; `timeout`, as spark-redis "
        "has it, is in milliseconds",
        default=30.0,
        renamed={"timeout": milliseconds},
    )
    connect_timeout_seconds: float = option(
        seconds, doc="how long to wait for a connection", default=10.0
    )
    failover_seconds: float = option(
        seconds,
        doc="how long a cluster or Sentinels may take to replace a node that failed before a request "
        "to it is given up",
        default=30.0,
    )
    read_replicas: bool = option(
        boolean,
        doc="read from replicas where there are any: less load on the primaries, rows may be older",
        default=False,
    )
    model: ModelName | None = option(
        model_name,
        doc="how a table's rows lie: `hash`, `json` (documents), `string`, `list`, `set`, `zset`, "
        "`stream`, or `arrow` (record batches under few keys); by default as the table was written, and "
        "hashes for one that is not ours or is new",
        default=None,
    )
    value_codec: ValueCodec | None = option(
        choice(ValueCodec),
        doc="model `string`: what a value is: `text` of one column (by default), the `raw` bytes of one, "
        "or all columns as `msgpack` or `json`",
        default=None,
    )
    explode: bool = option(
        boolean,
        doc="models `list`, `set` and `zset`: a row for each element, with its index, member or score, "
        "in place of one with arrays",
        default=False,
    )
    keys_pattern: str | None = option(
        doc="reading: the rows are the keys that match this glob pattern, whatever the table's name; "
        "of a pattern `text*` the key column has what follows the text, else the whole key",
        default=None,
    )
    filter_keys_by_type: bool = option(
        boolean,
        doc="reading: let the server leave out keys of other types (SCAN TYPE), uncounted; not in a "
        "cluster",
        default=False,
    )
    on_bad_key: OnBadKey = option(
        choice(OnBadKey),
        doc="reading: a key of another type among the table's: `error`, or `skip` (counted)",
        default=OnBadKey.ERROR,
    )
    on_bad_field: OnBadField = option(
        choice(OnBadField),
        doc="a value that does not parse: `error`, `null` (read as null, counted), or `drop` "
        "(leave its row out, counted)",
        default=OnBadField.ERROR,
    )
    schema_sample: int = option(
        whole(1),
        doc="rows looked at to infer a schema that was not saved",
        default=1000,
    )
    infer_schema: bool = option(
        boolean, doc="infer the schema even where one was saved", default=False
    )
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
    iterator_grouping_size: int | None = option(
        no_grouping,
        doc="of spark-redis; has no effect, and a warning says so",
        default=None,
    )
    inflight_bytes: int = option(
        whole(1024),
        doc="writing: most bytes of requests on their way to the servers at once, in a task",
        default=32 << 20,
    )
    rows_per_second: int | None = option(
        whole(1), doc="most rows a second that a task reads or writes", default=None
    )
    wait_replicas: int = option(
        whole(0),
        doc="writing: a task has written when this many replicas of each node have its rows (WAIT); "
        "then a failover loses none that was reported as written",
        default=0,
    )
    arrow_rows: int = option(
        whole(1, 1_000_000),
        doc="model `arrow`, writing: most rows in one value; fewer where they are more than "
        "`max.pipeline.bytes`",
        default=16_384,
    )
    arrow_compression: ArrowCompression = option(
        choice(ArrowCompression),
        doc="model `arrow`, writing: `none`, `lz4` (fast) or `zstd` (small)",
        default=ArrowCompression.LZ4,
    )
    lookup_cache_rows: int = option(
        whole(0),
        doc="lookups: most rows that a store object keeps in memory; the server says when they change "
        "(client tracking, Redis 6 and later). Hashes in one server or behind Sentinels; 0 for none",
        default=0,
    )
    search_index: str | None = option(
        doc="reading with a `filter`: a RediSearch index over all rows of the table, one made without "
        "FILTER and SKIPINITIALSCAN, to find the rows by; not in a cluster",
        default=None,
    )

    def __post_init__(self) -> None:
        if self.url is not None and (self.host, self.port, self.db) != ("localhost", 6379, 0):
            raise OptionError("give either option 'url' or the options 'host', 'port' and 'db'")
        if self.credential_provider and (self.username or self.password):
            raise OptionError(
                "give either option 'credential.provider' or the options 'username' and 'password'"
            )
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise OptionError("options 'tls.cert.file' and 'tls.key.file' belong together")

    @property
    def location(self) -> str:
        """Where the server is, without secrets."""
        if self.url is not None:
            place = url_location(self.url)
        else:
            host = f"[{self.host}]" if ":" in self.host else self.host
            place = f"redis{'s' if self.tls else ''}://{host}:{self.port}/{self.db}"
        return f"{place}#{self.sentinel_master}" if self.sentinel_master else place
