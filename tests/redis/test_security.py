"""Who may connect, and to what: TLS, users of little power, credential providers, sockets, databases."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from servers import Server, installed
from topology import Cluster, TlsServer, tls_server, with_user

from connector import (
    AuthenticationError,
    ConnectorError,
    OptionError,
    Store,
    StoreTimeoutError,
    StoreUnavailableError,
    TableNotFoundError,
    WriteOptions,
    open_store,
    read_all,
)
from connector.embedded import serve
from connector.redis import RedisOptions, RedisStore

BY_ID = WriteOptions(key=("id",))
ROWS = pa.record_batch({"id": range(5000), "text": [f"row {i}" for i in range(5000)]})
NEW = pa.record_batch({"id": [-1, -2, -3], "text": ["a", "b", "c"]})
READER = ("%R~flights:*", "+@read", "+scan")
WRITER = ("~flights:*", "~_kvlake:schema:flights", "-@all", "+get", "+set", "+hset", "+hdel")
CLUSTERED = ("+cluster|slots", "+cluster|getkeysinslot")
SECRET = "wrong-secret"


def ids(store: Store, table: str = "flights", **asked: object) -> list[int]:
    found = read_all(store.source(table, **asked))  # type: ignore[arg-type]
    return sorted(found.column("id").to_pylist())


def store_of(**given: object) -> RedisStore:
    """A store without a URL, its options as text, as Spark hands them over."""
    named = {name.replace("_", "."): str(value) for name, value in given.items()}
    return RedisStore(RedisOptions.parse(named))


@pytest.fixture(scope="module")
def _strict() -> Iterator[TlsServer]:
    with tls_server(installed("redis"), clients="yes") as found:
        yield found


@pytest.fixture(scope="module")
def _open() -> Iterator[TlsServer]:
    with tls_server(installed("redis"), clients="no", names=["elsewhere.test"]) as found:
        yield found


@pytest.fixture
def strict(_strict: TlsServer) -> TlsServer:
    """A server that asks clients for a certificate, empty."""
    _strict.raw.flushall()
    return _strict


@pytest.fixture
def misnamed(_open: TlsServer) -> TlsServer:
    """A server that asks for none, and whose own is for another host, empty."""
    _open.raw.flushall()
    return _open


def test_tls_with_a_certificate_on_both_sides(strict: TlsServer) -> None:
    files = {
        "tls_ca_file": strict.ca_file,
        "tls_cert_file": strict.cert_file,
        "tls_key_file": strict.key_file,
    }
    with open_store(strict.url, **files) as store:
        store.write("flights", [ROWS], BY_ID)
        assert ids(store) == list(range(5000))
    assert strict.raw.hgetall("flights:7") == {b"text": b"row 7"}
    with store_of(host="localhost", port=strict.port, tls=True, **files) as store:
        assert ids(store) == list(range(5000))
    with store_of(host="localhost", port=strict.port, ssl="true", **files) as store:
        assert ids(store) == list(range(5000))


def test_the_name_in_the_certificate_is_checked_unless_told_not_to(misnamed: TlsServer) -> None:
    with (
        open_store(misnamed.url, tls_ca_file=misnamed.ca_file) as store,
        pytest.raises(StoreUnavailableError, match=r"another host.*'tls\.check\.hostname'"),
    ):
        store.write("flights", [ROWS], BY_ID)
    unchecked = {"tls_ca_file": misnamed.ca_file, "tls_check_hostname": False}
    with open_store(misnamed.url, **unchecked) as store:
        store.write("flights", [ROWS], BY_ID)
    assert misnamed.raw.dbsize() == 5001


def test_a_name_that_need_not_fit_still_needs_the_right_authority(misnamed: TlsServer) -> None:
    given = {"tls_ca_file": misnamed.other_ca_file, "tls_check_hostname": False}
    with (
        open_store(misnamed.url, **given) as store,
        pytest.raises(StoreUnavailableError, match=r"'tls\.ca\.file'"),
    ):
        store.write("flights", [ROWS], BY_ID)
    assert misnamed.raw.dbsize() == 0


@pytest.mark.parametrize("authority", ["other_ca_file", None])
def test_an_unknown_authority_is_refused(strict: TlsServer, authority: str | None) -> None:
    given = {"tls_ca_file": getattr(strict, authority)} if authority else {}
    with (
        open_store(strict.url, **given) as store,
        pytest.raises(StoreUnavailableError, match=r"verify failed.*'tls\.ca\.file'"),
    ):
        store.schema("flights")


def test_a_client_without_the_right_certificate_is_told_what_it_needs(strict: TlsServer) -> None:
    with (
        open_store(strict.url, tls_ca_file=strict.ca_file) as store,
        pytest.raises(StoreUnavailableError, match=r"'tls\.cert\.file' and 'tls\.key\.file'"),
    ):
        store.schema("flights")
    stranger = {
        "tls_ca_file": strict.ca_file,
        "tls_cert_file": strict.stranger.cert_file,
        "tls_key_file": strict.stranger.key_file,
    }
    with (
        open_store(strict.url, **stranger) as store,
        pytest.raises(StoreUnavailableError, match=r"that it trusts: options 'tls\.cert\.file'"),
    ):
        store.schema("flights")


def test_files_that_cannot_be_read_are_named(strict: TlsServer, tmp_path: Path) -> None:
    with (
        open_store(strict.url, tls_ca_file="/nowhere.pem") as store,
        pytest.raises(OptionError, match=r"'tls\.ca\.file': '/nowhere\.pem'.*No such file"),
    ):
        store.schema("flights")
    (tmp_path / "empty.pem").touch()
    with (
        open_store(strict.url, tls_ca_file=tmp_path / "empty.pem") as store,
        pytest.raises(OptionError, match=r"'tls\.ca\.file'"),
    ):
        store.schema("flights")
    swapped = {"tls_cert_file": strict.key_file, "tls_key_file": strict.cert_file}
    with (
        open_store(strict.url, tls_ca_file=strict.ca_file, **swapped) as store,
        pytest.raises(OptionError, match=r"'tls\.cert\.file' and 'tls\.key\.file'"),
    ):
        store.schema("flights")


def test_a_key_with_a_password(strict: TlsServer, tmp_path: Path) -> None:
    key = load_pem_private_key(Path(strict.key_file).read_bytes(), None)
    locked = tmp_path / "locked.key"
    lock = BestAvailableEncryption(b"of-the-key")
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    files = {
        "tls_ca_file": strict.ca_file,
        "tls_cert_file": strict.cert_file,
        "tls_key_file": str(locked),
    }
    with open_store(strict.url, tls_key_password="of-the-key", **files) as store:
        store.write("flights", [ROWS], BY_ID)
        assert ids(store) == list(range(5000))
    for wrong in ({}, {"tls_key_password": SECRET}):
        with (
            open_store(strict.url, **files, **wrong) as store,
            pytest.raises(OptionError, match=r"'tls\.key\.password'") as caught,
        ):
            store.schema("flights")
        assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {store!r}"


def test_tls_options_belong_to_tls(strict: TlsServer) -> None:
    plain = strict.url.replace("rediss://", "redis://")
    with (
        open_store(plain, tls_ca_file=strict.ca_file) as store,
        pytest.raises(OptionError, match=r"without TLS: write rediss://"),
    ):
        store.schema("flights")
    with pytest.raises(OptionError, match="belong together"):
        open_store(strict.url, tls_cert_file=strict.cert_file)


def test_tls_to_a_server_without_it_and_the_other_way_round(
    redis_server: Server, strict: TlsServer
) -> None:
    with (
        open_store(redis_server.url.replace("redis://", "rediss://"), timeout_seconds=0.5) as store,
        pytest.raises(StoreTimeoutError, match="no TLS at this port"),
    ):
        store.schema("flights")
    with (
        open_store(strict.url.replace("rediss://", "redis://")) as store,
        pytest.raises(StoreUnavailableError),
    ):
        store.schema("flights")


def test_a_reader_reads_its_table_and_nothing_else(server: Server) -> None:
    with open_store(server.url) as store:
        store.write("flights", [ROWS], BY_ID)
        store.write("other", [ROWS], BY_ID)
        schema = store.schema("flights")
    before = server.raw.dbsize()
    with (
        with_user(server, "reader", "pw", *READER, "%R~_kvlake:schema:flights") as url,
        open_store(url) as store,
    ):
        assert ids(store) == list(range(5000))
        with pytest.raises(AuthenticationError, match=r"table 'other'.*permissions"):
            store.schema("other")
        with pytest.raises(AuthenticationError, match=r"table 'other'.*b'other:\d+'.*NOPERM"):
            ids(store, "other", schema=schema)
        with pytest.raises(AuthenticationError, match=r"table 'flights'.*permissions"):
            store.write("flights", [NEW], BY_ID)
        with pytest.raises(AuthenticationError, match=r"table 'new'.*permissions"):
            store.write("new", [ROWS], BY_ID)
    assert server.raw.dbsize() == before
    assert server.raw.exists("flights:-1") == 0


def test_a_given_schema_needs_no_right_to_the_saved_one(server: Server) -> None:
    with open_store(server.url) as store:
        store.write("flights", [ROWS], BY_ID)
        schema = store.schema("flights")
    with with_user(server, "reader", "pw", *READER) as url, open_store(url) as store:
        source = store.source("flights", schema=schema, parts=4)
        assert sorted(read_all(source).column("id").to_pylist()) == list(range(5000))


def test_columns_are_inferred_where_the_saved_schema_may_not_be_read(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(server.url) as store:
        store.write("flights", [ROWS], BY_ID)
    with with_user(server, "reader", "pw", *READER) as url, open_store(url) as store:
        with caplog.at_level(logging.WARNING):
            assert sorted(map(int, ids(store, key=["id"]))) == list(range(5000))
        assert "_kvlake:schema:flights" in caplog.text
        with pytest.raises(AuthenticationError, match=r"table 'flights'.*permissions"):
            store.write("flights", [ROWS], BY_ID)
    assert server.raw.dbsize() == 5001


def test_a_user_who_may_not_ask_for_the_run_reads_in_one_part(server: Server) -> None:
    with open_store(server.url) as store:
        store.write("flights", [ROWS], BY_ID)
    may = (*READER, "%R~_kvlake:schema:flights")
    with with_user(server, "reader", "pw", *may) as url, open_store(url) as store:
        assert len(store.source("flights", parts=4).partitions()) == 1
    with with_user(server, "reader", "pw", *may, "+info") as url, open_store(url) as store:
        assert len(store.source("flights", parts=4).partitions()) == 4
        assert ids(store) == list(range(5000))


def test_the_commands_that_a_reader_and_a_writer_need(server: Server) -> None:
    with with_user(server, "writer", "pw", *WRITER) as url, open_store(url) as store:
        store.write("flights", [ROWS], BY_ID)
    may = ("%R~flights:*", "%R~_kvlake:schema:flights", "-@all", "+get", "+dbsize", "+scan")
    with (
        with_user(server, "reader", "pw", *may, "+hmget", "+hlen", "+info") as url,
        open_store(url) as store,
    ):
        assert ids(store) == list(range(5000))
    assert server.raw.dbsize() == 5001


def test_the_commands_that_they_need_in_a_cluster(redis_cluster: Cluster) -> None:
    users = ("writer", "reader")
    reader = ("%R~flights:*", "%R~_kvlake:schema:flights", "-@all", "+get", "+hmget", "+hlen")
    login = {"username": "writer", "password": "pw"}
    for node in redis_cluster.nodes:
        rules = (*WRITER, *CLUSTERED), (*reader, *CLUSTERED, "+exists", "+readonly")
        for name, may in zip(users, rules, strict=True):
            node.raw.execute_command("ACL SETUSER", name, "on", ">pw", *may)
    try:
        with open_store(redis_cluster.url, **login) as store:
            store.write("flights", [ROWS], BY_ID)
        login["username"] = "reader"
        for replicas in (False, True):
            redis_cluster.await_copies()
            with open_store(redis_cluster.url, read_replicas=replicas, **login) as store:
                assert ids(store) == list(range(5000))
        with pytest.raises(AuthenticationError, match="flights"):
            open_store(redis_cluster.url, **login).write("flights", [ROWS], BY_ID)
    finally:
        for node in redis_cluster.nodes:
            node.raw.acl_deluser(*users)


@pytest.mark.parametrize("patient", [False, True])
def test_a_wrong_password_is_said_at_once_and_not_shown(patient: bool) -> None:
    with serve(password="right-secret") as server:
        place = server.url.rpartition("@")[2]
        login = {"username": "someone", "password": SECRET}
        for store in (
            open_store(f"redis://:{SECRET}@{place}"),
            open_store(f"redis://someone:{SECRET}@{place}"),
            open_store(f"redis://{place}", password=SECRET),
            open_store(f"redis://{place}", failover_seconds=30 if patient else 1, **login),
            store_of(host="127.0.0.1", port=server.port, user="someone", auth=SECRET),
        ):
            begun = time.monotonic()
            with store, pytest.raises(AuthenticationError, match="table 'flights'") as caught:
                store.schema("flights")
            with store, pytest.raises(AuthenticationError):
                store.write("flights", [ROWS], BY_ID)
            assert time.monotonic() - begun < 1.5
            assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {store!r}"


def test_a_wrong_password_of_a_cluster_is_said_at_once(redis_cluster: Cluster) -> None:
    begun = time.monotonic()
    login = {"username": "nobody", "password": SECRET}
    with (
        open_store(redis_cluster.url, **login) as store,
        pytest.raises(AuthenticationError, match="table 'flights'") as caught,
    ):
        store.schema("flights")
    assert time.monotonic() - begun < 1.5
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_login_in_the_url_and_by_options(server: Server) -> None:
    name, password = "jürgen", "p@ss/w:rd %41"
    with with_user(server, name, password, "~*", "+@all") as url:
        with open_store(url) as store:
            store.write("flights", [ROWS], BY_ID)
        with open_store(server.url, username=name, password=password) as store:
            assert ids(store) == list(range(5000))
            assert server.raw.acl_whoami() != name
        with store_of(
            host="127.0.0.1",
            port=server.raw.get_connection_kwargs()["port"],
            user=name,
            auth=password,
        ) as store:
            assert ids(store) == list(range(5000))


PROVIDERS = '''
from pathlib import Path
import redis

class FromFile(redis.CredentialProvider):
    """The password of the moment."""

    def get_credentials(self):
        return (Path(__file__).with_name("password").read_text(),)

class Failing(redis.CredentialProvider):
    def __init__(self):
        raise RuntimeError("no vault here")

class NeedsMore(redis.CredentialProvider):
    def __init__(self, vault):
        self.vault = vault

class NoProvider:
    pass
'''


@pytest.fixture
def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the path with the module ``login_providers``, which reads a file ``password``."""
    (tmp_path / "login_providers.py").write_text(PROVIDERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "login_providers", raising=False)
    return tmp_path


def test_a_provider_whose_password_changes(providers: Path) -> None:
    with serve(password="first") as server:
        place = f"redis://{server.url.rpartition('@')[2]}"
        (providers / "password").write_text("first")
        named = {"credential_provider": "login_providers.FromFile"}
        with redis.Redis.from_url(server.url) as raw, open_store(place, **named) as store:
            store.write("flights", [ROWS], BY_ID)
            raw.config_set("requirepass", "second")
            (providers / "password").write_text("second")
            raw.client_kill_filter(_type="normal", skipme=True)
            assert ids(store, parts=4) == list(range(5000))
            (providers / "password").write_text("stale")
            raw.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(AuthenticationError, match="flights") as caught:
                store.schema("flights")
            assert "stale" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("login_providers.Failing", "no vault here"),
        ("login_providers.NeedsMore", "made without arguments"),
        ("login_providers.Missing", "'login_providers.Missing'"),
        ("login_providers.NoProvider", "no CredentialProvider"),
        ("no_such_module.Class", "No module named"),
        ("Class", "'Class' is not a class"),
        (".Class", "'.Class' is not a class"),
    ],
)
def test_a_provider_that_cannot_be_made_is_said(
    providers: Path, server: Server, name: str, message: str
) -> None:
    with (
        open_store(server.url, credential_provider=name) as store,
        pytest.raises(OptionError, match=message),
    ):
        store.schema("flights")
    with pytest.raises(OptionError, match=r"'credential\.provider' or the options"):
        open_store(server.url, credential_provider=name, password="pw")


@pytest.mark.parametrize("binary", ["valkey", "redis"])
def test_a_unix_socket(binary: str) -> None:
    with serve(installed(binary), unix_socket=True, password="pw") as server:
        assert server.url.startswith("unix://")
        with open_store(server.url) as store, redis.Redis.from_url(server.url) as raw:
            store.write("flights", [ROWS], BY_ID)
            assert ids(store, parts=4) == list(range(5000))
            assert raw.dbsize() == 5001
        joined = "&" if "?" in server.url else "?"
        with open_store(f"{server.url}{joined}db=3") as store, pytest.raises(TableNotFoundError):
            store.schema("flights")
        with (
            open_store(server.url.replace("server.sock", "other.sock")) as store,
            pytest.raises(StoreUnavailableError, match=r"other\.sock"),
        ):
            store.schema("flights")


def test_a_table_of_one_database_is_not_in_another(server: Server) -> None:
    place = server.url.rpartition("/")[0]
    host, _, port = place.removeprefix("redis://").rpartition("@")[2].partition(":")
    try:
        with open_store(f"{place}/3") as store:
            store.write("flights", [ROWS], BY_ID)
            assert ids(store, parts=4) == list(range(5000))
        for name in ("db", "dbNum"):
            with store_of(host=host, port=port, **{name: 3}) as store:
                assert ids(store) == list(range(5000))
        for other in (open_store(f"{place}/0"), open_store(place), store_of(host=host, port=port)):
            with other, pytest.raises(TableNotFoundError):
                other.schema("flights")
        assert server.raw.dbsize() == 0
    finally:
        with redis.Redis.from_url(f"{place}/3") as raw:
            raw.flushdb()


def test_a_database_that_is_not_there(server: Server) -> None:
    place = server.url.rpartition("/")[0]
    with (
        open_store(f"{place}/99") as store,
        pytest.raises(ConnectorError, match="flights.*DB index"),
    ):
        store.schema("flights")


def test_a_cluster_has_one_database(redis_cluster: Cluster) -> None:
    place = redis_cluster.url.rpartition("/")[0]
    with (
        open_store(f"{place}/3") as store,
        pytest.raises(ConnectorError, match="a cluster, which has database 0 alone"),
    ):
        store.schema("flights")
