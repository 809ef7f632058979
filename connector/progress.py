"""A progress bar for what is read or written by a program of one's own, outside Spark."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from connector.errors import MissingDependencyError

if TYPE_CHECKING:
    from rich.progress import Progress


def progress(
    batches: Iterable[pa.RecordBatch],
    label: str,
    *,
    rows: int | None = None,
    file: IO[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The same batches, with a line in the terminal that tells how many rows and bytes have passed.

    Where the output is no terminal, one line is printed at the end. The line ends with the batches, also
    where their consumer stops early.

    Args:
        batches: what is read, or is about to be written.
        label: what the line begins with.
        rows: about how many rows will come, such as ``source.statistics().rows``; then there is a
            bar. Without, the line only counts.
        file: where to print; the standard error by default.

    Raises:
        MissingDependencyError: rich is not installed.
    """
    bar = _bar(file)  # here, not in the generator: what is missing is told before anything is read
    return _shown(batches, bar, label, rows)


def _shown(
    batches: Iterable[pa.RecordBatch], bar: Progress, label: str, rows: int | None
) -> Iterator[pa.RecordBatch]:
    passed_rows = passed_bytes = 0
    began = time.monotonic()
    with bar:
        task = bar.add_task(label, total=rows, passed="")
        for batch in batches:
            yield batch
            passed_rows += batch.num_rows
            passed_bytes += batch.nbytes
            seconds = max(time.monotonic() - began, 1e-9)
            told = f"{passed_rows:,} rows, {passed_bytes / 1e6:,.1f} MB, {passed_rows / seconds:,.0f} rows/s"
            bar.update(task, completed=passed_rows, passed=told)
        bar.update(task, total=passed_rows)  # rows expected were an estimate, or none


def _bar(file: IO[str] | None) -> Progress:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "a progress bar needs the package 'rich': pip install rich"
        ) from error
    console = Console(file=file, stderr=file is None)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[passed]}"))
    return Progress(*columns, console=console)
