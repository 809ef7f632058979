"""The peers of the Redis case that share our environment: redis-py's pipeline and polars-redis."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import redis

from benchmarks.tables import FIELDS, TABLE
from benchmarks.timing import Contender, timed


def write_redis_py(url: str, data: pa.Table, share: int = 10) -> Contender:
    """redis-py's pipeline, from Python rows made beforehand; a tenth of the rows, as it is slow."""
    rows = data.slice(0, max(1, data.num_rows // share)).to_pylist()

    def write() -> int:
        with redis.Redis.from_url(url, protocol=2) as client:
            for start in range(0, len(rows), 5000):
                with client.pipeline(transaction=False) as pipeline:
                    for row in rows[start : start + 5000]:
                        fields = {name: row[name] for name in FIELDS}
                        pipeline.hset(f"{TABLE}:{row['id']}", mapping=fields)
                    pipeline.execute()
        return len(rows)

    return timed(write)


def read_polars_redis(url: str, rows: int, **sizes: Any) -> int:
    import polars as pl
    import polars_redis

    schema = {
        "name": pl.Utf8,
        "qty": pl.Int64,
        "price": pl.Float64,
        "city": pl.Utf8,
        "total": pl.Int64,
    }
    frame = polars_redis.read_hashes(url, f"{TABLE}:*", schema, **sizes)
    assert frame.height == rows
    return rows
