"""The progress bar, as a program prints it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator

import pyarrow as pa
import pytest

from connector import TableSource, WriteOptions
from connector.memory import MemoryStore
from connector.progress import progress

pytest.importorskip("rich")

ROWS = pa.table({"id": range(10_000), "x": [0.5] * 10_000})


def batches(source: TableSource) -> Iterator[pa.RecordBatch]:
    return (batch for part in source.partitions() for batch in source.read(part))


def test_batches_pass_unchanged_and_are_counted() -> None:
    shown = io.StringIO()
    passing = progress(batches(TableSource(ROWS)), "reading", rows=10_000, file=shown)
    assert pa.Table.from_batches(passing).equals(ROWS)
    line = " ".join(shown.getvalue().split())
    assert line.startswith("reading")
    assert "10,000 rows, 0.2 MB" in line
    assert "\x1b" not in shown.getvalue(), (
        "no colours and no bars that move where there is no terminal"
    )


def test_a_write_is_watched_on_its_way() -> None:
    shown = io.StringIO()
    with MemoryStore(MemoryStore.options_class.parse({})) as store:
        watched = progress(ROWS.to_batches(max_chunksize=3000), "writing", file=shown)
        assert store.write("t", watched, WriteOptions(key=("id",))).rows == 10_000
    assert "10,000 rows" in shown.getvalue()


def test_a_consumer_that_stops_early_is_told_what_passed() -> None:
    shown = io.StringIO()
    passing = progress(ROWS.to_batches(max_chunksize=1000), "reading", rows=10_000, file=shown)
    assert sum(next(passing).num_rows for _ in range(3)) == 3000
    passing.close()  # type: ignore[attr-defined]
    assert "2,000 rows" in shown.getvalue(), "the third batch is still the consumer's"


def test_more_rows_than_expected_are_all_counted() -> None:
    shown = io.StringIO()
    assert (
        sum(1 for _ in progress(ROWS.to_batches(max_chunksize=1000), "x", rows=5, file=shown)) == 10
    )
    assert "10,000 rows" in shown.getvalue()


def test_without_rich_the_error_names_it_before_anything_is_read() -> None:
    code = """if True:
        import sys
        sys.modules["rich.console"] = None  # what Python takes for a package that is not there
        from connector import MissingDependencyError
        from connector.progress import progress
        try:
            progress(iter([]), "reading")
        except MissingDependencyError as error:
            print(error)
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "a progress bar needs the package 'rich': pip install rich\n", ran.stderr
