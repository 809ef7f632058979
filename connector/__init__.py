"""Tables in key-value stores as Arrow record batches."""

from connector.errors import (
    AuthenticationError,
    CacheError,
    ConnectorError,
    DecodeError,
    MissingDependencyError,
    OptionError,
    PlanExpiredError,
    SchemaError,
    ShardCorruptError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    TableNotFoundError,
    TokenMismatchError,
    WriteRejectedError,
)
from connector.memory import MemoryStore
from connector.registry import open_store
from connector.scan import Partition, Scan
from connector.source import MappedSource, Source, TableSource, read_all
from connector.store import Store, StoreSource, WriteJob, WriteMode, WriteOptions, WriteResult

__all__ = [
    "AuthenticationError",
    "CacheError",
    "ConnectorError",
    "DecodeError",
    "MappedSource",
    "MemoryStore",
    "MissingDependencyError",
    "OptionError",
    "Partition",
    "PlanExpiredError",
    "Scan",
    "SchemaError",
    "ShardCorruptError",
    "Source",
    "Store",
    "StoreError",
    "StoreSource",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "TableNotFoundError",
    "TableSource",
    "TokenMismatchError",
    "WriteJob",
    "WriteMode",
    "WriteOptions",
    "WriteRejectedError",
    "WriteResult",
    "open_store",
    "read_all",
]
