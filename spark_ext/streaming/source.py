"""Which streams a query reads, and which columns: from options and schema to a log and a scan."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql.types import StructType

from connector.errors import OptionError, SchemaError, TableNotFoundError
from connector.filters import bind, parse_filter
from connector.redis.link import translated
from connector.redis.options import ModelName, RedisOptions
from connector.redis.saved import DEFAULT_KEY, load, model_of
from connector.redis.streams.connected import connected
from connector.redis.streams.ids import EntryId
from connector.redis.streams.log import StreamLog, StreamNames
from connector.scan import Scan
from connector.schema import key_of
from spark_ext.options import TableOptions
from spark_ext.streaming.options import StreamOptions
from spark_ext.streaming.versions import HAS_LIMITS
from spark_ext.types import arrow_schema, requested

_STREAM = ModelName.STREAM


def stream_log(table: TableOptions, streams: StreamOptions, store: RedisOptions) -> StreamLog:
    """The streams that the options name.

    Raises:
        OptionError: they name none, or say what a streaming query cannot do.
    """
    if store.model not in (None, _STREAM) or (store.model is None and streams.streams is None):
        raise OptionError(
            "what can be read by readStream are streams: set option 'model' to stream"
        )
    if store.keys_pattern is not None or store.search_index is not None:
        raise OptionError("options 'keys.pattern' and 'search.index' are not for streaming queries")
    if table.limit is not None or table.sample is not None:
        raise OptionError("options 'limit' and 'sample' are not for streaming queries")
    if streams.max_entries_per_trigger is not None and not HAS_LIMITS:
        raise OptionError(
            "option 'max.entries.per.trigger' needs Spark 4.2: those before ask no Python source how much "
            "it should read"
        )
    names = _names(table, streams, store)
    where = streams.starts(names.names)
    try:
        start = {
            name: text if text in ("earliest", "latest") else EntryId.parse(text)
            for name, text in where.items()
        }
    except ValueError as error:
        raise OptionError(f"option 'start': {error}") from None
    return StreamLog(names, store, start, fail_on_data_loss=streams.fail_on_data_loss)


def stream_scan(log: StreamLog, table: TableOptions, wanted: StructType | None) -> Scan:
    """The columns and rows that are wanted of some streams.

    Args:
        log: the streams.
        table: the options.
        wanted: the schema that the user gave; None for the columns that there are.

    Raises:
        SchemaError: there is nothing to infer columns from, or those wanted are not there.
        TableNotFoundError: there is no entry, and no schema was given.
    """
    label = log.names.label
    stored = log.schema(table.key_column)
    if stored is None and wanted is None:
        raise TableNotFoundError(
            f"streams {label!r} have no entries yet to infer columns from; give the schema"
        )
    if stored is not None and model_of(stored) != _STREAM.value:
        raise SchemaError(f"table {label!r} is of model {model_of(stored)!r}, and has no streams")
    if stored is None or wanted is None:
        full = arrow_schema(wanted) if stored is None and wanted is not None else stored
        assert full is not None
    else:
        full = requested(stored, wanted, texts=True)
    columns = table.columns if wanted is None else tuple(wanted.names)
    return Scan(
        table=label,
        schema=full,
        key=_key(table, stored, full),
        columns=columns,
        batch_rows=table.batch_rows,
        filter=None if table.filter is None else bind(parse_filter(table.filter), full, label),
    )


def _names(table: TableOptions, streams: StreamOptions, store: RedisOptions) -> StreamNames:
    if streams.streams is not None:
        return StreamNames(table.table, streams.streams)
    if table.table is None:
        raise OptionError("option 'streams' is missing: names of the streams, joined by commas")
    with translated(f"looking for streams of table {table.table!r} in {store.location}"):
        if load(connected(store), table.table) is not None:
            raise OptionError(
                f"the streams of table {table.table!r} lie under {table.table + ':...'!r}: name those to "
                f"read by option 'streams'"
            )
    return StreamNames(None, (table.table,))


def _key(table: TableOptions, stored: pa.Schema | None, full: pa.Schema) -> tuple[str, ...]:
    if stored is not None:
        return key_of(stored)
    chosen = table.key_column or (DEFAULT_KEY,)
    return chosen if set(chosen) <= set(full.names) else ()
