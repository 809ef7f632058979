"""A Delta table's files at one version, by its log."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from connector.errors import MissingDependencyError, OptionError, SchemaError, TableNotFoundError
from connector.lake.files import LakeFile, Storage
from connector.options import masked_url


def delta_table(
    storage: Storage, version: int | str | datetime | None
) -> tuple[int, pa.Schema, list[LakeFile]]:
    """The number of a version of a Delta table, its columns, and its files.

    Raises:
        TableNotFoundError: there is no Delta table.
        OptionError: it has no such version.
        SchemaError: it has features that need Spark: deletion vectors or mapped columns.
        MissingDependencyError: there is no deltalake.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
        from deltalake.exceptions import TableNotFoundError as NoTable
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Delta tables need deltalake: pip install 'kvlake[lake]'"
        ) from error
    shown = masked_url(storage.url)
    options = {name: str(value) for name, value in storage.options}
    try:
        table = DeltaTable(storage.url, storage_options=options or None)
        if version is not None:
            table.load_as_version(version)
    except NoTable as error:
        raise TableNotFoundError(f"there is no Delta table at {shown}: {error}") from error
    except (DeltaError, ValueError) as error:
        raise OptionError(f"Delta table {shown} has no version {version!r}: {error}") from error
    mapped = table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none"
    if mapped or pa.table(table.deletion_vectors()).num_rows:
        feature = "mapped columns" if mapped else "deletion vectors"
        raise SchemaError(
            f"Delta table {shown} has {feature}, which need Spark: read it there, or rewrite it without"
        )
    actions = pa.table(table.get_add_actions())
    _, place = storage.open()
    files = [
        LakeFile(f"{place}/{unquote(path)}", path, _constants(partition))
        for path, partition in zip(actions["path"].to_pylist(), _partitions(actions), strict=True)
    ]
    schema = pa.schema(table.schema().to_arrow())
    return table.version(), schema, sorted(files, key=lambda file: file.path)


def _partitions(actions: pa.Table) -> list[Any]:
    if "partition" in actions.schema.names:
        return list(actions["partition"].to_pylist())
    return [None] * actions.num_rows


def _constants(partition: dict[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((partition or {}).items())
