"""What the JVM part asks of a reader, beside the options that users give.

Its half of this is in ``Pushed.java``, ``PushdownScan.java`` and ``TableDescription.java``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pyspark.sql.types import StructType

_PREFIX = "kvlake.pushed."


@dataclass(frozen=True)
class Request:
    """What Spark pushed into one scan; all of it may be used, or not: Spark goes by the rows.

    Attributes:
        schema: all columns of the relation, of which the reader's schema has those wanted.
        filter: the rows wanted, in the grammar of ``connector.filters``.
        keys: what a join found out about the keys wanted, as ``filter``; for planning alone.
        limit: enough rows.
        parts: into how many partitions to cut the table, where the user does not say.
        count: whether each partition's rows are only to be counted.
        describe: whether the schema is asked to describe the table.
    """

    schema: StructType | None = None
    filter: str | None = None
    keys: str | None = None
    limit: int | None = None
    parts: int | None = None
    count: bool = False
    describe: bool = False

    @classmethod
    def taken_from(cls, options: Mapping[str, str]) -> tuple[Self, dict[str, str]]:
        """The request among a reader's options, and the other options."""
        asked = {
            name.removeprefix(_PREFIX): text
            for name, text in options.items()
            if name.startswith(_PREFIX)
        }
        others = {name: text for name, text in options.items() if not name.startswith(_PREFIX)}
        request = cls(
            schema=StructType.fromJson(json.loads(asked["schema"])) if "schema" in asked else None,
            filter=asked.get("filter"),
            keys=asked.get("keys"),
            limit=int(asked["limit"]) if "limit" in asked else None,
            parts=int(asked["parts"]) if "parts" in asked else None,
            count="count" in asked,
            describe="describe" in asked,
        )
        return request, others
