"""Replies of the server, parsed as columns."""

from connector.redis.resp.arrays import Arrays, parse_arrays
from connector.redis.resp.entries import Entries, parse_entries
from connector.redis.resp.lines import Ints, Lines, ProtocolError, line_ends
from connector.redis.resp.pages import parse_page
from connector.redis.resp.statuses import Statuses, parse_statuses
from connector.redis.resp.values import Values, parse_values

__all__ = [
    "Arrays",
    "Entries",
    "Ints",
    "Lines",
    "ProtocolError",
    "Statuses",
    "Values",
    "line_ends",
    "parse_arrays",
    "parse_entries",
    "parse_page",
    "parse_statuses",
    "parse_values",
]
