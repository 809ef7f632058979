"""Tables in key-value stores as Delta tables, and Delta tables in stores: whole, or change by change."""

from spark_ext.delta.changes import PublishedChanges, publish_changes
from spark_ext.delta.publishing import Published, publish
from spark_ext.delta.snapshots import Snapshot, snapshot

__all__ = [
    "Published",
    "PublishedChanges",
    "Snapshot",
    "publish",
    "publish_changes",
    "snapshot",
]
