"""Redis and Valkey as a store."""

from connector.reads import OnBadField
from connector.redis.options import RedisOptions
from connector.redis.store import RedisStore

__all__ = ["OnBadField", "RedisOptions", "RedisStore"]
