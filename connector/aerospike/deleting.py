"""Deleting rows by key, and all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from connector.aerospike.connecting import Connection, translated
from connector.aerospike.encoding import check_user_keys
from connector.aerospike.jobs import check_table
from connector.aerospike.keys import addresses
from connector.aerospike.options import AerospikeOptions
from connector.aerospike.overwriting import time_before, truncate
from connector.aerospike.refusals import NO_RESPONSE, check_request, failure
from connector.aerospike.results import NOT_FOUND


def delete_rows(
    connection: Connection,
    options: AerospikeOptions,
    table: str,
    names: pa.Array,
    key: Sequence[pa.Field],
) -> int:
    """Delete the rows with these keys, and return how many there were.

    Args:
        connection: to the cluster.
        options: of the store.
        table: the table.
        names: the encoded keys, each once.
        key: the key columns.

    Raises:
        SchemaError: a key that no row can have.
        StoreError: a row could not be deleted; others may be.
    """
    doing = f"deleting rows of table {table!r} in {options.location}"
    check_user_keys(table, key, names)
    policy = {"durable_delete": options.durable_delete}
    deleted = 0
    for start in range(0, len(names), options.batch_max):
        page = names.slice(start, options.batch_max)
        keys = addresses(options.in_namespace, table, page, key)
        with translated(doing):
            answer = connection.client.batch_remove(keys, None, policy)
        check_request(doing, answer)
        if len(answer.batch_records) != len(keys):
            raise failure(doing, NO_RESPONSE, None)
        for record in answer.batch_records:
            if record.result not in (0, NOT_FOUND):
                raise failure(doing, record.result, record.message)
        deleted += sum(record.result == 0 for record in answer.batch_records)
    return deleted


def delete_all(connection: Connection, options: AerospikeOptions, table: str) -> int:
    """Delete every row of a table, and return how many there were.

    Raises:
        StoreError: the cluster refuses; StoreTimeoutError: a node does not follow.
    """
    check_table(table)
    before = time_before(connection, options)
    rows = connection.count(
        f"counting the rows of table {table!r} in {options.location}",
        lambda: connection.client.query(options.in_namespace, table),
        {},
    )
    truncate(connection, options, table, before)
    return rows
