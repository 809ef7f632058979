"""The keys of rows that a filter can want, as an index of RediSearch knows them.

An index tells only of the rows that it has, so it is looked at before and after: one that is not of all
rows of the table is refused. A cursor of RediSearch ends early, and says nothing, where documents are
indexed or swept out meanwhile (seen with 2.10: of 20 000 rows it gave 1000). Then the rows are asked
for anew, in one answer, which nothing can come between.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import redis

from connector.errors import OptionError, PlanExpiredError, StoreError
from connector.redis.cluster import Cluster
from connector.redis.keyspace import Keyspace
from connector.redis.link import translated
from connector.redis.search.index import Index, ask, look, number_error
from connector.redis.search.query import superset
from connector.redis.servers import Servers
from connector.scan import Partition, Scan

log = logging.getLogger(__name__)

_KINDS = {"hash": b"HASH", "json/redisjson": b"JSON"}
_IDLE_MS = 300_000  # how long a cursor may wait for the next request; the server allows no more
_AT_ONCE = 1 << 30  # as COUNT: all there are


@dataclass(frozen=True, slots=True)
class SearchQuery(Partition):
    """The rows that an index finds for a query.

    Attributes:
        name: of the index.
        query: in dialect 2.
        shape: tells the index from another one of the name.
        keep: the share of the rows that is wanted.
    """

    name: str
    query: str
    shape: str
    keep: float = 1.0


def plan_search(
    servers: Servers,
    scan: Scan,
    apart: Sequence[str],
    keyspace: Keyspace,
    model: str,
    name: str,
) -> SearchQuery | None:
    """The rows of a scan as one partition that an index lists; None where it can leave out no row.

    Args:
        servers: who has which key.
        scan: what is read.
        apart: columns that are stored in no field.
        keyspace: which keys are the table's.
        model: how the rows lie, as ``connector.redis.models.build`` takes it.
        name: of the index.

    Raises:
        OptionError: there is no such index, or it is not of all the table's rows.
        StoreError: the index does not have all of them yet, or could not take them.
        redis.RedisError, OSError: as redis-py raises them.
    """
    client = _client(servers)
    if model not in _KINDS:
        raise OptionError(
            f"option 'search.index': table {scan.table!r} is of model {model!r}; only hashes and JSON "
            f"documents are indexed"
        )
    index = look(client, name)
    index.check_covers(keyspace, _KINDS[model])
    index.check_complete()
    columns = [item for item in scan.schema if item.name not in apart]
    fields = index.fields(columns, number_error(client))
    query = None if scan.filter is None else superset(scan.filter, fields)
    if query is None:
        log.info("table %r is scanned: index %r cannot answer its filter", scan.table, name)
        return None
    return SearchQuery(0, name, query, index.shape, scan.sample or 1.0)


def search_keys(
    servers: Servers, found: SearchQuery, keyspace: Keyspace, count: int, doing: str
) -> Iterator[pa.Array]:
    """List the keys that an index finds, in arrays of ``pa.binary()``, each once if nobody writes.

    They are held until the end, to be told from those that come when the index changed meanwhile.

    Args:
        servers: who has which key.
        found: what to ask.
        keyspace: which keys are the table's.
        count: keys asked for at once.
        doing: what is being done, for messages.

    Raises:
        PlanExpiredError: the index is another one than when this was planned.
        StoreError: the index lacks rows, or the cursor was left alone for too long.
    """
    with translated(doing):
        client = _client(servers)
        before = _checked(client, found, doing)
    seen: list[pa.Array] = []
    for page in _pages(client, found, count, doing):
        seen.append(keyspace.own(page))
        if len(seen[-1]):
            yield seen[-1]
    with translated(doing):
        after = _checked(client, found, doing)
    if after.state == before.state:
        return
    log.info("%s: index %r changed meanwhile, and is asked anew", doing, found.name)
    known = pa.chunked_array(seen, pa.binary())
    for page in _pages(client, found, _AT_ONCE, doing):
        missed = keyspace.own(page)
        missed = missed.filter(pc.invert(pc.is_in(missed, value_set=known)))
        if len(missed):
            yield missed
    with translated(doing):
        _checked(client, found, doing)


def _pages(client: redis.Redis, found: SearchQuery, count: int, doing: str) -> Iterator[pa.Array]:
    """What an aggregation finds; without TIMEOUT 0 the server fails, or breaks off, at a time limit."""
    wanted = ("LOAD", 1, "@__key", "TIMEOUT", 0, "DIALECT", 2)
    paging = ("WITHCURSOR", "COUNT", count, "MAXIDLE", _IDLE_MS)
    cursor = 0
    try:
        with translated(doing):
            rows, cursor = ask(client, "FT.AGGREGATE", found.name, found.query, *wanted, *paging)
        while True:
            # A row without its key has expired.
            yield pa.array([row[1] for row in rows[1:] if row], pa.binary())
            if not cursor:
                return
            with translated(doing):
                rows, cursor = _next(client, found.name, cursor, doing)
    finally:
        if cursor:
            with contextlib.suppress(redis.RedisError, OSError):  # it ends by itself, in its time
                ask(client, "FT.CURSOR", "DEL", found.name, cursor)


def _next(client: redis.Redis, name: str, cursor: int, doing: str) -> Any:
    try:
        return ask(client, "FT.CURSOR", "READ", name, cursor)
    except redis.ResponseError as error:
        if "cursor" not in str(error).lower():
            raise
        raise StoreError(
            f"{doing}: the cursor of index {name!r} is gone ({error}): the server drops one that is not "
            f"asked for {_IDLE_MS // 1000} seconds; read faster, or leave out option 'search.index'"
        ) from error


def _checked(client: redis.Redis, found: SearchQuery, doing: str) -> Index:
    index = look(client, found.name)
    if index.shape != found.shape:
        raise PlanExpiredError(
            f"{doing}: index {found.name!r} is not the one that was planned with; plan again"
        )
    index.check_complete()
    return index


def _client(servers: Servers) -> redis.Redis:
    if isinstance(servers, Cluster):
        raise OptionError(
            "option 'search.index' is not for a cluster, a node of which answers for its own rows alone"
        )
    pool = servers.pool("")
    if int(pool.connection_kwargs.get("db") or 0):
        raise OptionError("option 'search.index' is for database 0, the only one that is indexed")
    return redis.Redis(connection_pool=pool)
