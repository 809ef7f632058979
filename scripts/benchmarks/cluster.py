"""A cluster of three on this machine beside one server: rows per CPU second of the servers.

A cluster of one node shows what cluster mode itself costs a server. On one machine three servers take
the CPU from the client and from each other, so that rates say little; what a row costs the servers is
what carries over.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack

import pyarrow as pa
import redis

from benchmarks import server
from benchmarks.server import ServerCpu
from benchmarks.settings import Settings
from benchmarks.tables import BATCH_ROWS, TABLE, table_of
from benchmarks.timing import in_turn
from connector import WriteOptions, open_store, read_all
from connector.embedded import EmbeddedServer

ROWS = 1_000_000
NODES = 3
SLOTS = 16_384


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    data = table_of(settings.rows_or(ROWS))
    with ExitStack() as stack:
        alone = [stack.enter_context(server.start())]
        one = [stack.enter_context(server.start(_config()))]
        nodes = [stack.enter_context(server.start(_config())) for _ in range(NODES)]
        _join(one)
        _join(nodes)
        meters = {}
        contenders = {}
        for name, servers in (("alone", alone), ("cluster_of_one", one), ("cluster", nodes)):
            meters[name] = cpu = ServerCpu(*(each.url for each in servers))
            for what, work in (("write", _write), ("read", _read)):
                task = functools.partial(work, servers[0].url, data)
                contenders[f"{what}_{name}"] = cpu.metered(f"{what}_{name}", task)
        figures = in_turn(contenders, settings.repeats)
        spent = {
            what: found
            for cpu in meters.values()
            for what, found in cpu.figures(settings.repeats).items()
        }
        return {
            "server": server.name_of(alone[0].url),
            "rows": data.num_rows,
            "nodes": NODES,
            "figures": figures,
            "server_cpu": spent,
            "ratios": {
                f"{what}, rows per server cpu second, cluster / {other}": _ratio(spent, what, other)
                for what in ("write", "read")
                for other in ("alone", "cluster_of_one")
            },
            "absent": [],
        }


def _ratio(spent: dict[str, dict[str, object]], what: str, other: str) -> float:
    ours, theirs = (
        float(str(spent[f"{what}_{name}"]["rows_per_server_cpu_second"]))
        for name in ("cluster", other)
    )
    return round(ours / theirs, 2)


def _write(url: str, data: pa.Table) -> int:
    with open_store(url) as store:
        return store.write(TABLE, data.to_batches(BATCH_ROWS), WriteOptions(key=("id",))).rows


def _read(url: str, data: pa.Table) -> int:
    with open_store(url) as store:
        return int(read_all(store.source(TABLE)).num_rows)


def _config() -> Sequence[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return ["cluster-enabled yes", f"cluster-port {free.getsockname()[1]}"]


def _join(nodes: Sequence[EmbeddedServer]) -> None:
    """Make one cluster of single nodes, and wait until all of them serve."""
    clients = [redis.Redis.from_url(node.url) for node in nodes]
    for i, client in enumerate(clients):
        slots = (SLOTS * i // len(nodes), SLOTS * (i + 1) // len(nodes) - 1)
        client.execute_command("CLUSTER ADDSLOTSRANGE", *slots)  # type: ignore[no-untyped-call]
        bus = client.config_get("cluster-port")["cluster-port"]
        for other in clients[:i]:
            meet = ("CLUSTER MEET", "127.0.0.1", nodes[i].port, bus)
            other.execute_command(*meet)  # type: ignore[no-untyped-call]
    while not all(_serves(client) for client in clients):
        time.sleep(0.05)
    for client in clients:
        client.close()


def _serves(client: redis.Redis) -> bool:
    told = client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    return "cluster_state:ok" in str(told) or told.get("cluster_state") == "ok"
