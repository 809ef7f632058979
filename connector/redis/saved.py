"""What a table looks like: its schema saved at the first write, or inferred from a sample."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import redis

from connector import saved_schema
from connector.errors import SchemaError
from connector.jobs import SchemaEvolution, WriteJob
from connector.redis.keyspace import RESERVED
from connector.redis.models import build
from connector.redis.models.model import Model
from connector.redis.options import ModelName
from connector.redis.reading import is_wrong_type
from connector.redis.servers import Servers, single
from connector.schema import check_append, key_of, keyed

DEFAULT_KEY = "_id"
"""The key column of a table whose schema is inferred, and whose key column nobody named."""

_ATTEMPTS = 20  # to add columns, while other writers add theirs
_MODEL = b"kvlake.model"
_NOTE = "model"
_FIRST_MODEL = "hash"  # of tables that were saved before there was another


def schema_key(table: str) -> bytes:
    """Where a table's schema is saved: outside of the table's own prefix."""
    return f"{RESERVED}schema:{table}".encode()


def with_model(schema: pa.Schema, spec: str) -> pa.Schema:
    """The schema, noting how the table's rows lie."""
    return schema.with_metadata({**(schema.metadata or {}), _MODEL: spec.encode()})


def model_of(schema: pa.Schema) -> str | None:
    """How the rows of a table of this schema lie, where that is noted."""
    noted = (schema.metadata or {}).get(_MODEL)
    return None if noted is None else str(noted.decode())


def to_text(schema: pa.Schema) -> str:
    """A schema as it is saved."""
    return saved_schema.to_text(schema, {_NOTE: model_of(schema) or _FIRST_MODEL})


def from_text(table: str, text: bytes | str) -> pa.Schema:
    """Read a saved schema.

    Raises:
        SchemaError: it was saved in a newer format, or by something else.
    """
    what = f"the schema of table {table!r}, saved under {schema_key(table)!r},"
    schema, notes = saved_schema.from_text(text, what)
    spec = notes.get(_NOTE, _FIRST_MODEL)
    if spec != ModelName.ARROW.value:
        try:
            build(spec)
        except ValueError as error:
            raise SchemaError(f"{what} cannot be read: {error}") from error
    return with_model(schema, spec)


def load(servers: Servers, table: str) -> pa.Schema | None:
    """The saved schema of a table; None where there is none."""
    key = schema_key(table)
    text = single(servers, key, lambda client: client.get(key))
    return None if text is None else from_text(table, text)


def replace(servers: Servers, table: str, schema: pa.Schema) -> None:
    """Save the schema of a table, whatever was saved before."""
    key, text = schema_key(table), to_text(schema)
    single(servers, key, lambda client: client.set(key, text))


def schema_of(job: WriteJob) -> pa.Schema:
    """The schema that is saved of a table that a job writes."""
    return with_model(keyed(job.stored, job.key), model_of(job.schema) or _FIRST_MODEL)


def extend(servers: Servers, job: WriteJob) -> None:
    """Save the schema of a table that is appended to: its first, or what agrees with the saved one.

    Raises:
        SchemaError: the saved schema does not agree, or changes all the time.
    """
    table, schema = job.table, schema_of(job)
    add = job.options.evolution is SchemaEvolution.ADD
    key = schema_key(table)
    for _ in range(_ATTEMPTS):
        before = single(servers, key, lambda client: client.get(key))
        if before is None:
            if single(servers, key, lambda client: client.set(key, to_text(schema), nx=True)):
                return
            continue
        stored = from_text(table, before)
        wanted = check_append(table, stored, schema, key_of(schema), add=add)
        if wanted.equals(stored):
            return
        text = to_text(wanted)
        if single(servers, key, functools.partial(_swap, key=key, before=before, after=text)):
            return
    raise SchemaError(f"table {table!r}: other writers change its schema all the time; write again")


def _swap(client: redis.Redis, key: bytes, before: Any, after: str) -> bool:
    """Put a value in place of another, if that is still there."""
    with client.pipeline() as pipeline:
        try:
            pipeline.watch(key)  # type: ignore[no-untyped-call]
            if pipeline.get(key) != before:
                return False
            pipeline.multi()
            pipeline.set(key, after)
            pipeline.execute()
        except redis.WatchError:
            return False
    return True


def sample(
    servers: Servers, model: Model, pages: Iterable[pa.Array], rows: int, *, skip_others: bool
) -> list[Any]:
    """What is under up to about ``rows`` keys, as the model looks at it; gone ones left out.

    Args:
        servers: who has which key.
        model: how the rows lie under the keys.
        pages: the table's keys.
        rows: how many of them to look at.
        skip_others: whether keys of other types are passed over.

    Raises:
        redis.ResponseError: a key is of another type, and is not to be passed over.
    """
    found: list[Any] = []
    for keys in _cut(pages, rows):
        for node, mine in servers.split(keys):
            some = keys if mine is None else keys.take(pa.array(mine))
            client = redis.Redis(connection_pool=servers.pool(node, replica=True))
            with client.pipeline(transaction=False) as pipeline:
                for key in some.to_pylist():
                    model.sample(pipeline, key)
                for reply in pipeline.execute(raise_on_error=False):
                    if isinstance(reply, redis.exceptions.AskError):  # moving: others will do
                        continue
                    if isinstance(reply, redis.ResponseError):
                        if not (skip_others and is_wrong_type(str(reply))):
                            raise reply
                    elif reply or reply == b"":
                        found.append(reply)
        if len(found) >= rows:
            break
    return found


def _cut(pages: Iterable[pa.Array], rows: int) -> Iterator[pa.Array]:
    for page in pages:
        for start in range(0, len(page), rows):
            yield page.slice(start, rows)


def inferred(table: str, columns: Sequence[pa.Field], key: str, spec: str) -> pa.Schema:
    """A schema of columns that were inferred.

    Raises:
        SchemaError: one of them has the key column's name.
    """
    if key in [column.name for column in columns]:
        raise SchemaError(
            f"table {table!r} has a field {key!r}, so the key cannot be read under that name; "
            f"name another with key.column"
        )
    schema = pa.schema([pa.field(key, pa.string(), nullable=False), *columns])
    return with_model(keyed(schema, [key], inferred=True), spec)
