"""Options: what they say to the client, what they refuse, and what of them is never shown."""

from __future__ import annotations

import pickle
from typing import Any

import aerospike
import pytest

from connector import OptionError, open_store
from connector.aerospike import AerospikeOptions
from connector.aerospike.connecting import client_config

URL = "aerospike://db.example:4000/flights"


def config(**given: Any) -> dict[str, Any]:
    return client_config(AerospikeOptions.parse({"url": URL, **given}))


def test_where_the_cluster_is() -> None:
    assert config(nodes="b.example,[::1]:5000")["hosts"] == [
        ("db.example", 4000),
        ("b.example", 3000),
        ("::1", 5000),
    ]
    alone = AerospikeOptions.parse({"aerospike.seedhost": "a,b:1", "aerospike.namespace": "ns"})
    assert client_config(alone)["hosts"] == [("a", 3000), ("b", 1)]
    assert (alone.location, alone.in_namespace) == ("aerospike://a:3000,b:1/ns", "ns")
    ported = {"aerospike.seedhost": "a,b:1", "aerospike.port": "4", "namespace": "ns"}
    assert AerospikeOptions.parse(ported).seeds == (("a", 4), ("b", 1))
    assert AerospikeOptions.parse({"url": URL}).location == URL
    assert config(alternate_services=True)["use_services_alternate"] is True
    racks = config(rack_id=3, replica="prefer-rack")
    assert (racks["rack_aware"], racks["rack_id"]) == (True, 3)
    assert racks["policies"]["query"]["replica"] == aerospike.POLICY_REPLICA_PREFER_RACK


def test_who_connects() -> None:
    url = "aerospike://anna:s%40cret@db.example/flights"
    found = client_config(AerospikeOptions.parse({"url": url, "auth.mode": "external"}))
    assert (found["user"], found["password"]) == ("anna", "s@cret")
    assert found["auth_mode"] == aerospike.AUTH_EXTERNAL
    assert config(username="b", password="c", auth_mode="pki")["auth_mode"] == aerospike.AUTH_PKI
    assert "user" not in config() and "tls" not in config()


def test_tls() -> None:
    found = config(
        tls=True,
        tls_name="cluster",
        tls_ca_file="ca.pem",
        tls_cert_file="a.pem",
        tls_key_file="a.key",
        tls_key_password="hush",
    )
    assert found["hosts"] == [("db.example", 4000, "cluster")]
    assert found["tls"] == {
        "enable": True,
        "cafile": "ca.pem",
        "certfile": "a.pem",
        "keyfile": "a.key",
        "keyfile_pw": "hush",
    }
    assert config(tls=True)["hosts"] == [("db.example", 4000, "db.example")]


def test_how_long_to_wait() -> None:
    found = config(
        timeout_seconds=2, socket_timeout_seconds=0.5, max_retries=7, connect_timeout_seconds=3
    )
    policies = found["policies"]
    patient = {"total_timeout": 2000, "socket_timeout": 500, "max_retries": 7}
    for kind in ("read", "write", "operate", "remove", "batch", "batch_parent_write"):
        assert patient.items() <= policies[kind].items(), kind
    assert policies["query"]["total_timeout"] == 0, "a scan takes as long as it takes"
    assert policies["query"]["socket_timeout"] == 500
    assert found["connect_timeout"] == 3000
    assert config(**{"aerospike.timeout": "1500"})["policies"]["read"]["total_timeout"] == 1500
    assert config(compression=True)["policies"]["read"]["compress"] is True
    master = config(commit_level="master")["policies"]["write"]["commit_level"]
    assert master == aerospike.POLICY_COMMIT_LEVEL_MASTER


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "aerospike://h"}, "namespace"),
        ({"namespace": "ns"}, "'url' or 'nodes'"),
        ({"url": "aerospike:///ns"}, "expected aerospike://"),
        ({"url": "redis://h/0"}, "expected aerospike://"),
        ({"url": "aerospike://h/a/b"}, "expected aerospike://"),
        ({"url": "aerospike://h:port/a"}, "expected aerospike://"),
        ({"url": URL, "namespace": "other"}, "either in the URL"),
        ({"url": URL, "tls.cert.file": "a.pem"}, "belong together"),
        ({"url": URL, "replica": "prefer-rack"}, "rack.id"),
        ({"url": URL, "partition.factor": "16"}, "from 0 to 15"),
        ({"url": URL, "bin.names": "a=1234567890123456"}, "at most 15 bytes"),
        ({"url": URL, "bin.names": "a=x,b=x"}, "another bin"),
        ({"url": URL, "bin.names": "a"}, "column=bin"),
        ({"url": URL, "sindx": "off"}, "did you mean 'sindex'"),
    ],
)
def test_what_cannot_be(given: dict[str, str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        AerospikeOptions.parse(given)


def test_secrets_are_not_shown() -> None:
    url = "aerospike://anna:s3cret@127.0.0.1:1/test"
    options = AerospikeOptions.parse({"url": url, "tls_key_password": "hush"})
    store = open_store(url, password="pa55", connect_timeout_seconds=1)
    with pytest.raises(Exception) as error:
        store.schema("t")
    shown = (
        f"{options!r} {options.location} {store.location} {error.value!r} {error.value.__cause__!r}"
    )
    assert "anna" in repr(options)
    for secret in ("s3cret", "hush", "pa55"):
        assert secret not in shown
    assert pickle.loads(pickle.dumps(store)).location == store.location
