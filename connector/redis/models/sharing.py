"""What some models cannot do, or must do otherwise: told here, and checked before a row is sent."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

import pyarrow as pa

from connector.errors import OptionError, SchemaError
from connector.jobs import WriteJob, WriteMode, WriteRows
from connector.redis.models.model import Model


@runtime_checkable
class Tied(Protocol):
    """A model of which a row's commands must be one transaction, even where the row is merged."""

    tied: ClassVar[bool]


@runtime_checkable
class Whole(Protocol):
    """A model that can only write all columns of a row at once.

    Attributes:
        whole: which models could write some of them.
    """

    whole: ClassVar[str]


@runtime_checkable
class Sharing(Protocol):
    """A model of which several rows lie under one key.

    Attributes:
        apart: the columns that tell the rows of a key from one another.
    """

    apart: ClassVar[tuple[str, ...]]


def check_job(job: WriteJob, model: Model, stored: pa.Schema | None) -> None:
    """Refuse a write that the model cannot carry out.

    Args:
        job: the write.
        model: how the table's rows lie.
        stored: the schema of the table that is appended to, where it has one.

    Raises:
        OptionError: rows that share a key cannot be written in this mode.
        SchemaError: columns of the table are missing, and would be lost.
    """
    if isinstance(model, Sharing):
        _check_sharing(job, model)
    if isinstance(model, Whole) and job.options.mode is WriteMode.APPEND:
        missing = [n for n in (stored.names if stored else []) if n not in job.stored.names]
        if missing:
            raise SchemaError(
                f"table {job.table!r} has the columns {', '.join(map(repr, missing))}, which these rows "
                f"lack: model {model.spec!r} writes rows whole, so their values would be lost; give all "
                f"columns, or use model {model.whole}"
            )


def _check_sharing(job: WriteJob, model: Model) -> None:
    """Only adding is idempotent: no task can know which rows of a key other tasks have written."""
    array, _, variant = model.spec.partition("/")
    hint = (
        f"; write one row a key with an array (model {array!r} without explode)" if variant else ""
    )
    if job.replaces:
        raise OptionError(
            f"table {job.table!r}: rows of model {model.spec!r} share keys, so that none can replace "
            f"what is under its key; append with write.fields merge{hint}"
        )
    if job.options.rows is not WriteRows.UPSERT:
        raise OptionError(
            f"table {job.table!r}: rows of model {model.spec!r} share keys, so that whether a key is "
            f"there says nothing about a row: {job.options.rows.value} only is not possible{hint}"
        )
