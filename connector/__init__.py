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
from connector.jobs import (
    SchemaEvolution,
    WriteFields,
    WriteJob,
    WriteMode,
    WriteOptions,
    WriteResult,
    WriteRows,
)
from connector.memory import MemoryStore
from connector.registry import open_store
from connector.scan import Partition, Scan
from connector.source import MappedSource, Source, TableSource, read_all
from connector.store import Store, StoreSource

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
    "SchemaEvolution",
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
    "WriteFields",
    "WriteJob",
    "WriteMode",
    "WriteOptions",
    "WriteRejectedError",
    "WriteResult",
    "WriteRows",
    "open_store",
    "read_all",
]
