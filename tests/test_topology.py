"""The suite's topologies are what they claim to be, as raw clients see them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Literal

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import Server, installed
from topology import Cluster, Node, Sentinels, TlsServer, cluster, sentinels, tls_server, with_user

_ROWS = {f"flights:{i}": str(i).encode() for i in range(600)}

_ONCE = Retry(NoBackoff(), 0)  # redis-py would repeat a refused login, with pauses
_REFUSED = "(?i)certificate required|unknown ca|EOF occurred|reset by peer|closed|broken pipe"


def gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def stored(found: Cluster) -> dict[str, bytes | None]:
    return dict(zip(_ROWS, found.raw.mget_nonatomic(list(_ROWS))))


def refuses_strangers(port: int) -> None:
    stranger = redis.Redis(port=port, retry=_ONCE)
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def held(node: Node, slot: int) -> int:
    return node.raw.execute_command("CLUSTER COUNTKEYSINSLOT", slot)


def ends(found: Cluster, slot: int) -> tuple[Node, Node]:
    """Between which nodes a slot can move: its owner, and another primary."""
    source = found.owner(slot)
    return source, next(node for node in found.primaries() if node is not source)


class TestCluster:
    def test_it_has_three_primaries_with_a_replica_each_and_its_keys_spread(
        self, redis_cluster: Cluster
    ) -> None:
        primaries = redis_cluster.primaries()
        assert [len(redis_cluster.replicas(node)) for node in primaries] == [1, 1, 1]
        slots = [slot for node in primaries for slot in redis_cluster.slots(node)]
        assert sorted(slots) == list(range(16_384))
        redis_cluster.raw.mset_nonatomic(_ROWS)
        assert redis_cluster.dbsize() == len(_ROWS)
        assert all(node.raw.dbsize() > 100 for node in primaries)
        redis_cluster.clear()
        assert [node.raw.dbsize() for node in redis_cluster.nodes] == [0] * 6

    def test_a_half_moved_slot_answers_ask_and_a_moved_one_moved(
        self, redis_cluster: Cluster
    ) -> None:
        keys = [f"{{flights}}:{i}" for i in range(250)]
        redis_cluster.raw.mset(dict.fromkeys(keys, 1))
        slot = redis_cluster.raw.keyslot("flights")
        source, target = ends(redis_cluster, slot)
        redis_cluster.open_slot(slot, target)
        assert redis_cluster.migrate(slot, target, most=120) == 120
        assert redis_cluster.owner(slot) is source
        assert (held(source, slot), held(target, slot)) == (130, 120)
        with pytest.raises(redis.exceptions.AskError) as asked:
            for key in keys:
                source.raw.get(key)
        assert (asked.value.slot_id, asked.value.port) == (slot, target.port)
        with pytest.raises(redis.exceptions.MovedError):
            target.raw.get(keys[0])
        assert redis_cluster.migrate(slot, target) == 130
        redis_cluster.close_slot(slot, target)
        assert redis_cluster.owner(slot) is target
        with pytest.raises(redis.exceptions.MovedError) as moved:
            source.raw.get(keys[0])
        assert (moved.value.slot_id, moved.value.port) == (slot, target.port)
        assert redis_cluster.raw.mget(keys) == [b"1"] * 250
        redis_cluster.move_slot(slot, to=source)
        assert source.raw.mget(keys) == [b"1"] * 250

    def test_clearing_gives_up_an_open_move(self, redis_cluster: Cluster) -> None:
        slot = redis_cluster.raw.keyslot("flights")
        source, target = ends(redis_cluster, slot)
        redis_cluster.open_slot(slot, target)
        with pytest.raises(redis.exceptions.AskError):
            source.raw.get("flights")
        redis_cluster.clear()
        assert source.raw.get("flights") is None

    def test_a_failover_changes_the_owner(self, redis_cluster: Cluster) -> None:
        redis_cluster.raw.mset_nonatomic(_ROWS)
        before = redis_cluster.owner(0)
        (replica,) = redis_cluster.replicas(before)
        redis_cluster.failover(replica)
        assert redis_cluster.owner(0) is replica
        assert redis_cluster.replicas(replica) == [before]
        assert stored(redis_cluster) == _ROWS

    def test_the_death_of_a_primary_leads_to_a_promotion(self, mortal_cluster: Cluster) -> None:
        mortal_cluster.raw.mset_nonatomic(_ROWS)
        dying = mortal_cluster.owner(0)
        (replica,) = mortal_cluster.replicas(dying)
        mortal_cluster.await_copies()
        mortal_cluster.kill(dying)
        assert gone(dying.pid)
        assert mortal_cluster.await_promotion(0) is replica
        assert len(mortal_cluster.nodes) == 5
        assert stored(mortal_cluster) == _ROWS

    def test_it_asks_for_a_password_and_ends_with_its_block(self) -> None:
        with cluster(None, primaries=2, replicas=0, password="s3cret") as found:
            refuses_strangers(found.nodes[0].port)
            found.raw.set("flights", 1)
            slot = found.raw.keyslot("flights")
            _, target = ends(found, slot)
            found.move_slot(slot, to=target)
            assert target.raw.get("flights") == b"1"
            assert "s3cret" not in repr(found)
            pids = [node.pid for node in found.nodes]
        assert all(map(gone, pids))


@pytest.fixture(scope="module", params=["valkey", "redis"])
def watched(request: pytest.FixtureRequest) -> Iterator[Sentinels]:
    with sentinels(installed(request.param), "s3cret", "watch") as found:
        yield found


class TestSentinels:
    def test_a_failover_and_a_death_give_other_masters(self, watched: Sentinels) -> None:
        first = watched.master()
        watched.raw().set("flights", 1)
        watched.failover()
        second = watched.master()
        assert second is not first
        assert second.raw.role()[0] == b"master"
        assert first.raw.role()[0] == b"slave"
        watched.raw().incr("flights")
        watched.await_copies()
        watched.kill_master()
        assert gone(second.pid)
        assert watched.master() is not second
        assert watched.raw().incr("flights") == 3

    def test_its_addresses_are_what_redis_py_finds_the_primary_by(self, watched: Sentinels) -> None:
        finder = redis.Sentinel(
            watched.addresses,
            sentinel_kwargs={"password": "watch"},
            password="s3cret",
            socket_timeout=5.0,
        )
        with finder.master_for(watched.master_name) as found:
            found.set("flights", 7)
            assert watched.raw().get("flights") == b"7"
        for client in finder.sentinels:
            client.close()

    def test_sentinels_and_nodes_ask_for_their_passwords(self, watched: Sentinels) -> None:
        for node in (watched.watchers[0], watched.nodes[0]):
            refuses_strangers(node.port)


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsServer]:
    with tls_server(installed("redis"), clients="yes", password="s3cret") as found:
        yield found


def over_tls(found: TlsServer, **options: object) -> redis.Redis:
    asked = {"ssl_ca_certs": found.ca_file, "retry": _ONCE, **options}
    return redis.Redis.from_url(found.url, **asked)


class TestTls:
    def test_a_client_with_its_certificate_is_served(self, tls: TlsServer) -> None:
        shown = {"ssl_certfile": tls.cert_file, "ssl_keyfile": tls.key_file}
        with over_tls(tls, **shown) as client:
            client.set("flights", 1)
        assert tls.raw.get("flights") == b"1"

    def test_a_client_without_certificate_is_refused(self, tls: TlsServer) -> None:
        with over_tls(tls) as client, pytest.raises(redis.ConnectionError, match=_REFUSED):
            client.ping()

    def test_a_client_with_a_strangers_certificate_is_refused(self, tls: TlsServer) -> None:
        stranger = tls.stranger
        shown = {"ssl_certfile": stranger.cert_file, "ssl_keyfile": stranger.key_file}
        with over_tls(tls, **shown) as client, pytest.raises(redis.ConnectionError, match=_REFUSED):
            client.ping()

    @pytest.mark.parametrize("clients", ["optional", "no"])
    def test_a_client_may_come_without_certificate_where_none_is_needed(
        self, clients: Literal["optional", "no"]
    ) -> None:
        with tls_server(installed("redis"), clients) as found, over_tls(found) as client:
            assert client.ping()

    def test_another_authority_does_not_vouch_for_the_server(self, tls: TlsServer) -> None:
        client = over_tls(tls, ssl_ca_certs=tls.other_ca_file)
        with client, pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            client.ping()

    def test_a_certificate_for_another_host_is_seen(self) -> None:
        with tls_server(installed("redis"), "no", names=("elsewhere.test",)) as found:
            careful = over_tls(found)
            with careful, pytest.raises(redis.ConnectionError, match="Hostname mismatch"):
                careful.ping()
            with over_tls(found, ssl_check_hostname=False) as careless:
                assert careless.ping()

    def test_it_speaks_nothing_but_tls(self, tls: TlsServer) -> None:
        client = redis.Redis(port=tls.port, password="s3cret", retry=_ONCE)
        with client, pytest.raises(redis.ConnectionError):
            client.ping()


def test_a_user_may_do_what_the_rules_say_and_is_gone_afterwards(server: Server) -> None:
    server.raw.hset("flights:1", "carrier", "UA")
    server.raw.hset("people:1", "name", "Ada")
    rules = ("+@read", "+@connection", "~flights:*")
    with (
        with_user(server, "reader", "p:w/d", *rules) as url,
        redis.Redis.from_url(url) as reader,
    ):
        assert reader.hgetall("flights:1") == {b"carrier": b"UA"}
        for refused in ("HGETALL people:1", "HSET flights:1 carrier B6", "FLUSHALL"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.execute_command(*refused.split())
    with redis.Redis.from_url(url) as reader, pytest.raises(redis.AuthenticationError):
        reader.ping()
