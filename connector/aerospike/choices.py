"""What options may be: the values that they are chosen from."""

from __future__ import annotations

import enum


class AuthMode(enum.Enum):
    """Who checks the user: the server itself, another service it asks, or the client's certificate."""

    INTERNAL = "internal"
    EXTERNAL = "external"
    EXTERNAL_INSECURE = "external-insecure"
    PKI = "pki"


class Replica(enum.Enum):
    """Which copy of a record is read."""

    SEQUENCE = "sequence"
    MASTER = "master"
    ANY = "any"
    PREFER_RACK = "prefer-rack"


class CommitLevel(enum.Enum):
    """When a record is written: with all its copies, or with the master's alone."""

    ALL = "all"
    MASTER = "master"


class GenerationPolicy(enum.Enum):
    """When a row with a ``__generation`` is written: always, or if the record still has that one."""

    IGNORE = "ignore"
    EQUAL = "equal"
    GREATER = "greater"


class NullBins(enum.Enum):
    """What a null does to its bin when a row is merged: it removes it, or leaves it as it is."""

    REMOVE = "remove"
    SKIP = "skip"


class Expiry(enum.Enum):
    """When a written record expires that no ttl is given for.

    KEEP leaves the expiry of a record that was there as it is.
    """

    KEEP = "keep"
    NAMESPACE = "namespace"
    NEVER = "never"


class ModelName(enum.Enum):
    """How a table is kept: a record for each row, or record batches, each in a record."""

    RECORD = "record"
    ARROW = "arrow"


class Wire(enum.Enum):
    """How scans get records: over the columnar wire where that is possible, or from the client."""

    AUTO = "auto"
    CLIENT = "client"
