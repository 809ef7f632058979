"""Redis and Valkey as a store."""

from connector.redis.options import OnBadField, RedisOptions
from connector.redis.store import RedisStore

__all__ = ["OnBadField", "RedisOptions", "RedisStore"]
