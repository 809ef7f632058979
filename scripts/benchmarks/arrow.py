"""Reading a table of 5 columns that is kept as record batches: beside hashes, in each compression."""

from __future__ import annotations

import functools

import redis

from benchmarks import server
from benchmarks.server import ServerCpu
from benchmarks.settings import Settings
from benchmarks.tables import BATCH_ROWS, table_of
from benchmarks.timing import Contender, in_turn, rate
from connector import WriteMode, WriteOptions, open_store, read_all

ROWS = 1_000_000
COMPRESSIONS = ("none", "lz4", "zstd")
UPSERT = WriteOptions(key=("id",))
OVERWRITE = WriteOptions(key=("id",), mode=WriteMode.OVERWRITE)


def run(settings: Settings) -> dict[str, object]:
    """All figures of the case."""
    rows = settings.rows_or(ROWS)
    with server.start() as running:
        url, cpu = running.url, ServerCpu(running.url)
        batches = table_of(rows).to_batches(BATCH_ROWS)

        def write(compression: str) -> int:
            with open_store(url, model="arrow", arrow_compression=compression) as store:
                return int(store.write(compression, batches, OVERWRITE).rows)

        with open_store(url) as store:
            store.write("hash", batches, UPSERT)
        contenders: dict[str, Contender] = {
            "read_hash": cpu.metered("read_hash", functools.partial(_read, url, "hash"))
        }
        for each in COMPRESSIONS:
            write(each)
            names = (f"read_{each}", f"write_{each}")
            contenders[names[0]] = cpu.metered(names[0], functools.partial(_read, url, each))
            contenders[names[1]] = cpu.metered(names[1], functools.partial(write, each))
        figures = in_turn(contenders, settings.repeats)
        return {
            "server": server.name_of(url),
            "rows": rows,
            "figures": figures,
            "ratios": {
                f"read_{each} / read_hash": round(
                    rate(figures, f"read_{each}") / rate(figures, "read_hash"), 2
                )
                for each in COMPRESSIONS
            },
            "bytes_per_row": {each: round(_bytes(url, each) / rows, 1) for each in COMPRESSIONS},
            "server_cpu": cpu.figures(settings.repeats),
            "absent": [],
        }


def _read(url: str, table: str) -> int:
    with open_store(url) as store:
        return int(read_all(store.source(table)).num_rows)


def _bytes(url: str, table: str) -> int:
    """What the values of a table take, without the server's own overhead."""
    with redis.Redis.from_url(url) as client:
        return sum(client.strlen(key) for key in client.scan_iter(match=f"{table}:*"))
