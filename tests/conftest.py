"""Fixtures of the whole suite: servers, stores, and a working directory of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import aerospikes
import hypothesis
import pytest
from aerospikes import Aerospike
from hypothesis.database import DirectoryBasedExampleDatabase
from modules import with_modules
from servers import Server, installed, running
from topology import Cluster, cluster

from connector import Store, open_store

hypothesis.settings.register_profile(
    "suite",
    deadline=None,  # the machine may be busy with other tests
    max_examples=60,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    database=DirectoryBasedExampleDatabase(Path(__file__).parent.parent / ".hypothesis"),
)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _own_working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the repository, so that nothing is imported from it by being there.

    What starts by ``python -m``, as Spark's workers do, looks in the working directory first, and
    would find the source tree in place of the installed package.
    """
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("work"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def _valkey() -> Iterator[Server]:
    with running("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def _redis() -> Iterator[Server]:
    with running("redis") as server:
        yield server


@pytest.fixture
def table() -> str:
    """A table name that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def valkey_server(_valkey: Server, table: str) -> Iterator[Server]:
    """The embedded Valkey, empty."""
    _valkey.clear(table)
    yield _valkey
    _valkey.clear(table)


@pytest.fixture
def redis_server(_redis: Server, table: str) -> Iterator[Server]:
    """Redis as installed, empty; or as given by TEST_REDIS_URL, for keys of ``table`` alone."""
    _redis.clear(table)
    yield _redis
    _redis.clear(table)


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each Redis-like server in turn."""
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, Server)
    return found


@pytest.fixture(scope="session")
def _aerospike() -> Iterator[Aerospike]:
    with aerospikes.running() as server:
        yield server


@pytest.fixture
def aerospike_server(_aerospike: Aerospike, table: str) -> Iterator[Aerospike]:
    """The suite's test server for Aerospike; or the one given by TEST_AEROSPIKE_HOSTS."""
    yield _aerospike
    _aerospike.clear(table)


@pytest.fixture(params=["memory", "valkey", "redis", "cluster", "aerospike"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of each store in turn, holding nothing of ours."""
    if request.param == "memory":
        return "memory://"
    if request.param == "cluster":
        clusters = request.getfixturevalue("_clusters")
        clusters("redis").clear()
        return str(clusters("redis").url)
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, Server | Aerospike)
    return found.url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """Each store in turn, open."""
    with open_store(store_url) as opened:
        yield opened


@pytest.fixture(scope="session")
def _clusters() -> Iterator[Callable[[str], Cluster]]:
    """The suite's cluster of each kind, started when it is first asked for."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(cluster(installed(name))))


@pytest.fixture(params=["valkey", "redis"])
def redis_cluster(
    request: pytest.FixtureRequest, _clusters: Callable[[str], Cluster]
) -> Iterator[Cluster]:
    """A cluster of three primaries and three replicas of each kind in turn, empty.

    Slots may move and replicas take over; a test that kills nodes takes ``mortal_cluster``.
    """
    found = _clusters(request.param)
    whole = list(found.nodes)
    found.clear()
    yield found
    assert found.nodes == whole, "a test that kills nodes takes the fixture mortal_cluster"
    found.clear()


@pytest.fixture(params=["valkey", "redis"])
def mortal_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of each kind in turn for one test alone, which may kill its nodes."""
    with cluster(installed(request.param)) as found:
        yield found


@pytest.fixture(scope="session")
def _modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with with_modules(tmp_path_factory.mktemp("modules")) as server:
        yield server


@pytest.fixture
def module_server(_modules: Server, table: str) -> Iterator[Server]:
    """A Valkey with RedisJSON and RediSearch, empty."""
    _modules.clear(table)
    yield _modules
    _modules.clear(table)
