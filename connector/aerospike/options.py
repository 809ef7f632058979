"""Options of an Aerospike store."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from connector.aerospike import connect_names
from connector.aerospike.choices import (
    AuthMode,
    CommitLevel,
    Expiry,
    GenerationPolicy,
    ModelName,
    NullBins,
    Replica,
    Wire,
)
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

DEFAULT_PORT = 3000
_UNTOLD_PORT = 0
MOST_BIN_NAME = 15
"""Characters in the name of a bin, at most."""


def aerospike_url(text: str) -> str:
    """Check that a URL names a host."""
    try:
        parts = urlsplit(text)
        fine = bool(parts.hostname and (parts.port or DEFAULT_PORT))
    except ValueError:  # the port is no number
        fine = False
    if (
        not fine
        or parts.scheme != "aerospike"
        or parts.query
        or parts.fragment
        or "/" in parts.path.strip("/")
    ):
        raise ValueError(
            "expected aerospike://user:password@host:port/namespace, special characters of the password "
            "written as %2F and the like"
        )
    return text


def bin_names(text: str) -> tuple[tuple[str, str], ...]:
    """Parse ``column=bin`` pairs separated by commas."""
    found: dict[str, str] = {}
    for item in text.split(","):
        column, _, name = (part.strip() for part in item.partition("="))
        if not column or not 0 < len(name.encode()) <= MOST_BIN_NAME or column in found:
            raise ValueError(
                f"expected column=bin, several separated by commas, with at most {MOST_BIN_NAME} bytes in "
                f"the name of a bin"
            )
        found[column] = name
    if len(set(found.values())) < len(found):
        raise ValueError("expected another bin for each column")
    return tuple(found.items())


def on_mistyped(text: str) -> OnBadField:
    """Parse whether values of other types than their columns' are nulls, as Aerospike Connect has it."""
    return OnBadField.NULL if boolean(text) else OnBadField.ERROR


@dataclass(frozen=True, kw_only=True, repr=False)
class AerospikeOptions(Options):
    """How to reach an Aerospike cluster, and how to talk to it."""

    url: str | None = option(
        aerospike_url,
        doc="`aerospike://user:password@host:port/namespace`, with any node of the cluster",
        default=None,
        show=masked_url,
    )
    nodes: tuple[tuple[str, int], ...] = option(
        addresses(_UNTOLD_PORT),
        doc="`host:port,...`: further nodes to ask where the first does not answer; without `url`, all "
        "of them",
        default=(),
        aliases=("aerospike.seedhost", "aerospike.seed-nodes"),
    )
    port: int = option(
        whole(1, 65535),
        doc="port of those `nodes` that are named without one",
        default=DEFAULT_PORT,
        aliases=("aerospike.port",),
    )
    namespace: str | None = option(
        doc="the namespace, where the URL has none", default=None, aliases=("aerospike.namespace",)
    )
    username: str | None = option(
        doc="user name, where the URL has none", default=None, aliases=("user", "aerospike.user")
    )
    password: str | None = option(
        doc="password, where the URL has none",
        default=None,
        secret=True,
        aliases=("aerospike.password",),
    )
    auth_mode: AuthMode = option(
        choice(AuthMode),
        doc="who checks the user: `internal`, `external` (LDAP and the like; needs TLS), "
        "`external-insecure`, or `pki` (the client's certificate). Enterprise servers",
        default=AuthMode.INTERNAL,
        aliases=("aerospike.auth.mode", "aerospike.authmode"),
    )
    tls: bool = option(
        boolean,
        doc="connect with TLS. Enterprise servers",
        default=False,
        aliases=("aerospike.tls.enable", "ssl"),
    )
    tls_name: str | None = option(
        doc="the name that the servers' certificates have; by default the host's", default=None
    )
    tls_ca_file: str | None = option(
        doc="certificates of the authorities to trust (PEM); by default the system's", default=None
    )
    tls_cert_file: str | None = option(doc="the client's certificate (PEM)", default=None)
    tls_key_file: str | None = option(doc="the key of the client's certificate", default=None)
    tls_key_password: str | None = option(
        doc="password of the client's key", default=None, secret=True
    )
    alternate_services: bool = option(
        boolean,
        doc="connect to the addresses that nodes name as alternate, as from another network",
        default=False,
        aliases=("aerospike.useservicesalternate",),
    )
    connect_timeout_seconds: float = option(
        seconds, doc="how long to wait for a connection, and for a login", default=10.0
    )
    timeout_seconds: float = option(
        seconds,
        doc="how long a request for records may take in all, retries included; scans have no such limit",
        default=30.0,
        renamed={"timeout": milliseconds, "aerospike.timeout": milliseconds},
    )
    socket_timeout_seconds: float = option(
        seconds,
        doc="how long to wait for the next bytes of a node before the request is tried again",
        default=10.0,
        renamed={"aerospike.sockettimeout": milliseconds},
    )
    max_retries: int = option(
        whole(0), doc="how often a request is tried again that failed on its way", default=5
    )
    failover_seconds: float = option(
        seconds,
        doc="reading: how long the cluster may take to replace a node that failed in the middle of a scan "
        "before the scan is given up",
        default=30.0,
    )
    replica: Replica = option(
        choice(Replica),
        doc="which copy of a record is read: `sequence` (the master, then others where it fails), `master`, "
        "`any`, or `prefer-rack` (that of `rack.id`)",
        default=Replica.SEQUENCE,
    )
    rack_id: int | None = option(
        whole(0),
        doc="the rack that this machine is in",
        default=None,
        aliases=("aerospike.rackid", "aerospike.rack-id"),
    )
    compression: bool = option(
        boolean,
        doc="compress what is sent and received. Enterprise servers",
        default=False,
        aliases=("aerospike.compression",),
    )
    partition_factor: int | None = option(
        whole(0, 15),
        doc="reading: 2 to this power is the number of partitions; in place of `partitions.number`",
        default=None,
        aliases=("aerospike.partition.factor",),
    )
    schema_sample: int = option(
        whole(1),
        doc="records looked at to infer a schema that was not saved",
        default=1000,
        aliases=("schema.scan", "aerospike.schema.scan"),
    )
    infer_schema: bool = option(
        boolean, doc="infer the schema even where one was saved", default=False
    )
    on_bad_field: OnBadField = option(
        choice(OnBadField),
        doc="a value that is not of its column's type, or a record without the key it was written with: "
        "`error`, `null` (read as null, counted), or `drop` (leave its row out, counted)",
        default=OnBadField.ERROR,
        renamed={"aerospike.schema.flexible": on_mistyped},
    )
    bin_names: tuple[tuple[str, str], ...] = option(
        bin_names,
        doc="`column=bin,...`: the bins of columns whose names are longer than 15 bytes, or other ones",
        default=(),
    )
    sindex: str = option(
        doc="reading with a `filter`: `auto` asks a secondary index where one fits, `off` never; or the name "
        "of the one to ask",
        default="auto",
        aliases=("aerospike.sindex",),
        renamed=connect_names.OF_SINDEX,
    )
    wire: Wire = option(
        choice(Wire),
        doc="reading: `auto` takes columns of flat types from the nodes by the columnar wire where they need "
        "neither TLS nor a login, which is several times as fast; `client` reads all by the official client",
        default=Wire.AUTO,
    )
    records_per_second: int | None = option(
        whole(1),
        doc="most records a second that a task reads from each node, or writes in all",
        default=None,
        aliases=("aerospike.recordspersecond", "aerospike.records-per-second"),
    )
    batch_max: int = option(
        whole(1, 100_000),
        doc="most records in one request of those asked for by key, or written",
        default=2000,
        aliases=("aerospike.batchmax", "aerospike.batch-max"),
    )
    send_key: bool = option(
        boolean,
        doc="writing: store the keys in the records, so that they can be read; without, the key columns "
        "are stored as bins",
        default=True,
        aliases=("aerospike.sendkey", "aerospike.send-key"),
        renamed=connect_names.OF_SEND_KEY,
    )
    null_bins: NullBins = option(
        choice(NullBins),
        doc="merging rows: a null is to `remove` its bin, or to `skip` it",
        default=NullBins.REMOVE,
    )
    default_expiry: Expiry = option(
        choice(Expiry),
        doc="writing without a ttl: `keep` the expiry that a record has (a new or replaced one gets that of "
        "the namespace), the `namespace`'s default, or `never`",
        default=Expiry.KEEP,
        renamed=connect_names.OF_EXPIRY,
    )
    generation_policy: GenerationPolicy = option(
        choice(GenerationPolicy),
        doc="writing rows with a column `__generation`: `ignore` it, or write only where the record's "
        "generation is `equal` to it, or the row's is `greater`; other rows are refused",
        default=GenerationPolicy.IGNORE,
        aliases=("aerospike.generationpolicy", "aerospike.generation.policy"),
        renamed=connect_names.OF_GENERATION,
    )
    commit_level: CommitLevel = option(
        choice(CommitLevel),
        doc="writing: a record is written with `all` its copies, or with the `master`'s",
        default=CommitLevel.ALL,
        aliases=("aerospike.commitlevel", "aerospike.commit-level"),
    )
    model: ModelName | None = option(
        choice(ModelName),
        doc="how a table is kept: `record` (a record for each row) or `arrow` (record batches, each in a "
        "record); by default as the table was written, and `record` for a new one",
        default=None,
    )
    arrow_rows: int = option(
        whole(1, 1_000_000),
        doc="model `arrow`, writing: most rows in one record; fewer where they are more than the server "
        "takes (`max-record-size`)",
        default=16_384,
    )
    arrow_compression: ArrowCompression = option(
        choice(ArrowCompression),
        doc="model `arrow`, writing: `none`, `lz4` (fast) or `zstd` (small)",
        default=ArrowCompression.LZ4,
    )
    durable_delete: bool = option(
        boolean,
        doc="deleting: leave a mark, so that no old copy comes back. Enterprise servers",
        default=False,
        aliases=("aerospike.durabledelete", "aerospike.durable-delete"),
    )
    feature_key: None = option(
        connect_names.no_licence,
        doc="of Aerospike Connect; has no effect, and a warning says so: no licence is needed",
        default=None,
        secret=True,
        aliases=("aerospike.featurekey", "aerospike.keypath"),
    )

    def __post_init__(self) -> None:
        if self.url is None and not self.nodes:
            raise OptionError("give option 'url' or 'nodes': where the cluster is")
        if not self.in_namespace:
            raise OptionError(
                "option 'namespace' is missing; it may also stand in the URL: aerospike://host:port/namespace"
            )
        if self.url is not None and self.namespace and self._url_namespace:
            raise OptionError("give the namespace either in the URL or as option 'namespace'")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise OptionError("options 'tls.cert.file' and 'tls.key.file' belong together")
        if self.replica is Replica.PREFER_RACK and self.rack_id is None:
            raise OptionError("replica 'prefer-rack' needs option 'rack.id'")

    @property
    def _url_namespace(self) -> str:
        return unquote(urlsplit(self.url or "").path.strip("/"))

    @property
    def in_namespace(self) -> str:
        """The namespace, from whichever option has it."""
        return self.namespace or self._url_namespace

    @property
    def seeds(self) -> tuple[tuple[str, int], ...]:
        """The hosts to ask first, with their ports."""
        parts = urlsplit(self.url or "")
        first = ((parts.hostname, parts.port or DEFAULT_PORT),) if parts.hostname else ()
        others = tuple((host, port or self.port) for host, port in self.nodes)
        return (*first, *others)

    @property
    def login(self) -> tuple[str | None, str | None]:
        """User name and password, from whichever options have them."""
        parts = urlsplit(self.url or "")
        name, word = (
            None if one is None else unquote(one) for one in (parts.username, parts.password)
        )
        return self.username or name, self.password or word

    @property
    def location(self) -> str:
        """Where the tables are, without secrets."""
        if self.url is not None:
            host = url_location(self.url).removesuffix("/").removesuffix(f"/{self._url_namespace}")
        else:
            host = "aerospike://" + ",".join(f"{host}:{port}" for host, port in self.seeds)
        return f"{host}/{self.in_namespace}"
