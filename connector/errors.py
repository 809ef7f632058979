"""Every error that kvlake raises.

ConnectorError
├── OptionError                 an option is missing, unknown or malformed
├── MissingDependencyError      an extra has not been installed
├── SchemaError                 columns, keys or types do not fit
│   └── DecodeError             a stored value does not parse as its column's type
├── TableNotFoundError          there is no such table
├── StoreError                  the server refused or failed a request
│   ├── StoreUnavailableError   the connection was lost or refused           (retryable)
│   ├── StoreTimeoutError       the server did not answer in time            (retryable)
│   ├── AuthenticationError     the server refused the credentials
│   ├── PlanExpiredError        the partitions were planned on a server that is gone
│   └── WriteRejectedError      the server refused rows; they are not stored
└── CacheError                  the local shards cannot be used
    ├── ShardCorruptError       a shard is damaged, incomplete or missing
    └── TokenMismatchError      a resume token belongs to other data

A constructor takes one message, so that pickle, Spark and torch's DataLoader can rebuild the error in
another process.
"""

from __future__ import annotations

from typing import ClassVar


class ConnectorError(Exception):
    """Base of all errors raised by connector, spark_ext and loaders."""

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later, unchanged."""


class OptionError(ConnectorError, ValueError):
    """An option is missing, unknown or malformed."""


class MissingDependencyError(ConnectorError, ImportError):
    """A package that only an extra installs is not there."""


class SchemaError(ConnectorError, ValueError):
    """Columns, keys or types do not fit what was asked for or what is stored."""


class DecodeError(SchemaError):
    """A stored value does not parse as the type of its column."""


class TableNotFoundError(ConnectorError, LookupError):
    """The store holds no such table."""


class StoreError(ConnectorError):
    """The server refused or failed a request."""


class StoreUnavailableError(StoreError):
    """The connection was lost or refused, or the server is not ready to serve."""

    retryable = True


class StoreTimeoutError(StoreError):
    """The server did not answer in time."""

    retryable = True


class AuthenticationError(StoreError):
    """The server refused the user name, the password or the permission."""


class PlanExpiredError(StoreError):
    """Partitions were planned on a server that has been replaced or restarted since: plan again."""


class WriteRejectedError(StoreError):
    """The server refused rows; those rows are not stored."""


class CacheError(ConnectorError):
    """The local shards cannot be used."""


class ShardCorruptError(CacheError):
    """A shard is damaged, incomplete or missing."""


class TokenMismatchError(CacheError):
    """A resume token belongs to other data, another transform or another order."""
