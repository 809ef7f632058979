"""Laws 11 and 12: secrets show nowhere, and a read holds a few batches at most."""

from __future__ import annotations

import gc
import traceback
import tracemalloc

import pyarrow as pa
import pytest
from contract.rows import SCHEMA, people

from connector import (
    ConnectorError,
    Scan,
    Store,
    StoreSource,
    StoreUnavailableError,
    WriteOptions,
    open_store,
)

SECRET = "hunter2"
NOBODY = "127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (f"redis://:{SECRET}@{NOBODY}", {}),
        (f"redis://someone:{SECRET}@{NOBODY}", {}),
        (f"redis://{NOBODY}", {"password": SECRET}),
        (f"rediss://:{SECRET}@{NOBODY}", {}),
        (f"unix://:{SECRET}@/nowhere/server.sock", {}),
    ],
)
def test_no_secret_shows(url: str, options: dict[str, str]) -> None:
    store = open_store(url, **options)
    source = StoreSource(store, Scan("t", SCHEMA, ("id",)))
    shown = [repr(store), store.location, repr(source), str(source), source.fingerprint]
    with pytest.raises(StoreUnavailableError) as caught, store:
        store.schema("t")
    shown.append("".join(traceback.format_exception(caught.value)))
    assert not [text for text in shown if SECRET in text]


def test_equal_places_are_equal_whatever_the_login() -> None:
    places = ["redis://localhost:6379/0", f"redis://:{SECRET}@localhost:6379/0"]
    assert len({open_store(place).location for place in places}) == 1


def test_a_secret_in_the_query_of_a_url_shows_neither() -> None:
    url = f"redis://{NOBODY}?password={SECRET}"
    with pytest.raises(ConnectorError) as caught, open_store(url) as store:
        assert SECRET not in repr(store) + store.location
        store.schema("t")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("options", "named"),
    [({"pasword": SECRET}, "did you mean 'password'"), ({"timeout": "soon"}, "timeout")],
)
def test_errors_of_options_show_no_secret(options: dict[str, str], named: str) -> None:
    with pytest.raises(ConnectorError, match=named) as caught:
        open_store(f"redis://:{SECRET}@{NOBODY}", **options)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def peak_bytes(store: Store, table: str, rows: int) -> int:
    """The most memory, Arrow's and Python's together, that reading the table in one part takes."""
    step = 10_000
    batches = (people(step, start) for start in range(0, rows, step))
    store.write(table, batches, WriteOptions(key=("id",)))
    source = store.source(table, parts=1, batch_rows=500)
    (partition,) = source.partitions()
    gc.collect()
    before, most, seen = pa.total_allocated_bytes(), 0, 0
    tracemalloc.start()
    for batch in source.read(partition):
        most = max(most, pa.total_allocated_bytes() - before)
        seen += batch.num_rows
    _, most_python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == rows
    return most + most_python


def test_a_read_holds_as_much_of_a_large_table_as_of_a_small_one(store: Store, table: str) -> None:
    peak_bytes(store, f"{table}a", 10_000)  # what is made once, such as compiled patterns
    small = peak_bytes(store, f"{table}b", 30_000)
    large = peak_bytes(store, f"{table}c", 120_000)
    assert large < 1.5 * small + 1_000_000, (small, large)
