"""What a server tells of an index of RediSearch: which documents and fields it has, and whether all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as pt
import redis

from connector.digests import digest
from connector.errors import OptionError, StoreError
from connector.filters import FieldPath
from connector.redis.keyspace import Keyspace
from connector.redis.search.query import Fields, NumericField, TagField

_CHANGING = (
    b"max_doc_id",
    b"num_docs",
    b"num_records",
    b"inverted_sz_mb",
    b"total_inverted_index_blocks",
    b"gc_stats",
)
_NEEDED = frozenset(
    [
        b"index_definition",
        b"attributes",
        b"indexing",
        b"percent_indexed",
        b"hash_indexing_failures",
        *_CHANGING,
    ]
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # what a query holds as it is
_COMPRESSED_ERROR = 0.01  # of numbers under _NUMERIC_COMPRESS


@dataclass(frozen=True)
class Index:
    """An index.

    Attributes:
        name: by which it was asked for.
        info: what FT.INFO says of it.
    """

    name: str
    info: dict[bytes, Any]

    @property
    def shape(self) -> str:
        """Tells the index from another one of the name."""
        return digest(self.info[b"index_definition"], self.info[b"attributes"])

    @property
    def state(self) -> tuple[str, ...]:
        """Changes whenever a document is indexed or removed, or the space of removed ones is swept."""
        return tuple(str(self.info[name]) for name in _CHANGING)

    def check_complete(self) -> None:
        """Make sure that every document is in the index that should be.

        Raises:
            StoreError: it is being built, or documents did not fit it.
        """
        if int(self.info[b"indexing"]) or float(self.info[b"percent_indexed"]) < 1:
            raise StoreError(
                f"index {self.name!r} is still being built ({float(self.info[b'percent_indexed']):.0%}); "
                f"wait for it, or leave out option 'search.index'"
            )
        failures = int(self.info[b"hash_indexing_failures"])
        if failures:
            errors = _pairs(self.info.get(b"Index Errors", []))
            raise StoreError(
                f"index {self.name!r} lacks rows: {failures} times a document did not fit it, lately "
                f"{_text(errors.get(b'last indexing error key'))} "
                f"({_text(errors.get(b'last indexing error'))}); mend the rows, NaN among them, and make "
                f"the index anew, or leave out option 'search.index'"
            )

    def check_covers(self, keyspace: Keyspace, kind: bytes) -> None:
        """Make sure that every row of the table should be in the index.

        Raises:
            OptionError: some rows need not be.
        """
        definition = _pairs(self.info[b"index_definition"])
        prefixes: list[bytes] = definition[b"prefixes"]
        wrong = None
        if definition[b"key_type"] != kind:
            wrong = (
                f"is of type {_text(definition[b'key_type'])}, and the rows are of {_text(kind)}"
            )
        elif not any(keyspace.prefix.startswith(prefix) for prefix in prefixes):
            shown = ", ".join(repr(_text(prefix)) for prefix in prefixes)
            wrong = f"has keys that begin with {shown}, and not all of {_text(keyspace.pattern)!r}"
        elif b"filter" in definition:
            wrong = f"leaves out rows by its FILTER {_text(definition[b'filter'])!r}"
        if wrong:
            raise OptionError(f"option 'search.index': index {self.name!r} {wrong}")

    def fields(self, columns: Sequence[pa.Field], error: float) -> Fields:
        """What the index has of some columns, by their paths; nothing of the fields in them.

        Args:
            columns: those that are stored in fields.
            error: see ``number_error``.
        """
        json = _pairs(self.info[b"index_definition"])[b"key_type"] == b"JSON"
        if json:  # of another name the path would say something else
            plain = [item for item in columns if _PLAIN_NAME.fullmatch(item.name)]
            named = {f"$.{item.name}": item for item in plain}
        else:
            named = {item.name: item for item in columns}
        found: dict[FieldPath, NumericField | TagField] = {}
        for attribute in self.info[b"attributes"]:
            _, identifier, _, name, _, kind, *flags = map(_text, attribute)
            item = named.get(identifier)
            if item is None or "NOINDEX" in flags or not _PLAIN_NAME.fullmatch(name):
                continue
            if kind == "NUMERIC" and _is_number(item.type):
                exact = pt.is_integer(item.type)
                found[(item.name,)] = NumericField(name, 0.0 if exact else error)
            elif kind == "TAG" and _is_text(item.type):
                at = flags.index("SEPARATOR") + 1 if "SEPARATOR" in flags else len(flags)
                found[(item.name,)] = TagField(name, "".join(flags[at : at + 1]))
        return found


def look(client: redis.Redis, name: str) -> Index:
    """Ask for an index.

    Raises:
        OptionError: there is none of the name, or the server tells nothing of indexes.
        redis.RedisError, OSError: as redis-py raises them.
    """
    try:
        info = _pairs(ask(client, "FT.INFO", name))
    except redis.exceptions.NoPermissionError:
        raise
    except redis.ResponseError as error:
        if "unknown command" in str(error).lower():
            raise OptionError(
                "option 'search.index': the server does not have the module RediSearch"
            ) from error
        known = sorted(map(_text, ask(client, "FT._LIST")))
        if name in known:
            raise
        raise OptionError(
            f"option 'search.index': there is no index {name!r}; there are {', '.join(known) or 'none'}"
        ) from error
    if not _NEEDED.issubset(info):
        raise OptionError(
            "option 'search.index': the server does not tell of its indexes what RediSearch does, so that "
            "nothing says whether one has all rows"
        )
    return Index(name, info)


def number_error(client: redis.Redis) -> float:
    """How far from its value, beside rounding, a number with a fraction may be indexed."""
    (found,) = ask(client, "FT.CONFIG", "GET", "_NUMERIC_COMPRESS") or [(b"", b"false")]
    return 0.0 if found[1] == b"false" else _COMPRESSED_ERROR


def ask(client: redis.Redis, *command: object) -> Any:
    """Run a command of the module; the reply is as the server spells it."""
    return client.execute_command(*command)  # type: ignore[no-untyped-call]


def _pairs(reply: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _is_number(kind: pa.DataType) -> bool:
    """Whether an index can be trusted with such numbers.

    It cannot with floats: where both infinities are in a field, RediSearch 2.10 divides its tree at NaN,
    and finds none of the rows below; and a row with NaN it does not take at all.
    """
    return bool(pt.is_integer(kind) or pt.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pt.is_string(kind) or pt.is_large_string(kind))
